"""Two subspaces and a start on which no server step is fast."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from localgd.geometry import AffineSubspace


def hard_subspaces(rounds: int, cosine: float) -> tuple[list[AffineSubspace], NDArray[np.float64]]:
    """Return S_1, S_2 with S = {0} and x_0, ‖x_0‖ = 1, with ‖x_n‖ ≥ 1/T_n(1/c) after n `rounds`.

    T_n is the Chebyshev polynomial, c < 1 the `cosine` of the Friedrichs angle.  The bound holds
    for T_i = ∞ and every method whose iterates are in x_0 + the span of the mean moves at
    them.  The sets are ⌈(n+1)/2⌉ pairs of lines, in planes at right angles to each other, at angles
    θ_j with cos θ_j = c·cos(jπ/n); the mean move is −Ax with the eigenvalues (1 ± cos θ_j)/2, on
    which Chebyshev's polynomial alternates, and x_0 weighs them so that it is the best one.
    Raises `ValueError` for fewer rounds than one and for c outside (0, 1).
    """
    if rounds < 1:
        raise ValueError(f"rounds={rounds} must be ≥ 1")
    if not 0 < cosine < 1:
        raise ValueError(f"cosine={cosine} must be between 0 and 1")
    cosines = [cosine * math.cos(math.pi * j / rounds) for j in range(rounds + 1)]
    eigenvalues = np.array([(1 - c) / 2 for c in cosines])
    # The start's squares annihilate λ, …, λⁿ when their signs alternate.
    others = eigenvalues[:, None] - eigenvalues + np.eye(rounds + 1)
    weights = 1 / (eigenvalues * np.abs(others.prod(1)))
    weights /= weights.sum()
    blocks = (rounds + 2) // 2  # λ_j and λ_{n−j} share a plane; for even n the last holds one
    d = 2 * blocks
    lines, start = np.zeros((2, blocks, d)), np.zeros(d)
    for block in range(blocks):
        half = math.acos(cosines[block]) / 2
        x, y = 2 * block, 2 * block + 1
        lines[:, block, x], lines[:, block, y] = math.cos(half), [math.sin(half), -math.sin(half)]
        start[x] = math.sqrt(weights[block])
        if rounds - block != block:
            start[y] = math.sqrt(weights[rounds - block])
    origin = np.zeros(d)
    return [AffineSubspace(origin, directions) for directions in lines], start
