"""Convex local losses: least squares, even powers of residuals, squared distances to sets."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from localgd.convex.affine import AffineOptima
from localgd.geometry import AffineSubspace, ConvexSet, graded
from localgd.problem import ClosedForm, ClosedPaths, Spectrum, check_finite, dense_array


class _LinearModel(AffineOptima):
    """f_i(x) = (1/n_i) Σ_j φ(⟨a_ij, x⟩ − b_ij): the data of all nodes in one padded array.

    Nodes may hold different numbers of samples.  Shorter ones are padded with zero rows,
    which add exactly zero to losses and gradients.
    """

    _exact: Self | None = None  # in float64, where the data have been rounded to less

    def __init__(self, A: Sequence[Any], b: Sequence[Any], *, data: Any = None) -> None:
        if hasattr(A, "toarray"):
            raise ValueError("A is one sparse matrix: give a list of dense ones, one a node")
        if len(A) == 0 or len(A) != len(b):
            raise ValueError(
                f"A holds {len(A)} nodes and b {len(b)}: expected as many, one at least"
            )
        blocks = [dense_array(block, "A", node) for node, block in enumerate(A)]
        targets = [dense_array(target, "b", node) for node, target in enumerate(b)]
        dim = blocks[0].shape[-1] if blocks[0].ndim == 2 else -1
        for node, (block, target) in enumerate(zip(blocks, targets, strict=True)):
            if block.ndim != 2 or block.shape[1] != dim:
                raise ValueError(f"A of node {node} has shape {block.shape}, expected (n_i, d)")
            if block.shape[0] == 0 or dim == 0:
                raise ValueError(f"node {node} is empty: A has shape {block.shape}")
            if target.shape != (block.shape[0],):
                raise ValueError(
                    f"b of node {node} has shape {target.shape}, expected ({block.shape[0]},)"
                )
            check_finite(block, "A", node)
            check_finite(target, "b", node)
        self.num_nodes, self.dim, self.data = len(blocks), dim, data
        self.samples = torch.tensor([block.shape[0] for block in blocks])
        longest = int(self.samples.max())
        self.A = torch.zeros(len(blocks), longest, dim, dtype=torch.float64)
        self.b = torch.zeros(len(blocks), longest, dtype=torch.float64)
        for node, (block, target) in enumerate(zip(blocks, targets, strict=True)):
            self.A[node, : len(block)] = torch.from_numpy(block)
            self.b[node, : len(target)] = torch.from_numpy(target)
        self.weights = 1.0 / self.samples.to(torch.float64)

    def residuals(self, x: Tensor) -> Tensor:
        """A_i x_i − b_i, shape (m, max n_i); padded entries are zero."""
        return torch.baddbmm(self.b.unsqueeze(-1), self.A, x.unsqueeze(-1), beta=-1).squeeze(-1)

    def pull_back(self, slopes: Tensor) -> Tensor:
        """(1/n_i) A_iᵀ s_i, shape (m, d), for `slopes` s of shape (m, max n_i)."""
        weighted = (slopes * self.weights[:, None]).unsqueeze(1)
        return torch.bmm(weighted, self.A).squeeze(1)

    def to(self, device: torch.device, dtype: torch.dtype) -> Self:
        """Return the same problem with its tensors on `device` in `dtype`."""
        if self.A.device == device and self.A.dtype == dtype:
            return self
        if dtype == torch.float64 and self._exact is not None:
            return self._exact.to(device, dtype)
        moved = self._copy()
        moved.A, moved.b = self.A.to(device, dtype), self.b.to(device, dtype)
        moved.weights = self.weights.to(device, dtype)
        moved.dtype = dtype
        if dtype != torch.float64:
            moved._exact = self._in_double().to(device, torch.float64)
        return moved

    def closed_form(self, etas: NDArray[np.float64]) -> ClosedForm | None:
        """T_i steps at once for quadratics, computed in float64 whatever the problem's type."""
        if self._exact is None:
            return super().closed_form(etas)
        exact, leap = self._exact, self._exact.closed_form(etas)
        if leap is None:
            return None
        return lambda x, _, steps: leap(x.double(), exact.gradients(x.double()), steps).to(x.dtype)

    def closed_paths(self, etas: NDArray[np.float64]) -> ClosedPaths | None:
        """Return losses and gradient norms of T_i steps of quadratics, computed in float64."""
        if self._exact is None:
            return super().closed_paths(etas)
        exact, trail = self._exact, self._exact.closed_paths(etas)
        if trail is None:
            return None
        return lambda x, _, __, steps: trail(x.double(), *exact.evaluate(x.double()), steps)

    def projection(self) -> Callable[[Tensor], Tensor] | None:
        """x_i ↦ P_{S_i}(x_i), computed in float64 whatever the problem's type."""
        if self._exact is None:
            return super().projection()
        project = self._exact.projection()
        return None if project is None else lambda x: project(x.double()).to(x.dtype)

    def distance(self, x: Tensor) -> float | None:
        """d(x, S), or None where the S_i do not meet."""
        return super().distance(x) if self._exact is None else self._exact.distance(x.double())

    def _in_double(self) -> Self:
        """Return this problem before it was rounded; the only one whose rank can be trusted."""
        return self if self._exact is None else self._exact

    def reduced(self) -> tuple[Self, Tensor]:
        """Return the problem in coordinates of the joint row space, and the basis B, (k, d).

        With orthonormal rows spanning all samples, k the rank of all samples, the losses see x only
        through z = Bx.  Algorithm 1 from x_0 = Bᵀz_0 is x_n = Bᵀz_n, with the same losses,
        gradient norms and distances at a cost per step that does not grow with d.
        """
        rows = torch.cat([self.A[node, :n] for node, n in enumerate(self.samples.tolist())])
        rank = graded.numerical_rank(rows.cpu().numpy())
        if rank == min(rows.shape):
            basis = torch.linalg.qr(rows.mT).Q.mT
        else:  # what is rounding is no direction, however its column is scaled
            basis = torch.linalg.svd(rows, full_matrices=False).Vh[: max(rank, 1)]
        small = self._copy()
        small.A, small.dim = torch.matmul(self.A, basis.mT), basis.shape[0]
        return small, basis

    def contents(self) -> Mapping[str, Any]:
        """Return the data, padded."""
        return {"A": self.A, "b": self.b, "samples": self.samples}

    def provenance(self) -> Mapping[str, Any]:
        """Return sizes and, where given, the data's origin."""
        record = dict(super().provenance()) | {"samples": self.samples.tolist()}
        if self.data is not None:
            record["data"] = self.data.describe()
        return record

    def _copy(self) -> Self:
        """Return a shallow copy without what was derived from the data."""
        other = copy.copy(self)
        other._exact = None
        for derived in ("_factors", "_is_graded", "_intersection", "_projection"):
            other.__dict__.pop(derived, None)
        return other

    @cached_property
    def _factors(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Thin SVD of each A_i in float64, cut at its numerical rank: (n_i, r), (r,), (r, d)."""
        if self._exact is not None:
            return self._exact._factors
        found, blocks = [], [A[:n] for A, n in zip(self.A, self.samples.tolist(), strict=True)]
        if self._is_graded:
            return [graded.factors(block) for block in blocks]
        for block in blocks:
            left, values, right = torch.linalg.svd(block, full_matrices=False)
            rank = graded.numerical_rank(block.cpu().numpy())
            found.append((left[:, :rank], values[:rank], right[:rank]))
        return found

    @cached_property
    def _is_graded(self) -> bool:
        """Return whether columns, or the singular values of a node, lie far apart in size."""
        return graded.is_graded(self._in_double().A, self.samples.tolist())

    def _least_squares_sets(self) -> Sequence[AffineSubspace]:
        """{x : A_iᵀA_i x = A_iᵀb_i} for every node."""
        if self._is_graded:
            exact = self._in_double()
            return graded.solution_sets(exact.A, exact.b, self.samples.tolist())
        sets = []
        for node, (left, values, right) in enumerate(self._factors):
            target = self._in_double().b[node, : left.shape[0]]
            point = right.mT @ ((left.mT @ target) / values)
            sets.append(AffineSubspace.from_normals(point, right))
        return sets


class LeastSquares(_LinearModel):
    """f_i(x) = ‖A_i x − b_i‖²/n_i, with A_i of shape (n_i, d) and b_i of shape (n_i,).

    L_i = 2 λ_max(A_iᵀA_i)/n_i, the restricted strong convexity constant of Assumption 2 is
    μ_i = 2 λ_min⁺(A_iᵀA_i)/n_i, and S_i is the affine set of least-squares solutions.

    `data`: where the numbers are from (`localgd.datasets.Source`), for a run's record.
    Raises `ValueError` for no nodes, an empty node, shapes that do not fit, and NaN or
    infinite entries, each with the node and the array.
    """

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return ‖A_i x_i − b_i‖²/n_i and (2/n_i) A_iᵀ(A_i x_i − b_i)."""
        residuals = self.residuals(x)
        return (residuals**2).sum(1) * self.weights, self.pull_back(2.0 * residuals)

    def gradients(self, x: Tensor) -> Tensor:
        """(2/n_i) A_iᵀ(A_i x_i − b_i), shape (m, d)."""
        return self.pull_back(2.0 * self.residuals(x))

    def smoothness(self) -> NDArray[np.float64]:
        """L_i = 2 λ_max(A_iᵀA_i)/n_i."""
        return np.array([float(s.values.max()) if len(s.values) else 0.0 for s in self._spectra()])

    def strong_convexity(self) -> NDArray[np.float64]:
        """μ_i = 2 λ_min⁺(A_iᵀA_i)/n_i, the best constants of Assumption 2.

        Raises `ValueError` for a node with A_i = 0, which has no non-zero eigenvalue.
        """
        for node, spectrum in enumerate(self._spectra()):
            if len(spectrum.values) == 0:
                raise ValueError(f"A of node {node} is zero: it has no non-zero eigenvalue")
        return np.array([float(s.values.min()) for s in self._spectra()])

    def solution_sets(self) -> Sequence[AffineSubspace]:
        """S_i = {x : A_iᵀA_i x = A_iᵀb_i}."""
        return self._least_squares_sets()

    def hessian_spectra(self) -> list[Spectrum]:
        """H_i = (2/n_i) A_iᵀA_i."""
        return self._spectra()

    def _spectra(self) -> list[Spectrum]:
        spectra = [
            Spectrum(2.0 * values**2 / n, right)
            for n, (_, values, right) in zip(self.samples.tolist(), self._factors, strict=True)
        ]
        for node, spectrum in enumerate(spectra):
            if not bool((spectrum.values > 0).all()):
                raise ValueError(
                    f"A of node {node} is so small that its squares are 0: scale it and b"
                )
        return spectra


class PowerLoss(_LinearModel):
    """f_i(x) = (1/n_i) Σ_j |⟨a_ij, x⟩ − b_ij|^p for an even power p ≥ 4 (section 4, Figure 5).

    ∇f_i is not globally Lipschitz, so no L_i is known and no step size is refused.  Where
    A_i x = b_i has a solution, S_i is the affine set of its solutions, and so it is for S.
    Raises what `LeastSquares` raises, and `ValueError` for a power that is not even or < 4.
    """

    def __init__(
        self, A: Sequence[Any], b: Sequence[Any], *, power: int = 4, data: Any = None
    ) -> None:
        if power < 4 or power % 2:
            raise ValueError(f"power={power} must be an even integer ≥ 4")
        super().__init__(A, b, data=data)
        self.power = power

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (1/n_i) Σ r^p and (p/n_i) A_iᵀ r^{p−1}, with r = A_i x_i − b_i."""
        residuals = self.residuals(x)
        slopes = residuals ** (self.power - 1)
        losses = (slopes * residuals).sum(1) * self.weights
        return losses, self.pull_back(self.power * slopes)

    def provenance(self) -> Mapping[str, Any]:
        """Return sizes, power and, where given, the data's origin."""
        return dict(super().provenance()) | {"power": self.power}

    def in_common(self) -> Mapping[str, str]:
        """Return the power as well."""
        return dict(super().in_common()) | {"power": str(self.power)}

    def solution_sets(self) -> Sequence[AffineSubspace] | None:
        """S_i = {x : A_i x = b_i}, or None where a node's system has no solution."""
        for node, (left, _, _) in enumerate(self._factors):
            target = self._in_double().b[node, : left.shape[0]]
            residual = torch.linalg.vector_norm(target - left @ (left.mT @ target))
            if residual > 1e-10 * torch.linalg.vector_norm(target):
                return None
        return self._least_squares_sets()


class SquaredDistance(AffineOptima):
    """f_i(x) = d(x, S_i)² for closed convex sets S_i; L_i = 2 and ∇f_i(x) = 2(x − P_{S_i}(x)).

    `sets`: one `Ball`, `HalfSpace` or `AffineSubspace` per node, all in the same R^d.
    `common`: the set S = ⋂ S_i where it is known, so that d(x, S) can be recorded; for
    affine subspaces it is computed.
    Raises `ValueError` for no sets or sets of different dimension.
    """

    def __init__(self, sets: Sequence[ConvexSet], *, common: ConvexSet | None = None) -> None:
        if len(sets) == 0:
            raise ValueError("sets is empty: expected one set per node")
        dim = sets[0].dim
        for node, convex_set in enumerate([*sets, *([common] if common else [])]):
            if convex_set.dim != dim:
                who = f"node {node}" if node < len(sets) else "common"
                raise ValueError(f"the set of {who} is in R^{convex_set.dim}, expected R^{dim}")
        self.sets, self.common = list(sets), common
        self.num_nodes, self.dim = len(sets), dim

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return d(x_i, S_i)² and 2(x_i − P_{S_i}(x_i))."""
        gap = x - self._project(x)
        return (gap**2).sum(1), 2.0 * gap

    def smoothness(self) -> NDArray[np.float64]:
        """L_i = 2: x − P(x) is firmly non-expansive."""
        return np.full(self.num_nodes, 2.0)

    def projection(self) -> Callable[[Tensor], Tensor]:
        """x_i ↦ P_{S_i}(x_i)."""
        return self._project

    def solution_sets(self) -> list[AffineSubspace] | None:
        """S_i where all are affine subspaces, else None."""
        affine = [s for s in self.sets if isinstance(s, AffineSubspace)]
        return affine if len(affine) == len(self.sets) else None

    def hessian_spectra(self) -> list[Spectrum] | None:
        """H_i = 2 Π_i where all sets are affine subspaces, else None."""
        sets = self.solution_sets()
        if sets is None:
            return None
        return [Spectrum(torch.full_like(s.normals[:, 0], 2.0), s.normals) for s in sets]

    def closed_form(self, etas: NDArray[np.float64]) -> ClosedForm | None:
        """x_i − (1 − (1 − 2η_i)^{T_i})(x_i − P_{S_i}(x_i)) for η_i ≤ 1/2: all steps on one segment.

        For η_i > 1/2 a step crosses the boundary of S_i; then only affine sets have it.
        """
        if (etas > 0.5).any():
            return super().closed_form(etas)
        logarithms = torch.as_tensor(2.0 * etas).neg().log1p()

        def leap(x: Tensor, gradients: Tensor, steps: Tensor) -> Tensor:
            shares = -torch.expm1(logarithms.to(steps.device) * steps)
            shares = torch.where(steps > 0, shares, 0.0).to(x)[:, None]
            return x - shares * (gradients / 2)

        return leap

    def closed_paths(self, etas: NDArray[np.float64]) -> ClosedPaths | None:
        """Return (1 − 2η_i)^{2t} f_i(x) and four times as much, for η_i ≤ 1/2."""
        if (etas > 0.5).any():
            return super().closed_paths(etas)
        shrink = (1.0 - torch.as_tensor(2.0 * etas)) ** 2

        def trail(
            x: Tensor, losses: Tensor, gradients: Tensor, steps: int
        ) -> tuple[Tensor, Tensor]:
            powers = shrink.to(x)[:, None] ** torch.arange(steps, device=x.device)
            along = losses[:, None] * powers
            return along, 4.0 * along

        return trail

    def distance(self, x: Tensor) -> float | None:
        """d(x, S) where S is given or the sets are affine, else None."""
        if self.common is not None:
            return float(self.common.distance(x))
        return super().distance(x)

    def to(self, device: torch.device, dtype: torch.dtype) -> Self:
        """Return the same problem with its sets on `device` in `dtype`."""
        moved = type(self)(
            [s.to(device, dtype) for s in self.sets],
            common=self.common.to(device, dtype) if self.common else None,
        )
        moved.dtype = dtype
        return moved

    def provenance(self) -> Mapping[str, Any]:
        """Return the sets by their constructor calls."""
        return dict(super().provenance()) | {"sets": [repr(s) for s in self.sets]}

    def _project(self, x: Tensor) -> Tensor:
        return torch.stack([s.project(x[node]) for node, s in enumerate(self.sets)])
