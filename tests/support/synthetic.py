"""Figure 1's problem in closed form: S_1 the disc about (0, 1), S_2 the lower half-plane."""

from __future__ import annotations

import math


def travelled_share(eta: float, steps: float) -> float:
    """s with x^{i,T} = x − s(x − P_i x): 1 − (1 − 2η)^T for η ≤ ½, 2η beyond (inside at once)."""
    if eta > 0.5:
        return 2 * eta
    return 1.0 if math.isinf(steps) else 1 - (1 - 2 * eta) ** steps


def pull(x: float, y: float) -> tuple[float, float]:
    """w = max(r − 1, 0)/r, with x − P_1 x = w(x, y − 1), and y_+; r = ‖(x, y − 1)‖.

    r − 1 = (x² + y² − 2y)/(r + 1) loses no digits near the origin.
    """
    r = math.hypot(x, y - 1)
    outside = max((x * x + y * y - 2 * y) / (r + 1), 0.0)
    return (outside / r if outside else 0.0), max(y, 0.0)


def touching_sets_round(x: float, y: float, s1: float, s2: float) -> tuple[float, float]:
    """x_{n+1} = x_n − (s₁(x − P_1 x) + s₂(x − P_2 x))/2."""
    w, above = pull(x, y)
    return x - s1 * w * x / 2, y - (s1 * w * (y - 1) + s2 * above) / 2


def grad_norm_sq(x: float, y: float) -> float:
    """‖∇f‖², f = (d(x, S_1)² + d(x, S_2)²)/2."""
    w, above = pull(x, y)
    return (w * x) ** 2 + (w * (y - 1) + above) ** 2


def loss(x: float, y: float) -> float:
    """f = (d(x, S_1)² + d(x, S_2)²)/2."""
    w, above = pull(x, y)
    return ((w * math.hypot(x, y - 1)) ** 2 + above**2) / 2


def follow(
    start: tuple[float, float], s1: float, s2: float, rows: list[int]
) -> dict[int, tuple[float, float]]:
    """x_n for the n in `rows`, ascending."""
    (x, y), n, seen = start, 0, {}
    for row in rows:
        while n < row:
            x, y = touching_sets_round(x, y, s1, s2)
            n += 1
        seen[row] = (x, y)
    return seen
