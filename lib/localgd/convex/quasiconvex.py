"""Quasi-convex losses that are not convex: the setting of Assumptions 4 and 5."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from localgd.convex.losses import SquaredDistance
from localgd.problem import ClosedForm, ClosedPaths, Spectrum


class SaturatedDistance(SquaredDistance):
    """f_i(x) = φ(d(x, S_i)) with φ(s) = s²/(1 + s²), for closed convex sets S_i.

    ∇f_i(x) = 2(x − P_{S_i}(x))/(1 + d(x, S_i)²)².

    φ increases, so the sublevel sets of f_i are those of d(·, S_i) and convex: f_i is
    quasi-convex.  φ″(s) = 2(1 − 3s²)/(1 + s²)³ < 0 for s > 1/√3, so it is not convex, and its
    gradient fades like 2/s³ far from S_i.  It has no stationary point outside S_i: for
    0 < η < 1 a step multiplies the distance to an affine S_i by |1 − 2η/(1 + s²)²| < 1 and
    local GD converges to P_{S_i}(x) (Lemma 5 of Zhang & Li 2019, as mended).

    L_i = 2 for every closed convex S_i.  v ↦ 2v/(1 + ‖v‖²)² has a symmetric Jacobian with
    the eigenvalues φ″(s) ∈ [−1/2, 2] along v and φ′(s)/s = 2/(1 + s²)² ∈ (0, 2] across, s = ‖v‖,
    hence the Lipschitz constant 2, and x ↦ x − P(x) is non-expansive.

    `sets`, `common` and what is raised are as for `SquaredDistance`.
    """

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return d²/(1 + d²) and 2(x_i − P_{S_i}(x_i))/(1 + d²)², with d = d(x_i, S_i)."""
        gap = x - self._project(x)
        square = (gap**2).sum(1)
        # 1 − 1/(1 + d²) would lose all digits of a small d², d²/(1 + d²) is ∞/∞ for a huge one
        losses = torch.where(square < 1, square / (1 + square), 1 / (1 + 1 / square))
        return losses, 2.0 * gap / ((1 + square) ** 2).unsqueeze(-1)

    def hessian_spectra(self) -> list[Spectrum] | None:
        """Return None: the f_i are not quadratic."""
        return None

    def closed_form(self, etas: NDArray[np.float64]) -> ClosedForm | None:
        """Return None: T steps of s ↦ s − ηφ′(s) have no closed form."""
        return None

    def closed_paths(self, etas: NDArray[np.float64]) -> ClosedPaths | None:
        """Return None, for the same reason."""
        return None
