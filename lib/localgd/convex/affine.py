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
from localgd.geometry.graded import SolutionSet, meet
from localgd.geometry.sets import CONSISTENCY_TOL
from localgd.problem import ClosedForm, ClosedPaths, Problem


class AffineOptima(Problem):
    """A problem whose S_i are affine subspaces: projections and d(x, S) follow from them."""

    @abstractmethod
    def solution_sets(self) -> Sequence[AffineSubspace] | None:
        """S_1, …, S_m as affine subspaces, or None where they are not."""

    def projection(self) -> Callable[[Tensor], Tensor] | None:
        """x_i ↦ P_{S_i}(x_i) = x_i − N_iᵀN_i(x_i − p_i) for all nodes at once."""
        return self._projection

    def closed_form(self, etas: NDArray[np.float64]) -> ClosedForm | None:
        """x_i − V_iᵀ(I − (I − η_iΛ_i)^{T_i})Λ_i⁻¹V_i ∇f_i(x_i), all steps of a quadratic at once.

        Works in the row spaces of the Hessians H_i = V_iᵀΛ_iV_i; no d×d matrix is formed.
        It begins with the gradient, not with x_i − p_i for a p_i in S_i, whose entries grow like
        1/λ_min: so slow directions keep their digits.
        """
        spectra = self.hessian_spectra()
        if spectra is None:
            return None
        values = pad_sequence([s.values for s in spectra], batch_first=True)
        rows = pad_sequence([s.vectors for s in spectra], batch_first=True)
        rates = torch.as_tensor(etas).to(values)[:, None] * values  # below 2
        logarithms = torch.log1p(-rates.clamp(max=1.0))

        def leap(x: Tensor, gradients: Tensor, steps: Tensor) -> Tensor:
            T = steps[:, None]
            moved = torch.where(rates < 1.0, -torch.expm1(T * logarithms), 1.0 - (1.0 - rates) ** T)
            shares = torch.where(values > 0, moved / values, 0.0)
            slopes = torch.matmul(rows, gradients.unsqueeze(-1))
            return x - torch.matmul(rows.mT, shares.unsqueeze(-1) * slopes).squeeze(-1)

        return leap

    def closed_paths(self, etas: NDArray[np.float64]) -> ClosedPaths | None:
        """Return f_i(x) − Σ_k s_k²(1 − a_k^{2t})/(2λ_k) and Σ_k s_k² a_k^{2t}, for quadratics.

        s = V_i∇f_i(x) are the coordinates of the gradient in the eigenvectors of H_i and
        a_k = 1 − η_iλ_k.  O(mrT) work for T steps, r the largest rank of the H_i.
        """
        spectra = self.hessian_spectra()
        if spectra is None:
            return None
        values = pad_sequence([s.values for s in spectra], batch_first=True)
        rows = pad_sequence([s.vectors for s in spectra], batch_first=True)
        shrink = (1.0 - torch.as_tensor(etas).to(values)[:, None] * values) ** 2
        weights = torch.where(values > 0, 0.5 / values, 0.0)

        def trail(
            x: Tensor, losses: Tensor, gradients: Tensor, steps: int
        ) -> tuple[Tensor, Tensor]:
            squares = torch.matmul(rows, gradients.unsqueeze(-1)).squeeze(-1) ** 2
            powers = shrink.unsqueeze(-1) ** torch.arange(steps, device=x.device)
            norms = torch.matmul(squares.unsqueeze(1), powers).squeeze(1)
            worth = (squares * weights).unsqueeze(1)
            rest = (losses - worth.sum(-1).squeeze(1)).clamp(min=0.0)[:, None]
            return rest + torch.matmul(worth, powers).squeeze(1), norms

        return trail

    def distance(self, x: Tensor) -> float | None:
        """d(x, S), or None where the S_i do not meet."""
        if self._intersection is None:
            return None
        return float(self._intersection.distance(x))

    @cached_property
    def _intersection(self) -> AffineSubspace | None:
        sets = self.solution_sets()
        if sets is None:
            return None
        graded = [each for each in sets if isinstance(each, SolutionSet)]
        if len(graded) == len(sets):
            found = meet(graded, CONSISTENCY_TOL)
            return None if found is None else found.to(sets[0].point.device, sets[0].point.dtype)
        return intersection(sets)

    @cached_property
    def _projection(self) -> Callable[[Tensor], Tensor] | None:
        sets = self.solution_sets()
        if sets is None:
            return None
        for node, each in enumerate(sets):
            if isinstance(each, SolutionSet) and not each.determined:
                raise ValueError(
                    f"the nearest minimiser of node {node} is lost in rounding: columns that "
                    "depend on each other are far larger than others. Bring the columns to one "
                    "size"
                )
        if any(isinstance(each, SolutionSet) for each in sets):
            return lambda x: torch.stack([s.project(x[node]) for node, s in enumerate(sets)])
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
