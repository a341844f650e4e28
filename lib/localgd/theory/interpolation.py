"""Smooth convex functions through given points, values and gradients.

A table (x_k, g_k, f_k) belongs to an L-smooth convex function exactly if
f_a ≥ f_b + ⟨g_b, x_a − x_b⟩ + ‖g_a − g_b‖²/(2L) for all a, b (Taylor, Hendrickx & Glineur
2017). The least such function is
f(x) = max_w ⟨w, c + Gᵀx⟩ − ‖Gw‖²/(2L) over the simplex, with the gradients as columns of G and
c_k = f_k − ⟨g_k, x_k⟩ + ‖g_k‖²/(2L), and ∇f(x) = Gw.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from localgd.problem import Problem
from localgd.theory.worst_case import need

FloatArray = NDArray[np.float64]

_QP_TOLERANCE = 1e-12
_TABLE_TOLERANCE = 1e-6
_RANK_TOLERANCE = 1e-7  # of the eigenvalues of XᵀG, against the solver's rounding


class InterpolatedLosses(Problem):
    """f_i = the least L-smooth, μ-strongly convex function through a table of its own.

    points, gradients: per node (K_i, d); losses: per node (K_i,). The minimiser x* = 0 with
    f_i = 0 joins each table. ‖x‖ is an upper bound on d(x, S), and what `distance` returns.
    """

    def __init__(
        self,
        points: Sequence[FloatArray],
        gradients: Sequence[FloatArray],
        losses: Sequence[FloatArray],
        smoothness: float = 1.0,
        strong_convexity: float = 0.0,
    ) -> None:
        """Raise ValueError where a table is not one of a function of the class."""
        if not 0 <= strong_convexity < smoothness:
            raise ValueError(f"strong_convexity={strong_convexity} must lie in [0, {smoothness})")
        self.num_nodes, self.dim = len(points), points[0].shape[1]
        self.L, self.mu = smoothness, strong_convexity
        self.G, self.c = [], []
        for node, (x, g, f) in enumerate(zip(points, gradients, losses, strict=True)):
            x, g, f = (np.concatenate([table, 0 * table[:1]]) for table in (x, g, f))
            # f − (μ/2)‖x‖² is convex and (L − μ)-smooth
            g, f = g - self.mu * x, f - self.mu / 2 * (x**2).sum(1)
            c = f - (g * x).sum(1) + (g**2).sum(1) / (2 * (self.L - self.mu))
            self._check(node, g @ x.T, g @ g.T, f, c)
            self.G.append(torch.as_tensor(g.T.copy()))
            self.c.append(torch.as_tensor(c))

    def _check(
        self, node: int, gx: FloatArray, gg: FloatArray, f: FloatArray, c: FloatArray
    ) -> None:
        """Raise ValueError where an inequality f_a ≥ f_b + … of the table fails."""
        curvature = self.L - self.mu
        right = c[:, None] + gx - gg / curvature + np.diag(gg) / (2 * curvature)  # [b, a]
        excess = float((right - f).max())
        if excess > _TABLE_TOLERANCE * self.L:
            raise ValueError(
                f"the table of node {node} is not that of a {self.L:g}-smooth convex function: "
                f"an interpolation inequality fails by {excess:.2g}"
            )

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return f_i(x_i), shape (m,), and ∇f_i(x_i), shape (m, d)."""
        found = [self._evaluate(node, row.numpy()) for node, row in enumerate(x.detach().cpu())]
        losses = torch.tensor([loss for loss, _ in found], dtype=x.dtype)
        return losses, torch.as_tensor(np.array([gradient for _, gradient in found]), dtype=x.dtype)

    def _evaluate(self, node: int, x: FloatArray) -> tuple[float, FloatArray]:
        """f_i(x) and ∇f_i(x)."""
        G, c, curvature = self.G[node].numpy(), self.c[node].numpy(), self.L - self.mu
        slope = c + G.T @ x
        weights = _best_weights(G.T @ G / curvature, slope)
        gradient = G @ weights
        value = float(weights @ slope - gradient @ gradient / (2 * curvature))
        return value + self.mu / 2 * float(x @ x), gradient + self.mu * x

    def to(self, device: torch.device, dtype: torch.dtype) -> Self:
        """Return itself: it is evaluated on the CPU in double precision."""
        _stay(device, dtype)
        return self

    def smoothness(self) -> FloatArray:
        """L for every node, shape (m,)."""
        return np.full(self.num_nodes, self.L)

    def distance(self, x: Tensor) -> float:
        """‖x − x*‖ with x* = 0, at least d(x, S)."""
        return float(torch.linalg.vector_norm(x))


def _best_weights(P: FloatArray, slope: FloatArray) -> FloatArray:
    """argmax ⟨w, slope⟩ − ½wᵀPw over the simplex."""
    clarabel, sparse = need("clarabel"), need("scipy.sparse")
    count = len(slope)
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = _QP_TOLERANCE
    rows = sparse.vstack([np.ones((1, count)), -sparse.eye(count)]).tocsc()
    bounds = np.concatenate([[1.0], np.zeros(count)])
    cones = [clarabel.ZeroConeT(1), clarabel.NonnegativeConeT(count)]
    solved = clarabel.DefaultSolver(
        sparse.triu(P, format="csc"), -slope, rows, bounds, cones, settings
    ).solve()
    weights = np.maximum(np.array(solved.x), 0.0)
    return np.asarray(weights / weights.sum())


class QuadraticLosses(Problem):
    """f_i(x) = ½xᵀH_ix with H_i = G(XᵀG)⁺Gᵀ, which has H_iX = G and H_i ⪯ L.

    points, gradients: per node (K, d), the rows of X and G transposed. L bounds H_i where
    GᵀG ⪯ L XᵀG, as for the tables of `worst_case(quadratic=True)`.
    """

    def __init__(self, points: Sequence[FloatArray], gradients: Sequence[FloatArray]) -> None:
        self.num_nodes, self.dim = len(points), points[0].shape[1]
        hessians = []
        for x, g in zip(points, gradients, strict=True):
            values, vectors = np.linalg.eigh((g @ x.T + x @ g.T) / 2)
            kept = values > _RANK_TOLERANCE * max(1.0, values[-1])
            factor = (vectors[:, kept] / np.sqrt(values[kept])).T @ g
            hessians.append(factor.T @ factor)
        self.H = torch.as_tensor(np.array(hessians))

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return f_i(x_i), shape (m,), and ∇f_i(x_i), shape (m, d)."""
        gradients = torch.einsum("ijk,ik->ij", self.H, x)
        return (gradients * x).sum(1) / 2, gradients

    def to(self, device: torch.device, dtype: torch.dtype) -> Self:
        """Return itself: a small problem in double precision on the CPU."""
        _stay(device, dtype)
        return self

    def smoothness(self) -> FloatArray:
        """L_i, the largest eigenvalues of the H_i, shape (m,)."""
        return np.asarray(torch.linalg.eigvalsh(self.H)[:, -1].numpy())


def _stay(device: torch.device, dtype: torch.dtype) -> None:
    """Raise ValueError unless asked for the CPU and double precision."""
    if torch.device(device).type != "cpu" or dtype != torch.float64:
        raise ValueError(f"worst-case losses run on the CPU in float64, not {device} in {dtype}")
