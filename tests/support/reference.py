"""Algorithm 1 as one reads it: a loop over rounds, nodes and steps, in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


class Node(NamedTuple):
    """One node's loss f_i."""

    loss: Callable[[Vector], float]
    gradient: Callable[[Vector], Vector]
    project: Callable[[Vector], Vector]


class Reference(NamedTuple):
    """What the loop below saw."""

    x: list[Vector]  # x_0, x_1, …
    loss: list[float]
    grad_norm_sq: list[float]
    local_steps: list[list[float]]


def power_node(A: Vector, b: Vector, power: int) -> Node:
    """f(x) = (1/n) Σ (⟨a_j, x⟩ − b_j)^power."""
    n = len(b)
    return Node(
        loss=lambda x: sum((A[j] @ x - b[j]) ** power for j in range(n)) / n,
        gradient=lambda x: (
            sum(power * (A[j] @ x - b[j]) ** (power - 1) * A[j] for j in range(n)) / n
        ),
        project=lambda x: x - np.linalg.pinv(A, rcond=1e-10) @ (A @ x - b),
    )


def ball_node(center: Vector, radius: float) -> Node:
    """f(x) = max(‖x − center‖ − radius, 0)²."""

    def project(x: Vector) -> Vector:
        distance = np.linalg.norm(x - center)
        return x if distance <= radius else center + radius * (x - center) / distance

    return distance_node(project)


def half_space_node(normal: Vector, offset: float) -> Node:
    """f(x) = max(⟨normal, x⟩ − offset, 0)²/‖normal‖²."""
    return distance_node(lambda x: x - max(normal @ x - offset, 0.0) * normal / (normal @ normal))


def affine_node(point: Vector, directions: Vector) -> Node:
    """f(x) = d(x, point + span(directions))²."""
    onto = (
        np.linalg.pinv(directions) @ directions if len(directions) else np.zeros((len(point),) * 2)
    )
    return distance_node(lambda x: point + onto @ (x - point))


def distance_node(project: Callable[[Vector], Vector]) -> Node:
    """f(x) = ‖x − P(x)‖² with gradient 2(x − P(x))."""
    return Node(
        loss=lambda x: float(np.sum((x - project(x)) ** 2)),
        gradient=lambda x: 2 * (x - project(x)),
        project=project,
    )


def local_gd(
    nodes: Sequence[Node],
    x0: Vector,
    *,
    etas: Sequence[float],
    rounds: int,
    steps: Sequence[float] | None = None,
    grad_tol: float | None = None,
    max_steps: int = 10**6,
) -> Reference:
    """Algorithm 1 with T_i = steps[i] (math.inf projects), or until ‖∇f_i‖² ≤ grad_tol."""
    x = np.array(x0, float)
    result = Reference([], [], [], [])
    taken = [0.0] * len(nodes)
    for number in range(rounds + 1):
        result.x.append(x)
        result.loss.append(sum(node.loss(x) for node in nodes) / len(nodes))
        mean_gradient = sum(node.gradient(x) for node in nodes) / len(nodes)
        result.grad_norm_sq.append(float(mean_gradient @ mean_gradient))
        result.local_steps.append(taken)
        if number == rounds:
            break
        ends, taken = [], []
        for i, node in enumerate(nodes):
            y = x.copy()
            if steps is not None and steps[i] == float("inf"):
                ends.append(node.project(y))
                taken.append(float("inf"))
                continue
            limit = max_steps if steps is None else steps[i]
            count = 0
            while count < limit and (
                grad_tol is None or node.gradient(y) @ node.gradient(y) > grad_tol
            ):
                y = y - etas[i] * node.gradient(y)
                count += 1
            ends.append(y)
            taken.append(float(count))
        x = sum(ends) / len(nodes)
    return result
