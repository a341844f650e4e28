"""Linear systems whose columns and rows have very different scales: rank, SVD, solution set.

A singular value says little there: that of a column of size 1e-12 beside one of size 1 is far
above rounding and far below any fixed fraction of the largest.  The rank is decided after rows
and columns have been brought to one size, and what follows is computed by algorithms whose error
is relative in every row and column.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from localgd.geometry.sets import AffineSubspace

Array = NDArray[np.float64]

#: Below this ratio of singular values the usual SVD has no digits left that one could count on.
GRADED = 1e-8
_SWEEPS = 5
_REFINEMENTS = 3
#: Points at which a projection is tried, and what it may leave of the equations' residuals.
_PROBES, _PROBE_TOL = 8, 1e-8


def factors(A: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the thin SVD of `A`, cut at its numerical rank: U (n, r), σ (r,), V (r, d).

    Each to the accuracy of its scale.  Raises `ImportError` where SciPy, which has the algorithm
    for graded matrices, is needed and not installed.
    """
    left, values, right = (torch.from_numpy(part).to(A) for part in _factors(A.cpu().numpy()))
    return left, values, right


def numerical_rank(A: Array) -> int:
    """Count the singular values of `A` with rows and columns of one size that are not rounding."""
    rows, columns = _scales(A)
    values = np.linalg.svd(A * rows[:, None] * columns, compute_uv=False)
    tolerance = 8 * max(A.shape) * np.finfo(float).eps
    return int((values > tolerance * values[0]).sum())


def is_graded(A: Tensor, counts: Sequence[int]) -> bool:
    """Return whether columns, or the singular values of a node, lie far apart in size.

    `A`: the nodes' matrices, (m, max n_i, d), of which the first `counts` rows are theirs.
    """
    sizes = A.abs().amax((0, 1))
    sizes = sizes[sizes > 0]
    if len(sizes) and float(sizes.min()) < GRADED**0.5 * float(sizes.max()):
        return True
    for block, n in zip(A.cpu().numpy(), counts, strict=True):
        rank, values = numerical_rank(block[:n]), np.linalg.svd(block[:n], compute_uv=False)
        if rank and values[rank - 1] <= GRADED * values[0]:
            return True
    return False


def solution_sets(A: Tensor, b: Tensor, counts: Sequence[int]) -> list[SolutionSet]:
    """Return {x : A_iᵀA_i x = A_iᵀb_i} for every node, on the device of `A`."""
    nodes = zip(A.cpu().numpy(), b.cpu().numpy(), counts, strict=True)
    return [
        SolutionSet.of_least_squares(block[:n], target[:n]).to(A.device, A.dtype)
        for block, target, n in nodes
    ]


class SolutionSet(AffineSubspace):
    """{x : Mx = y} for rows M of any scale, projected on by way of Mx − y.

    P(x) = x − NᵀL(Mx − y) with N orthonormal and LM = N: its error is relative to the residual,
    where that of x − NᵀN(x − point) is relative to the largest entry of x.
    """

    equations: Tensor  # M, (r, d)
    right_side: Tensor  # y, (r,)
    _solve: Tensor  # L, (r, r)
    #: Whether a projection solves the equations.  It does not where columns that depend on each
    #: other are far larger than the rest: what the rest adds is then lost in their rounding.
    determined: bool

    @classmethod
    def of_least_squares(cls, A: Array, b: Array) -> SolutionSet:
        """{x : AᵀAx = Aᵀb}, for finite `A` of shape (n, d) and `b` of shape (n,)."""
        from scipy.linalg import qr, solve_triangular

        _, columns = _scales(A)
        left, values, right = _factors(A * columns)
        y = (left.T @ b) / values
        for _ in range(
            _REFINEMENTS
        ):  # small entries of `left` lose their digits on large ones of b
            y = y + (left.T @ (b - (A * columns) @ (right.T @ y))) / values
        M = right / columns
        order = np.argsort(-np.abs(M).max(0), kind="stable")  # of the rows of Mᵀ, for accuracy
        Q, R, pivots = qr(M[:, order].T, mode="economic", pivoting=True)
        inverse = solve_triangular(R, np.eye(len(R)), trans="T")
        L = np.empty_like(inverse)
        L[:, pivots] = inverse
        N = np.empty_like(M)
        N[:, order] = Q.T
        point = columns * (right.T @ y) if len(y) == A.shape[1] else N.T @ (L @ y)
        found = cls.__new__(cls)
        found.dim, found.point = A.shape[1], torch.from_numpy(point)
        found.normals, found.equations = torch.from_numpy(N), torch.from_numpy(M)
        found.right_side, found._solve = torch.from_numpy(y), torch.from_numpy(L)
        found.determined = len(y) == A.shape[1] or _solves(M, N, L, columns)
        return found

    def project(self, x: Tensor) -> Tensor:
        """P(x) = x − NᵀL(Mx − y); the point itself where the set has no other."""
        if len(self.normals) == self.dim:
            return self.point.expand_as(x).clone()
        return x - torch.matmul(self._coordinates(x), self.normals)

    def distance(self, x: Tensor) -> Tensor:
        """‖L(Mx − y)‖ = ‖N(x − point)‖."""
        distances: Tensor = torch.linalg.vector_norm(self._coordinates(x), dim=-1)
        return distances

    def to(self, device: torch.device, dtype: torch.dtype) -> SolutionSet:
        """Return the same set with its tensors on `device` in `dtype`."""
        moved = type(self).__new__(type(self))
        moved.dim, moved.determined = self.dim, self.determined
        for name in ("point", "normals", "equations", "right_side", "_solve"):
            setattr(moved, name, getattr(self, name).to(device, dtype))
        return moved

    def _coordinates(self, x: Tensor) -> Tensor:
        residual = torch.matmul(x, self.equations.mT) - self.right_side
        return torch.matmul(residual, self._solve.mT)


