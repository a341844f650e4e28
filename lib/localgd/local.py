"""The local phase of a round: every node takes its steps, all nodes at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from localgd.problem import Problem
from localgd.rules import Plan


class LocalPhase(NamedTuple):
    """Where the nodes ended, and how they got there."""

    x: Tensor  # (m, d)
    steps: NDArray[np.float64]  # (m,) steps taken; inf for the exact optimum
    met: NDArray[np.bool_] | None  # (m,) whether the plan's tolerance was met


Leap = Callable[[Tensor, Tensor], Tensor]


def local_phase(
    problem: Problem,
    x: Tensor,
    gradients: Tensor,
    etas: Tensor,
    plan: Plan,
    leap: Leap | None = None,
) -> LocalPhase:
    """x_i ← x_i − η_i ∇f_i(x_i), as often as `plan` says for node i.

    `x`: the common start x_n, shape (d,); `gradients`: ∇f_i(x_n), shape (m, d), known
    already and good for the first step; `etas`: η_i, shape (m, 1); `leap`: the closed form of
    T_i steps, where there is one.  A node that is done keeps its parameters bit for bit while
    the others go on.
    """
    start = x.expand(problem.num_nodes, -1)
    if plan.max_steps is None:
        project = problem.projection()
        assert project is not None  # `run` has refused such a problem
        return LocalPhase(project(start), np.full(problem.num_nodes, np.inf), None)
    if plan.grad_tol is None:
        if leap is not None and plan.max_steps.max() > 1:
            moved = leap(start, torch.tensor(plan.max_steps, device=x.device))
        else:
            moved = _fixed_steps(problem, start, gradients, etas, plan.max_steps)
        return LocalPhase(moved, plan.max_steps.astype(float), None)
    return _until_stationary(problem, start, gradients, etas, plan.max_steps, plan.grad_tol)


def _fixed_steps(
    problem: Problem, x: Tensor, gradients: Tensor, etas: Tensor, counts: NDArray[np.int64]
) -> Tensor:
    """T_i steps at node i."""
    shortest, longest = int(counts.min()), int(counts.max())
    for _ in range(shortest - 1):
        x = x - etas * gradients
        gradients = problem.gradients(x)
    x = x - etas * gradients
    remaining = torch.tensor(counts, device=x.device)[:, None]
    for step in range(shortest, longest):
        x = torch.where(step < remaining, x - etas * problem.gradients(x), x)
    return x


def _until_stationary(
    problem: Problem,
    x: Tensor,
    gradients: Tensor,
    etas: Tensor,
    limits: NDArray[np.int64],
    grad_tol: float,
) -> LocalPhase:
    """Steps at node i while ‖∇f_i(x_i)‖² > `grad_tol`, at most `limits[i]` of them."""
    limit = torch.tensor(limits, device=x.device)
    steps = torch.zeros_like(limit)
    while True:
        above = (gradients**2).sum(1) > grad_tol
        active = above & (steps < limit)
        if not bool(active.any()):
            return LocalPhase(x, steps.cpu().numpy().astype(float), (~above).cpu().numpy())
        x = torch.where(active[:, None], x - etas * gradients, x)
        steps += active
        gradients = problem.gradients(x)
