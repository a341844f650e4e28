"""Random convex problems for Hypothesis, each with its plain NumPy twin."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from hypothesis import strategies as st

from localgd import (
    AffineSubspace,
    Ball,
    HalfSpace,
    LeastSquares,
    PowerLoss,
    Problem,
    SquaredDistance,
)
from reference import (
    Node,
    Vector,
    affine_node,
    ball_node,
    half_space_node,
    power_node,
)
from rounds import Federation
from smooth import (
    INFINITY,
    BallDistance,
    BoxDistance,
    HalfSpaceDistance,
    Huber,
    Quadratic,
    SmoothNode,
    subspace_distance,
)


@dataclass
class Case:
    """A problem of `localgd`, the same nodes in NumPy, step sizes and a start."""

    problem: Problem
    nodes: list[Node]
    etas: list[float]
    x0: Vector
    solution: Vector | None  # a point of S where one is known

    def __repr__(self) -> str:
        return f"Case({self.problem.provenance()}, etas={self.etas}, x0={self.x0.tolist()})"


@st.composite
def linear_cases(draw: Any, power: int = 2, consistent: bool = True) -> Case:
    """Nodes with 1 to 4 samples each of any rank; consistent ones have a common solution."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dim, num_nodes = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    blocks, targets = [], []
    solution = rng.standard_normal(dim)
    for _ in range(num_nodes):
        n, rank = draw(st.integers(1, 4)), draw(st.integers(1, dim))
        block = rng.standard_normal((n, rank)) @ rng.standard_normal((rank, dim))
        blocks.append(block / np.linalg.norm(block, 2))
        targets.append(blocks[-1] @ solution if consistent else rng.standard_normal(n))
    nodes = [power_node(A, b, power) for A, b in zip(blocks, targets, strict=True)]
    fractions = draw(st.lists(st.floats(0.05, 0.95), min_size=num_nodes, max_size=num_nodes))
    problem: Problem
    if power == 2:
        problem = LeastSquares(blocks, targets)
        etas = [float(f * 2 / L) for f, L in zip(fractions, problem.smoothness(), strict=True)]
    else:
        problem = PowerLoss(blocks, targets, power=power)
        etas = [0.01 * f for f in fractions]
    return Case(problem, nodes, etas, rng.standard_normal(dim), solution if consistent else None)


