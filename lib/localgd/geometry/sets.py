"""Closed convex sets, their projections, and the angle between affine subspaces.

The optimal sets S_i of the paper are what local gradient descent projects onto when
T_i = ∞ (Lemma 5), and how they meet decides how fast averaging converges (Assumption 3,
Lemma 6).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

#: Singular values below this fraction of the largest count as zero.
RANK_TOL = 1e-10
#: A stacked system counts as consistent below this residual, relative to its right side.
CONSISTENCY_TOL = 1e-8


class ConvexSet(ABC):
    """A non-empty closed convex set in R^d with an explicit projection."""

    dim: int

    @abstractmethod
    def project(self, x: Tensor) -> Tensor:
        """P(x), the nearest point of the set; `x` of shape (…, d), the result likewise."""

    @abstractmethod
    def to(self, device: torch.device, dtype: torch.dtype) -> ConvexSet:
        """Return the same set with its tensors on `device` in `dtype`."""

    def distance(self, x: Tensor) -> Tensor:
        """d(x, set) = ‖x − P(x)‖; `x` of shape (…, d), the result of shape (…)."""
        x = torch.as_tensor(x)
        distance: Tensor = torch.linalg.vector_norm(x - self.project(x), dim=-1)
        return distance


class Ball(ConvexSet):
    """{x : ‖x − center‖ ≤ radius}; `center` of shape (d,), `radius` ≥ 0.

    Raises `ValueError` for a center that is not a finite vector or a negative radius.
    """

    def __init__(self, center: Any, radius: float) -> None:
        self.center = _vector("center", center)
        if not (radius >= 0 and np.isfinite(radius)):
            raise ValueError(f"radius={radius} must be a finite number ≥ 0")
        self.radius = float(radius)
        self.dim = self.center.shape[0]

    def project(self, x: Tensor) -> Tensor:
        """c + (x − c)·min(1, r/‖x − c‖)."""
        offset = x - self.center
        norm = torch.linalg.vector_norm(offset, dim=-1, keepdim=True)
        scale = torch.clamp(self.radius / norm.clamp_min(torch.finfo(norm.dtype).tiny), max=1.0)
        return self.center + offset * scale

    def to(self, device: torch.device, dtype: torch.dtype) -> Ball:
        """Return the same ball with its tensors on `device` in `dtype`."""
        return Ball(self.center.to(device, dtype), self.radius)

    def __repr__(self) -> str:
        return f"Ball(center={self.center.tolist()}, radius={self.radius})"


class HalfSpace(ConvexSet):
    """{x : ⟨normal, x⟩ ≤ offset}; `normal` of shape (d,), not zero.

    Raises `ValueError` for a zero or non-finite normal or a non-finite offset.
    """

    def __init__(self, normal: Any, offset: float) -> None:
        vector = _vector("normal", normal)
        length = float(torch.linalg.vector_norm(vector))
        if length == 0:
            raise ValueError("normal is the zero vector: a half-space needs a direction")
        if not np.isfinite(offset):
            raise ValueError(f"offset={offset} must be finite")
        self.normal = vector / length
        self.offset = float(offset) / length
        self.dim = vector.shape[0]

    def project(self, x: Tensor) -> Tensor:
        """Subtract the excess max(0, ⟨n, x⟩ − b) along the unit normal n."""
        excess = torch.clamp(x @ self.normal - self.offset, min=0.0)
        return x - excess.unsqueeze(-1) * self.normal

    def to(self, device: torch.device, dtype: torch.dtype) -> HalfSpace:
        """Return the same half-space with its tensors on `device` in `dtype`."""
        return HalfSpace(self.normal.to(device, dtype), self.offset)

    def __repr__(self) -> str:
        return f"HalfSpace(normal={self.normal.tolist()}, offset={self.offset})"


class AffineSubspace(ConvexSet):
    """{point + Σ_k s_k directions_k}: the affine subspaces of Assumption 5.

    `point` has shape (d,), `directions` (k, d) with k ≥ 0; rows need not be independent.
    Kept as a point and `normals`, an orthonormal basis (r, d) of the orthogonal
    complement, so that P(x) = x − NᵀN(x − point) costs O(rd).
    Raises `ValueError` for arrays that are not finite or do not fit together.
    """

    def __init__(self, point: Any, directions: Any) -> None:
        self.point = _vector("point", point)
        self.dim = self.point.shape[0]
        rows = _matrix("directions", directions, self.dim, self.point)
        _, values, vectors = torch.linalg.svd(rows, full_matrices=True)
        self.normals = vectors[rank_of(values) :]

    @classmethod
    def from_normals(cls, point: Any, normals: Any) -> AffineSubspace:
        """{x : N(x − point) = 0}, `normals` N of shape (k, d); rows need not be independent."""
        subspace = cls.__new__(cls)
        subspace.point = _vector("point", point)
        subspace.dim = subspace.point.shape[0]
        rows = _matrix("normals", normals, subspace.dim, subspace.point)
        _, values, vectors = torch.linalg.svd(rows, full_matrices=False)
        subspace.normals = vectors[: rank_of(values)]
        return subspace

    def project(self, x: Tensor) -> Tensor:
        """P(x) = x − NᵀN(x − point)."""
        coordinates = torch.matmul(x - self.point, self.normals.mT)
        return x - torch.matmul(coordinates, self.normals)

    def to(self, device: torch.device, dtype: torch.dtype) -> AffineSubspace:
        """Return the same subspace with its tensors on `device` in `dtype`."""
        subspace = AffineSubspace.__new__(AffineSubspace)
        subspace.point = self.point.to(device, dtype)
        subspace.normals = self.normals.to(device, dtype)
        subspace.dim = self.dim
        return subspace

    def __repr__(self) -> str:
        return f"AffineSubspace(dim={self.dim - self.normals.shape[0]} in R^{self.dim})"


def intersection(sets: Sequence[AffineSubspace]) -> AffineSubspace | None:
    """S = ⋂ S_i of affine subspaces, or None where it is empty.

    Solves the stacked system N_i x = N_i p_i; it counts as consistent when the least
    residual is below `CONSISTENCY_TOL` relative to the points p_i.
    """
    normals = torch.cat([s.normals for s in sets])
    rhs = torch.cat([s.normals @ s.point for s in sets])
    point = torch.linalg.pinv(normals, rtol=RANK_TOL) @ rhs
    residual = torch.linalg.vector_norm(normals @ point - rhs)
    size = torch.linalg.vector_norm(torch.stack([s.point for s in sets]))
    if residual > CONSISTENCY_TOL * size:
        return None
    return AffineSubspace.from_normals(point, normals)


def sigma_min(sets: Sequence[AffineSubspace]) -> float:
    """σ, the smallest non-zero eigenvalue of Q = (1/m) Σ Π_i (proof of Lemma 6).

    Π_i projects onto the orthogonal complement of S_i.  Computed as the square of the
    smallest non-zero singular value of the stacked bases, so that σ far below the square
    root of the machine precision is still found; singular values under `RANK_TOL` of the
    largest count as zero.  Raises `ValueError` where every S_i is the whole space, for
    then Q = 0 and no σ exists.
    """
    stacked = torch.cat([s.normals for s in sets]) / len(sets) ** 0.5
    if stacked.shape[0] == 0:
        raise ValueError("every set is the whole space: Q = 0 has no non-zero eigenvalue")
    values = torch.linalg.svdvals(stacked)
    return float(values[rank_of(values) - 1] ** 2)


def rank_of(values: Tensor) -> int:
    """Count the singular values (descending) that are above the rank tolerance."""
    if values.numel() == 0:
        return 0
    return int((values > RANK_TOL * values[0]).sum())


def _vector(name: str, value: Any) -> Tensor:
    """Return `value` as a finite vector: a tensor keeps its type, all else becomes float64."""
    vector = torch.as_tensor(value if isinstance(value, Tensor) else np.asarray(value, float))
    if vector.ndim != 1 or vector.shape[0] == 0:
        raise ValueError(f"{name} has shape {tuple(vector.shape)}, expected (d,) with d ≥ 1")
    if not bool(torch.isfinite(vector).all()):
        raise ValueError(f"{name} holds a NaN or an infinity")
    return vector


def _matrix(name: str, value: Any, dim: int, like: Tensor) -> Tensor:
    """Return `value` as a finite (k, dim) matrix with the type of `like`; k = 0 is allowed."""
    if not isinstance(value, Tensor):
        value = np.asarray(value, float)
    rows = torch.as_tensor(value, dtype=like.dtype, device=like.device)
    if rows.numel() == 0:
        rows = rows.reshape(0, dim)
    if rows.ndim != 2 or rows.shape[1] != dim:
        raise ValueError(f"{name} has shape {tuple(rows.shape)}, expected (k, {dim})")
    if not bool(torch.isfinite(rows).all()):
        raise ValueError(f"{name} holds a NaN or an infinity")
    return rows
