"""Convex smooth losses with f* = 0 and everything section 2 speaks of in closed form.

Each node knows L, its constant μ of Assumption 2 where it has one, P_{S_i}, and what T steps of
local gradient descent sum up to, T = ∞ included.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from reference import Vector

INFINITY = math.inf
_RANK_TOL = 1e-10


class Path(NamedTuple):
    """T local steps from x: x^0 = x, x^{t+1} = x^t − η∇f_i(x^t)."""

    end: Vector  # x^T
    energy: float  # Σ_{t<T} ‖∇f_i(x^t)‖²
    excess: float  # Σ_{t<T} f_i(x^t) − f_i*
    peak: float  # max_{t≤T} ‖∇f_i(x^t)‖²


class SmoothNode(ABC):
    """f_i with min f_i = 0 attained on a closed convex set S_i."""

    L: float
    mu: float | None  # ‖∇f_i(x)‖ ≥ μ d(x, S_i) for all x

    @abstractmethod
    def loss(self, x: Vector) -> float:
        """f_i(x)."""

    @abstractmethod
    def gradient(self, x: Vector) -> Vector:
        """∇f_i(x)."""

    @abstractmethod
    def project(self, x: Vector) -> Vector:
        """P_{S_i}(x)."""

    @abstractmethod
    def limit(self, x: Vector, eta: float) -> Path:
        """T = ∞."""

    def loss_given(self, x: Vector, grad_norm_sq: float) -> float:
        """f_i(x), where ‖∇f_i(x)‖² is known already."""
        return self.loss(x)

    def distance(self, x: Vector) -> float:
        """d(x, S_i)."""
        return float(np.linalg.norm(x - self.project(x)))

    def path(self, x: Vector, eta: float, steps: float) -> Path:
        """T = `steps` local steps, `INFINITY` for their limit."""
        if steps == INFINITY:
            return self.limit(x, eta)
        energy = excess = peak = 0.0
        for _ in range(int(steps)):
            gradient = self.gradient(x)
            squared = float(gradient @ gradient)
            energy, peak = energy + squared, max(peak, squared)
            excess += self.loss_given(x, squared)
            x = x - eta * gradient
        last = self.gradient(x)
        return Path(x, energy, excess, max(peak, float(last @ last)))


@dataclass(eq=False)
class Quadratic(SmoothNode):
    """f(x) = ‖A(x − point)‖²/n: least squares with the solution `point`; S_i is affine."""

    A: Vector  # (n, d)
    point: Vector  # (d,)
    values: Vector = field(init=False)  # (r,) non-zero eigenvalues of H = 2AᵀA/n
    normals: Vector = field(init=False)  # (r, d) orthonormal basis of S_i^⊥

    def __post_init__(self) -> None:
        _, singular, right = np.linalg.svd(self.A, full_matrices=False)
        rank = int((singular > _RANK_TOL * np.max(singular, initial=1.0)).sum())
        self.values = 2 * singular[:rank] ** 2 / len(self.A)
        self.normals = right[:rank]
        self.hessian = (self.normals.T * self.values) @ self.normals
        self.L = float(self.values[0]) if rank else 1.0
        self.mu = float(self.values[-1]) if rank else self.L

    def loss(self, x: Vector) -> float:
        residual = self.A @ (x - self.point)
        return float(residual @ residual) / len(residual)

    def gradient(self, x: Vector) -> Vector:
        return self.hessian @ (x - self.point)

    def project(self, x: Vector) -> Vector:
        return x - self.normals.T @ (self.normals @ (x - self.point))

    def limit(self, x: Vector, eta: float) -> Path:
        e = self.normals @ (x - self.point)
        shares = 1 / (eta * self.values * (2 - eta * self.values))  # Σ_t (1 − ηλ)^{2t}
        start = (self.values * e) ** 2
        return Path(
            self.project(x),
            float(start @ shares),
            float(self.values * e**2 @ shares) / 2,
            float(start.sum()),
        )

    def __repr__(self) -> str:
        return f"Quadratic(A={_text(self.A)}, point={_text(self.point)})"


class Huber(SmoothNode):
    """f(x) = (1/n) Σ h(⟨a_j, x − point⟩), h quadratic on [−1, 1] with slope ±1 beyond.

    Convex and smooth, not a quadratic, and far from S_i without curvature: no μ.
    """

    mu = None

    def __init__(self, A: Vector, point: Vector) -> None:
        self.A, self.point = A, point
        self.affine = Quadratic(A, point)
        self.L = self.affine.L / 2

    def loss(self, x: Vector) -> float:
        r = np.abs(self.A @ (x - self.point))
        return float(np.where(r <= 1, r**2 / 2, r - 0.5).mean())

    def gradient(self, x: Vector) -> Vector:
        return self.A.T @ np.clip(self.A @ (x - self.point), -1, 1) / len(self.A)

    def project(self, x: Vector) -> Vector:
        return self.affine.project(x)

    def limit(self, x: Vector, eta: float) -> Path:
        raise NotImplementedError("no closed form for T = ∞")

    def __repr__(self) -> str:
        return f"Huber(A={_text(self.A)}, point={_text(self.point)})"


class Distance(SmoothNode):
    """f(x) = d(x, S_i)², ∇f = 2(x − P(x)); L = μ = 2."""

    L = mu = 2.0

    def loss(self, x: Vector) -> float:
        return float(((x - self.project(x)) ** 2).sum())

    def gradient(self, x: Vector) -> Vector:
        return 2 * (x - self.project(x))

    def loss_given(self, x: Vector, grad_norm_sq: float) -> float:
        return grad_norm_sq / 4

    def limit(self, x: Vector, eta: float) -> Path:
        """P(x) for η ≤ ½; beyond, the steps overshoot and are taken one by one."""
        if eta <= 0.5:
            squared = self.loss(x)
            energy = squared / (eta * (1 - eta))  # 4d² Σ_t (1 − 2η)^{2t}
            return Path(self.project(x), energy, energy / 4, 4 * squared)
        start, energy, gradient = x, 0.0, self.gradient(x)
        peak = float(gradient @ gradient)
        while (squared := float(gradient @ gradient)) > 1e-28 * max(1.0, start @ start):
            energy += squared
            x = x - eta * gradient
            gradient = self.gradient(x)
        return Path(x, energy, energy / 4, peak)


@dataclass(eq=False)
class BallDistance(Distance):
    """d(x, {‖x − center‖ ≤ radius})²."""

    center: Vector
    radius: float

    def project(self, x: Vector) -> Vector:
        offset = x - self.center
        length = math.sqrt(offset @ offset)
        return x if length <= self.radius else self.center + offset * (self.radius / length)

    def __repr__(self) -> str:
        return f"BallDistance({_text(self.center)}, {self.radius:g})"


@dataclass(eq=False)
class HalfSpaceDistance(Distance):
    """d(x, {⟨normal, x⟩ ≤ offset})²."""

    normal: Vector
    offset: float

    def project(self, x: Vector) -> Vector:
        excess = max(float(self.normal @ x) - self.offset, 0.0)
        return x - (excess / float(self.normal @ self.normal)) * self.normal

    def __repr__(self) -> str:
        return f"HalfSpaceDistance({_text(self.normal)}, {self.offset:g})"


@dataclass(eq=False)
class BoxDistance(Distance):
    """d(x, {low ≤ x ≤ high})², with infinite bounds allowed."""

    low: Vector
    high: Vector

    def project(self, x: Vector) -> Vector:
        return np.minimum(np.maximum(x, self.low), self.high)

    def __repr__(self) -> str:
        return f"BoxDistance({_text(self.low)}, {_text(self.high)})"


def subspace_distance(directions: Vector, point: Vector) -> Quadratic:
    """d(x, point + span(directions))², L = μ = 2, as a quadratic."""
    _, singular, right = np.linalg.svd(directions, full_matrices=True)
    rank = int((singular > _RANK_TOL * np.max(singular, initial=1.0)).sum())
    normals = right[rank:]
    if len(normals) == 0:
        return Quadratic(np.zeros((1, len(point))), point)
    return Quadratic(math.sqrt(len(normals)) * normals, point)


def _text(array: Vector) -> str:
    return str(np.asarray(array).tolist())
