"""The server steps as one reads them, in NumPy: from a map x ↦ ends of the nodes to x_0, x_1, …"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from reference import Vector

Ends = Callable[[Vector], Vector]  # (d,) ↦ (m, d)


def relaxed(ends: Ends, x: Vector, rounds: int, omega: float = 1.0) -> list[Vector]:
    """x + ωΔ̄."""
    xs = [x]
    for _ in range(rounds):
        xs.append(xs[-1] + omega * (ends(xs[-1]).mean(0) - xs[-1]))
    return xs


def extrapolated(ends: Ends, x: Vector, rounds: int, kind: str) -> list[Vector]:
    """x + ωΔ̄ with the ω of Pierra or of FedExP, and what the run hands out."""
    xs = [x]
    for _ in range(rounds):
        moves = ends(xs[-1]) - xs[-1]
        mean = moves.mean(0)
        if not mean @ mean:
            xs.append(xs[-1])
            continue
        ratio = np.mean([move @ move for move in moves]) / (mean @ mean)
        xs.append(xs[-1] + (ratio if kind == "pierra" else max(1.0, ratio / 2)) * mean)
    return xs if kind == "pierra" else [x, *((a + b) / 2 for a, b in pairwise(xs))]


def nesterov(
    ends: Ends, x: Vector, rounds: int, condition: float | None, restart: bool = True
) -> list[Vector]:
    """y_{n+1} = x_n + Δ̄ and x_{n+1} = y_{n+1} + β(y_{n+1} − y_n)."""
    xs, y, t = [x], None, 1.0
    for _ in range(rounds):
        new = ends(xs[-1]).mean(0)
        step = np.zeros_like(x) if y is None else new - y
        if condition is not None:
            beta = (np.sqrt(condition) - 1) / (np.sqrt(condition) + 1)
        else:
            if restart and step @ (new - xs[-1]) < 0:
                t = 1.0
            after = (1 + np.sqrt(1 + 4 * t * t)) / 2
            beta, t = (t - 1) / after, after
        xs.append(new + beta * step)
        y = new
    return xs


def anderson(ends: Ends, x: Vector, rounds: int, memory: int) -> list[Vector]:
    """Walker & Ni's Algorithm AA: the affine combination of ends with the smallest residual."""
    xs, moves = [x], []
    for _ in range(rounds):
        moves.append(ends(xs[-1]).mean(0) - xs[-1])
        kept = min(memory + 1, len(xs))
        F = np.array(moves[-kept:])
        G = np.array(xs[-kept:]) + F
        # min ‖Σ a_j F_j‖ with Σ a_j = 1, by leaving out the last
        a = np.linalg.lstsq((F[:-1] - F[-1]).T, -F[-1], rcond=None)[0]
        xs.append(np.append(a, 1 - a.sum()) @ G)
    return xs


def conjugate_gradients(A: Vector, b: Vector, x: Vector, rounds: int) -> list[Vector]:
    """The textbook's iterates for Ax = b, with A given."""
    xs, r = [x], b - A @ x
    p = r
    for _ in range(rounds):
        alpha = (r @ r) / (p @ A @ p)
        xs.append(xs[-1] + alpha * p)
        after = r - alpha * A @ p
        p, r = after + (after @ after) / (r @ r) * p, after
    return xs
