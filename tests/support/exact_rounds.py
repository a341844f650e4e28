"""Rounds on f_i = ⟨u_i, x⟩²/2 with a common η, in fractions."""

import itertools
import math
from fractions import Fraction

INFINITY = math.inf


def round_map(rows, eta, T):
    """M_T = (1/m) Σ (I − η u uᵀ)^T in fractions; (I − η u uᵀ)^T = I − s u uᵀ/‖u‖²."""
    dim = len(rows[0])
    M = [[Fraction(0)] * dim for _ in range(dim)]
    for u in rows:
        L = norm_sq(u)
        share = (1 - (1 - eta * L) ** T if T < INFINITY else Fraction(1)) / L
        for j, k in itertools.product(range(dim), repeat=2):
            M[j][k] += (Fraction(j == k) - share * u[j] * u[k]) / len(rows)
    return M


def times(M, x):
    return [sum(a * b for a, b in zip(row, x, strict=True)) for row in M]


def norm_sq(x):
    return sum(a * a for a in x)


def count(M, x, measure=norm_sq):
    """Rounds until measure(x) ≤ 1e-6 of its first value."""
    goal, n = measure(x) / 10**6, 0
    while measure(x) > goal:
        x, n = times(M, x), n + 1
    return n
