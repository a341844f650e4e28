"""Compare a recorded evaluation with the function that was recorded, on every node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from localgd.problem import Problem

if TYPE_CHECKING:
    from localgd.engine.evaluator import Bound


def check_replays(problem: Problem, replays: Sequence[Bound], x: Tensor) -> None:
    """Raise `ValueError` naming the first node on which a recording is not what it records.

    A recording is made on one chunk at the start x, shape (d,), and holds whatever Python made
    of the values there.  Here it is replayed for every node at another point, beside the
    function itself, node by node.
    """
    for replay in replays:
        if not replay.chunk.traceable:
            continue
        moved = _moved(x, problem.num_buffers)
        for point in (moved, x):
            if _compare(problem, replay, point):
                break  # at x only where the function is not defined beside it


def _compare(problem: Problem, replay: Bound, x: Tensor) -> bool:
    """Return whether every node could be evaluated; raise `ValueError` where one does not agree."""
    chunk = replay.chunk
    expected = []
    for row in range(len(chunk.nodes)):
        one = chunk.take(torch.tensor([row], device=x.device))
        try:
            loss, gradient = one.evaluate(x[None].clone(), *one.tensors)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:
            return False
        expected.append(torch.cat([loss[:, None], gradient], dim=1)[0])
        if not bool(torch.isfinite(expected[-1]).all()):
            return False
    try:
        start = x.expand(len(chunk.nodes), -1).clone()
        losses, gradients = replay.function(start, *replay.data)
    except RuntimeError as error:
        raise ValueError(_worded(problem, int(chunk.nodes[0]), str(error))) from error
    for row, want in enumerate(expected):
        got = torch.cat([losses[row, None], gradients[row]])
        if not _agree(got, want, problem.num_buffers):
            said = f"loss {float(got[0]):.6g} in place of {float(want[0]):.6g}"
            raise ValueError(_worded(problem, int(chunk.nodes[row]), said))
    return True


def _agree(got: Tensor, want: Tensor, num_buffers: int) -> bool:
    """Return whether loss, gradient and buffers are equal to rounding, each by its own size.

    A kink may lie between the two.
    """
    tolerance = 1e-6 if want.dtype == torch.float64 else 2e-2
    sizes = [1, len(want) - 1 - num_buffers, num_buffers]
    for one, other in zip(torch.split(got, sizes), torch.split(want, sizes), strict=True):
        if not one.numel():
            continue
        size = float(torch.linalg.vector_norm(other))
        if not float(torch.linalg.vector_norm(one - other)) <= tolerance * (size + 1e-3):
            return False
    return True


def _moved(x: Tensor, num_buffers: int) -> Tensor:
    """Return a point near x, the same every time; its buffers stay as they are."""
    count = len(x) - num_buffers
    noise = torch.randn(count, generator=torch.Generator().manual_seed(0), dtype=x.dtype)
    moved = x.clone()
    moved[:count] += 0.05 * noise.to(x.device) * (x[:count].abs() + 0.05)
    return moved


def _worded(problem: Problem, node: int, what: str) -> str:
    name = type(getattr(problem, "module", problem)).__name__
    return (
        f"{name} cannot be recorded and replayed: node {node} gives something else than when it is "
        f"called ({what}). Its forward and its loss make numbers of tensors in Python, or keep "
        "state there"
    )
