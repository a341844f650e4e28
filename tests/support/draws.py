"""Seeded random points spread over decades, for inequalities that NumPy checks all at once."""

import numpy as np

from reference import Vector


def decades(rng: np.random.Generator, low: float, high: float, count: int) -> Vector:
    """`count` numbers from 10^low to 10^high, uniform in the logarithm."""
    return 10 ** rng.uniform(low, high, count)


def decay_factors(rng: np.random.Generator, count: int) -> Vector:
    """β in (0, 1): half of them near 0, half near 1, to 10⁻⁶."""
    ends = decades(rng, -6, -0.01, count)
    return np.where(np.arange(count) % 2, ends, 1 - ends)
