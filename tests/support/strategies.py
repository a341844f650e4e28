"""Random convex problems for Hypothesis, each with its plain NumPy twin."""

from __future__ import annotations

from dataclasses import dataclass
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
