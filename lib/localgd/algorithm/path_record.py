"""Record the losses and gradient norms that the local steps come by."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from localgd.algorithm.local_steps import square_norms
from localgd.engine.evaluator import Bound


class Start(NamedTuple):
    """What is known at x_n, where every path begins."""

    loss: Tensor  # (m,) f_i(x_n)
    grad_norm_sq: Tensor  # (m,) ‖∇f_i(x_n)‖²


class Path(NamedTuple):
    """What was recorded; `LocalPaths` is the same for the rule."""

    loss: Tensor  # (m, T) f_i(x^{i,t})
    grad_norm_sq: Tensor  # (m, T) ‖∇f_i(x^{i,t})‖²

    def cut(self, steps: Tensor) -> Path:
        """Return the path with NaN in place of the steps that a node did not take."""
        late = torch.arange(self.loss.shape[1], device=steps.device) >= steps[:, None]
        return Path(*(each.masked_fill(late, torch.nan) for each in self))


class PathRecord:
    """The paths of all nodes in the course of a round, chunk by chunk.

    `start`: what is known at x_n; `num_buffers`: the columns at the end of x that are carried.
    """

    def __init__(self, start: Start, num_buffers: int) -> None:
        self.start, self.num_buffers = start, num_buffers
        self._chunks: list[tuple[Tensor, list[Tensor], list[Tensor]]] = []

    def watch(self, bound: Bound) -> Bound:
        """Return `bound` for the local steps of this round, whose evaluations are recorded."""
        watched = _Watched(bound, self.num_buffers)
        self._chunks.append((bound.rows, watched.losses, watched.squares))
        return watched

    def path(self) -> Path:
        """Return what was recorded, the start first; NaN where a chunk was done before others."""
        longest = 1 + max(len(losses) for _, losses, _ in self._chunks)
        rows = [each.new_full((len(each), longest), torch.nan) for each in self.start]
        for row, known in zip(rows, self.start, strict=True):
            row[:, 0] = known
        for nodes, *columns in self._chunks:
            for row, column in zip(rows, columns, strict=True):
                if column:
                    row[nodes, 1 : 1 + len(column)] = torch.stack(column, 1)
        return Path(*rows)


class _Watched(Bound):
    """A bound chunk that keeps the losses and the squared gradient norms of its steps.

    It goes on with all of its nodes to the end.  On a GPU its evaluations are captured one by
    one, not in blocks, which hand out where they end and nothing on the way.
    """

    def __init__(self, bound: Bound, num_buffers: int) -> None:
        vars(self).update(vars(bound))
        self.chunk, self.captures = bound.chunk._replace(tensors=()), None
        self._bound = bound
        self.losses: list[Tensor] = []
        self.squares: list[Tensor] = []
        self._num_buffers = num_buffers

    def gradients(self, x: Tensor) -> Tensor:
        """∇f_i(x_i), shape (c, d)."""
        losses, gradients = self._bound.evaluate(x)
        self.losses.append(losses)
        self.squares.append(square_norms(gradients, self._num_buffers))
        return gradients
