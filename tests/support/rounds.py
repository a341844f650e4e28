"""One round of Algorithm 1 with every term of Lemma 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from reference import Vector
from smooth import BoxDistance, Path, Quadratic, SmoothNode


@dataclass(eq=False)
class Federation:
    """The nodes with a common minimiser, their step sizes and step counts, and a start."""

    nodes: list[SmoothNode]
    etas: list[float]
    steps: list[float]  # T_i, 1 to ∞
    x0: Vector
    point: Vector  # a point of S

    def __repr__(self) -> str:
        etas = ", ".join(f"{eta:.6g}" for eta in self.etas)
        return (
            f"Federation({self.nodes}, etas=[{etas}], steps={self.steps}, "
            f"x0={self.x0.tolist()}, point={self.point.tolist()})"
        )


class Round(NamedTuple):
    """x_n, where the nodes' steps led, and x_{n+1}."""

    start: Vector
    paths: list[Path]
    end: Vector


def one_round(case: Federation, x: Vector) -> Round:
    """x_{n+1} = (1/m) Σ x^{i,T_i} from x_n = `x`."""
    paths = [
        node.path(x, eta, steps)
        for node, eta, steps in zip(case.nodes, case.etas, case.steps, strict=True)
    ]
    return Round(x, paths, sum(path.end for path in paths) / len(paths))


def iterates(case: Federation, rounds: int) -> list[Vector]:
    """x_0, …, x_rounds."""
    xs = [case.x0]
    for _ in range(rounds):
        xs.append(one_round(case, xs[-1]).end)
    return xs


def alphas(case: Federation) -> Vector:
    """α_i = η_i(2/L_i − η_i)."""
    return np.array([e * (2 / n.L - e) for n, e in zip(case.nodes, case.etas, strict=True)])


def excess_rate(case: Federation) -> float:
    """k = min_i η_i min(1, 2 − η_i L_i): what a round takes off d² per unit of 2(f − f*)."""
    return min(e * min(1, 2 - e * n.L) for n, e in zip(case.nodes, case.etas, strict=True))


def decrease(case: Federation, done: Round) -> float:
    """z_n = (1/m) Σ_i α_i Σ_{t<T_i} ‖∇f_i(x^{i,t})‖², the right-hand side of Lemma 1."""
    return float(alphas(case) @ [path.energy for path in done.paths]) / len(case.nodes)


def spread(done: Round) -> float:
    """V_n = (1/m) Σ ‖x^{i,T_i} − x_{n+1}‖², what the average drops."""
    return float(np.mean([squared_norm(path.end - done.end) for path in done.paths]))


def mean_loss(case: Federation, x: Vector) -> float:
    """f(x) − f*, for f_i* = 0."""
    return sum(node.loss(x) for node in case.nodes) / len(case.nodes)


def mean_gradient(case: Federation, x: Vector) -> Vector:
    """∇f(x)."""
    return sum(node.gradient(x) for node in case.nodes) / len(case.nodes)


def nearest_common_point(case: Federation, x: Vector) -> Vector:
    """P_S(x) for affine sets and for boxes; for others the known point of S."""
    if all(isinstance(node, Quadratic) for node in case.nodes):
        normals = stacked_normals(case)
        _, singular, right = np.linalg.svd(normals, full_matrices=False)
        basis = right[: int((singular > 1e-8).sum())]
        return x - basis.T @ (basis @ (x - case.point))
    if all(isinstance(node, BoxDistance) for node in case.nodes):
        low = np.max([node.low for node in case.nodes], axis=0)
        high = np.min([node.high for node in case.nodes], axis=0)
        return np.clip(x, low, high)
    return case.point


def smallest_angle_eigenvalue(case: Federation) -> float:
    """σ, the smallest non-zero eigenvalue of (1/m) Σ Π_i; 1 where S is the whole space."""
    singular = np.linalg.svd(stacked_normals(case), compute_uv=False)
    positive = singular[singular > 1e-8]
    return float(positive[-1] ** 2) / len(case.nodes) if len(positive) else 1.0


def stacked_normals(case: Federation) -> Vector:
    """Orthonormal bases of all S_i^⊥, stacked; at least one row."""
    zero = np.zeros((1, len(case.x0)))
    return np.vstack([zero, *(node.normals for node in case.nodes)])


def inverse_condition(case: Federation) -> float:
    """κ⁻¹ = min α_i μ_i² of Theorem 3."""
    return float(min(a * node.mu**2 for a, node in zip(alphas(case), case.nodes, strict=True)))


def inverse_condition_by_growth(case: Federation) -> float:
    """min k_i, k = ημ(1 + μ(1/L − η)) for η ≤ 1/L and ημ(2 − ηL) beyond: linear in μ/L."""
    return min(
        e * n.mu * (1 + n.mu * (1 / n.L - e) if e * n.L <= 1 else 2 - e * n.L)
        for n, e in zip(case.nodes, case.etas, strict=True)
    )


def squared_norm(x: Vector) -> float:
    """‖x‖²."""
    return float(x @ x)