def meet(sets: list[SolutionSet], tolerance: float) -> SolutionSet | None:
    """Return ⋂ S_i, or None where some equation is left with a residual beyond rounding.

    None as well where a projection on it would not solve the equations.  A residual counts relative
    to the sizes of the terms whose difference it is.
    """
    M = np.concatenate([each.equations.cpu().numpy() for each in sets])
    y = np.concatenate([each.right_side.cpu().numpy() for each in sets])
    sizes = 1.0 / np.abs(M).max(1, initial=0.0)
    found = SolutionSet.of_least_squares(M * sizes[:, None], y * sizes)
    point = found.point.numpy()
    residual = np.abs(M @ point - y)
    terms = np.abs(M) @ np.abs(point) + np.abs(y)
    met = found.determined and bool((residual <= tolerance * terms).all())
    return found if met else None


def _solves(M: Array, N: Array, L: Array, columns: Array) -> bool:
    """Return whether x − NᵀLMx leaves of Mx what is rounding, for x of the scale of `columns`."""
    x = np.random.default_rng(0).standard_normal((_PROBES, len(columns))) * columns
    before = x @ M.T
    after = (x - before @ L.T @ N) @ M.T
    return bool(np.abs(after).max(initial=0.0) <= _PROBE_TOL * np.abs(before).max(initial=0.0))


def _factors(A: Array) -> tuple[Array, Array, Array]:
    rank = numerical_rank(A)
    left, values, right = np.linalg.svd(A, full_matrices=False)
    if rank and values[rank - 1] <= GRADED * values[0]:
        left, values, right = _jacobi(A)
    return left[:, :rank], values[:rank], right[:rank]


def _scales(A: Array) -> tuple[Array, Array]:
    """Powers of two by which rows and columns come to a size near 1; 1 for those that are zero."""
    rows, columns = np.ones(A.shape[0]), np.ones(A.shape[1])
    for _ in range(_SWEEPS):
        for axis, scale in ((0, columns), (1, rows)):
            size = np.abs(A * rows[:, None] * columns).max(axis)
            scale /= np.where(size > 0, 2.0 ** np.round(np.log2(np.where(size > 0, size, 1))), 1)
    return rows, columns


def _jacobi(A: Array) -> tuple[Any, Any, Any]:
    """Return the thin SVD by one-sided Jacobi rotations, which keep small values' digits.

    LAPACK's xGEJSV (Drmač & Veselić 2008), with row pivoting; `A` transposed where it is wide.
    """
    try:
        from scipy.linalg.lapack import dgejsv
    except ImportError as error:
        raise ImportError(
            "columns or rows of very different scales need SciPy, which is not installed"
        ) from error
    wide = A.shape[0] < A.shape[1]
    values, left, right, work, _, info = dgejsv(A.T if wide else A, joba=2)
    if info:
        raise ArithmeticError(f"the SVD of a {A.shape[0]}×{A.shape[1]} matrix does not converge")
    values = values * (work[0] / work[1])
    return (right, values, left.T) if wide else (left, values, right.T)
