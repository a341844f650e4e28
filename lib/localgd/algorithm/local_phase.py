"""The local phase of a round: every node takes its steps, chunk after chunk."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from localgd.algorithm.local_steps import LocalSteps, Position, end_of, mapped
from localgd.algorithm.path_record import Path, PathRecord, Start
from localgd.algorithm.rules import Plan
from localgd.engine.evaluator import Bound, Evaluator
from localgd.problem import ClosedForm, ClosedPaths, Problem


class LocalPhase(NamedTuple):
    """The nodes' ends, and how they got there."""

    x: Tensor  # (m, d)
    steps: NDArray[np.float64]  # (m,) steps taken; inf for the exact optimum
    met: NDArray[np.bool_] | None  # (m,) whether the plan's tolerance was met
    path: Path | None = None  # where it was asked for


class Within(NamedTuple):
    """A place within a local phase from which it can be taken up again."""

    ends: Position  # of the chunks that are done, (m, …); the other rows mean nothing
    chunk: int  # the chunk that is on its way
    at: Position | None  # where its nodes are; None where it has not begun


def local_phase(
    problem: Problem,
    evaluator: Evaluator,
    bound: Sequence[Bound],
    x: Tensor,
    gradients: Tensor,
    etas: Tensor,
    plan: Plan,
    leap: ClosedForm | None = None,
    *,
    trail: ClosedPaths | None = None,
    record: Start | None = None,
    within: Within | None = None,
) -> Generator[Within, None, LocalPhase]:
    """x_i ← x_i − η_i ∇f_i(x_i), as often as `plan` says for node i.

    `x`: the common start x_n, shape (d,); `gradients`: ∇f_i(x_n), shape (m, d), known
    already and good for the first step; `etas`: η_i, shape (m, 1); `leap`: the closed form of
    T_i steps, where there is one.  Every place that comes between steps is one from which a
    call that is given it as `within` arrives at the same end, bit for bit.  `record`: what is
    known at x_n, where the losses and gradient norms along the steps are to be recorded; `trail`:
    their closed form, where there is one.  Of a phase that records no places come.
    """
    m = problem.num_nodes
    start = x.expand(m, -1)
    if plan.max_steps is None:
        project = problem.projection()
        if project is None:
            raise ValueError(
                f"the rule asks for the exact optimum (Plan.max_steps is None), and "
                f"{type(problem).__name__} has no projection"
            )
        return LocalPhase(project(start), np.full(m, np.inf), None)
    counts = plan.max_steps
    closed = plan.grad_tol is None and counts.max() > 1 and (record is None or trail is not None)
    if leap is not None and closed:
        limits = torch.tensor(counts, device=x.device)
        path = None
        if record is not None and trail is not None:
            path = Path(*trail(start, record.loss, gradients, int(counts.max()))).cut(limits)
        return LocalPhase(leap(start, gradients, limits), counts.astype(float), None, path)
    recorded = None if record is None else PathRecord(record, problem.num_buffers)
    ends = within.ends if within else _nowhere(start)
    for number in range(within.chunk if within else 0, len(bound)):
        nodes = bound[number].rows
        local = LocalSteps(
            evaluator,
            bound[number] if recorded is None else recorded.watch(bound[number]),
            etas[nodes],
            counts[bound[number].nodes],
            plan.grad_tol,
            problem.num_buffers,
        )
        if within and within.chunk == number and within.at:
            going = local.others(within.at)
        else:
            going = local.others(local.first(start[nodes], gradients[nodes]), 1)
        if recorded:
            at = end_of(going)
        else:
            at = yield from mapped(partial(Within, ends, number), going)
        ends = _put(ends, nodes, at) if len(bound) > 1 else at
        if number + 1 < len(bound) and not recorded:
            yield Within(ends, number + 1, None)
    path = None if recorded is None else recorded.path().cut(ends.steps)
    if plan.grad_tol is None:  # known without asking a GPU
        return LocalPhase(ends.x, counts.astype(float), None, path)
    steps, met = ends.steps.cpu().numpy().astype(float), (~ends.above).cpu().numpy()
    return LocalPhase(ends.x, steps, met, path)


def _nowhere(like: Tensor) -> Position:
    m = len(like)
    steps = torch.zeros(m, dtype=torch.int64, device=like.device)
    return Position(torch.empty_like(like), steps, steps > 0, steps)


def _put(ends: Position, nodes: Tensor, at: Position) -> Position:
    """Fill in the rows of a chunk that is done, in place: each is written once."""
    ends.x[nodes], ends.steps[nodes], ends.above[nodes] = at.x, at.steps, at.above
    return ends