@st.composite
def distance_cases(draw: Any, kinds: tuple[str, ...] = ("ball", "half-space", "affine")) -> Case:
    """Squared distances to 1 to 4 sets, all of which contain one random point."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dim, num_nodes = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    solution = rng.standard_normal(dim)
    sets: list[Any] = []
    nodes = []
    for _ in range(num_nodes):
        kind = draw(st.sampled_from(kinds))
        if kind == "ball":
            center = solution + rng.standard_normal(dim)
            radius = float(np.linalg.norm(center - solution)) * draw(st.floats(1.0, 2.0))
            sets.append(Ball(center, radius))
            nodes.append(ball_node(center, radius))
        elif kind == "half-space":
            normal = rng.standard_normal(dim)
            offset = float(normal @ solution) + draw(st.floats(0.0, 1.0))
            sets.append(HalfSpace(normal, offset))
            nodes.append(half_space_node(normal, offset))
        else:
            directions = rng.standard_normal((draw(st.integers(0, dim)), dim))
            sets.append(AffineSubspace(solution, directions))
            nodes.append(affine_node(solution, directions))
    etas = draw(st.lists(st.floats(0.05, 0.95), min_size=num_nodes, max_size=num_nodes))
    return Case(SquaredDistance(sets), nodes, etas, 3 * rng.standard_normal(dim), solution)


# Problems of section 2 in small integers, which shrink to something one can read. A draw costs
# Hypothesis more than a round of Algorithm 1 costs NumPy, so that all choices come in one.

KINDS = ("quadratic", "subspace", "hyperplane", "ball", "half-space", "box", "huber")
AFFINE = ("quadratic", "subspace", "hyperplane")
_NODE_BYTES, _HEAD_BYTES = 12, 10
_IN_ORDER = np.array([0.0, 1.0, -1.0, 2.0, -2.0, 3.0, -3.0])


class Choices:
    """Reads bounded choices off a string of bytes, one each; zero bytes are the simplest."""

    def __init__(self, data: bytes) -> None:
        self._data, self._read = data, 0

    def below(self, n: int) -> int:
        """Return an integer in 0 … n − 1."""
        self._read += 1
        return self._data[self._read - 1] % n

    def integers(self, *shape: int, bound: int = 3) -> Vector:
        """Integers in [−bound, bound], bound ≤ 3, in the order 0, 1, −1, 2, −2, … of simplicity."""
        count = math.prod(shape)
        values = np.frombuffer(self._data, np.uint8, count, self._read)
        self._read += count
        return _IN_ORDER[values % (2 * bound + 1)].reshape(shape)


@st.composite
def federations(
    draw: Any,
    kinds: tuple[str, ...] = KINDS,
    max_nodes: int = 8,
    largest_step: float = 0.95,
    counts: tuple[float, ...] = (1, 2, 3, 7, INFINITY),
) -> Federation:
    """1 to 8 nodes in R^1 to R^4 that share a minimiser, T_i and η_i each its own.

    `kinds`: which losses may occur, mixed freely; `AFFINE` gives affine S_i of every rank, at
    angles down to half a degree ("hyperplane" has normals crowded about one axis).
    η_i is a multiple of 1/20 of 2/L_i up to `largest_step`, which may exceed 1 where `counts`,
    the T_i to choose from, holds no ∞.
    """
    choices = Choices(draw(_bytes(_HEAD_BYTES + _NODE_BYTES * max_nodes)))
    num_nodes, dim = choices.below(max_nodes) + 1, choices.below(4) + 1
    point, offset = choices.integers(2, dim)
    nodes, etas, steps = [], [], []
    for _ in range(num_nodes):
        kind, count = kinds[choices.below(len(kinds))], counts[choices.below(len(counts))]
        fraction = (choices.below(round(20 * largest_step)) + 1) / 20
        nodes.append(_smooth_node(kind, point, choices))
        etas.append(fraction * 2 / nodes[-1].L)
        steps.append(counts[0] if kind == "huber" and count == INFINITY else count)
    return Federation(nodes, etas, steps, point + offset, point)


@cache
def _bytes(size: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=size, max_size=size)


def _smooth_node(kind: str, point: Vector, choices: Choices) -> SmoothNode:
    """A node of the `kind`, from at most 9 choices."""
    dim = len(point)
    if kind in ("quadratic", "huber"):
        A = choices.integers(1 + choices.below(8 // dim), dim)
        return Quadratic(A, point) if kind == "quadratic" else Huber(A, point)
    if kind == "hyperplane":
        normal = choices.integers(1, dim)
        normal[0, 0] += 25 * choices.below(5)
        return Quadratic(normal, point)
    if kind == "subspace":
        rank = choices.below(dim)
        directions = choices.integers(min(rank, 2), dim)
        if rank == 3:
            directions = np.vstack([directions, np.eye(dim)[0]])
        return subspace_distance(directions, point)
    if kind == "box":
        below, above = choices.integers(2, dim)
        return BoxDistance(point - _width(below), point + _width(above))
    slack, vector = choices.below(5) / 4, choices.integers(dim)
    if kind == "ball":
        radius = float(np.linalg.norm(vector)) * (1 + slack) + slack
        return BallDistance(point + vector, radius)
    vector[0] += not vector.any()
    return HalfSpaceDistance(vector, float(vector @ point) + slack)


def _width(code: Vector) -> Vector:
    """0, 1 or 2, or ∞ where the code is negative."""
    return np.where(code < 0, np.inf, np.minimum(code, 2))
