"""The exact rate of Algorithm 1 on quadratics."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from localgd.geometry.sets import rank_of
from localgd.problem import Problem


def contraction_factor(
    problem: Problem, local_steps: float | Sequence[float], step_size: float | Sequence[float]
) -> float:
    """ρ = spectral radius of the round map M = (1/m) Σ (I − η_i H_i)^{T_i} off its fixed points.

    For quadratic f_i with Hessians H_i and a common minimiser, one round of Algorithm 1
    multiplies x − P_S(x) by M, so ρ is the exact worst-case factor per round.  It is
    computed in the joint row space of the H_i (dimension Σ rank H_i at most), never by a
    d×d matrix.  `local_steps`: T_i ≥ 1 or `math.inf`, one for all nodes or one each;
    `step_size`: η_i in (0, 2/L_i), likewise.

    Raises `ValueError` for a problem that is not quadratic and for η_i or T_i out of range.
    """
    spectra = problem.hessian_spectra()
    if spectra is None:
        raise ValueError(f"{type(problem).__name__} is not quadratic: no exact factor exists")
    steps = np.broadcast_to(np.asarray(local_steps, float), (problem.num_nodes,))
    if not (steps >= 1).all():
        raise ValueError(f"local_steps={local_steps} must be ≥ 1")
    etas = problem.check_step_size(step_size)
    stacked = torch.cat([s.vectors for s in spectra])
    _, values, vectors = torch.linalg.svd(stacked, full_matrices=False)
    basis = vectors[: rank_of(values)]
    decrease = torch.zeros(basis.shape[0], basis.shape[0], dtype=basis.dtype)
    for spectrum, eta, T in zip(spectra, etas, steps, strict=True):
        shrink = 1.0 - (1.0 - eta * spectrum.values) ** T
        reduced = spectrum.vectors @ basis.mT
        decrease += (reduced.mT * shrink) @ reduced / problem.num_nodes
    if decrease.shape[0] == 0:
        return 0.0
    return float((1.0 - torch.linalg.eigvalsh(decrease)).abs().max())
