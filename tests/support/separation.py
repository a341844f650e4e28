"""The best constants c of Assumption 3 and c₂ of its squared form, in closed form."""

from __future__ import annotations

import math

import numpy as np

from reference import Vector


def of_two_subspaces(sigma: float) -> float:
    """c = 2/sin θ = 1/√(σ(1 − σ)) for two subspaces, θ their smallest non-zero angle.

    σ = (1 − cos θ)/2 is the smallest non-zero eigenvalue of Q; equal subspaces have σ = 1, c = 1.
    """
    return 1.0 if sigma > 0.75 else 1 / math.sqrt(sigma * (1 - sigma))


def of_lines(angles: Vector) -> float:
    """c for lines through the origin of the plane: m/Σ_i |sin(θ_i − θ_j)|, the worst j.

    Between two lines the mean distance is a concave function of the angle, so that it is least
    on one of them.
    """
    sums = np.abs(np.sin(angles[:, None] - angles[None, :])).sum(0)
    return len(angles) / float(sums.min())
