"""Problems whose optimal sets are affine: what T_i = ∞, and any T_i of a quadratic, comes to."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from localgd.geometry import AffineSubspace, intersection
from localgd.problem import Problem


class AffineOptima(Problem):
    """A problem whose S_i are affine subspaces: projections and d(x, S) follow from them."""

    @abstractmethod
    def solution_sets(self) -> list[AffineSubspace] | None:
        """S_1, …, S_m as affine subspaces, or None where they are not."""

    def projection(self) -> Callable[[Tensor], Tensor] | None:
        """x_i ↦ P_{S_i}(x_i) = x_i − N_iᵀN_i(x_i − p_i) for all nodes at once."""
        return self._projection

    def closed_form(self, etas: NDArray[np.float64]) -> Callable[[Tensor, Tensor], Tensor] | None:
        """x_i − V_iᵀ(I − (I − η_iΛ_i)^{T_i})V_i(x_i − p_i) for quadratics, p_i in S_i.

        Works in the row spaces of the Hessians H_i = V_iᵀΛ_iV_i; no d×d matrix is formed.
        """
        spectra, sets = self.hessian_spectra(), self.solution_sets()
        if spectra is None or sets is None:
            return None
        eigenvalues = pad_sequence([s.values for s in spectra], batch_first=True)
        factors = 1.0 - torch.as_tensor(etas).to(eigenvalues)[:, None] * eigenvalues
        move = _towards([s.vectors for s in spectra], sets)
        return lambda x, steps: move(x, 1.0 - factors ** steps[:, None])

    def distance(self, x: Tensor) -> float | None:
        """d(x, S), or None where the S_i do not meet."""
        if self._intersection is None:
            return None
        return float(self._intersection.distance(x))

    @cached_property
    def _intersection(self) -> AffineSubspace | None:
        sets = self.solution_sets()
        return None if sets is None else intersection(sets)

    @cached_property
    def _projection(self) -> Callable[[Tensor], Tensor] | None:
        sets = self.solution_sets()
        if sets is None:
            return None
        move = _towards([s.normals for s in sets], sets)
        everything = sets[0].point.new_ones(())
        return lambda x: move(x, everything)


def _towards(
    bases: Sequence[Tensor], sets: Sequence[AffineSubspace]
) -> Callable[[Tensor, Tensor], Tensor]:
    """(x, w) ↦ x_i − V_iᵀ diag(w_i) V_i(x_i − p_i), p_i in S_i: all the way to S_i where w = 1.

    `bases`: V_i of shape (r_i, d); `w`: (m, max r_i), or anything that broadcasts to it.
    """
    rows = pad_sequence(list(bases), batch_first=True)
    points = torch.stack([s.point for s in sets])

    def move(x: Tensor, weights: Tensor) -> Tensor:
        coordinates = torch.matmul(rows, (x - points).unsqueeze(-1)).squeeze(-1)
        return x - torch.matmul(rows.mT, (weights * coordinates).unsqueeze(-1)).squeeze(-1)

    return move
