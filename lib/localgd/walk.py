"""The local steps of one chunk of nodes within a round."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from localgd.capture import Capture
from localgd.engine import Bound, Evaluator

#: Local steps of a captured block: how often a GPU's host looks who is done.
BLOCK_STEPS = 16
#: How many local steps apart the nodes that are done are left behind.
SHED_STEPS = 64


class Position(NamedTuple):
    """Where the nodes of a chunk stand in a round; plain tensors, so that it can be saved."""

    x: Tensor  # (c, d)
    steps: Tensor  # (c,) int64, local steps taken
    above: Tensor  # (c,) bool, whether ‖∇f_i‖² was above the tolerance when last seen
    rows: Tensor  # (r,) int64, the nodes that still take part, by their place in the chunk


Pause = Callable[[Position], None]


class Walk:
    """The way of a chunk's nodes through the local steps of a round.

    Node i takes T_i = `limits[i]` steps, or, with a `grad_tol`, as long as ‖∇f_i‖² is above
    it.  A node that is done keeps its parameters bit for bit while the others go on; once
    half of the nodes are done, the others go on without them where the chunk can be divided.

    `etas`: η_i, shape (c, 1); `limits`: shape (c,) int64; `num_buffers`: how many columns at
    the end of x are carried along (`Problem.num_buffers`).
    """

    def __init__(
        self,
        evaluator: Evaluator,
        bound: Bound,
        etas: Tensor,
        limits: Tensor,
        grad_tol: float | None,
        num_buffers: int,
    ) -> None:
        self.evaluator, self.bound, self.etas, self.limits = evaluator, bound, etas, limits
        self.grad_tol, self.num_buffers = grad_tol, num_buffers
        self.longest = int(limits.max())
        self.even = grad_tol is None and int(limits.min()) == self.longest
        self._within = torch.zeros_like(limits, dtype=torch.bool)

    def start(self, x: Tensor, gradients: Tensor) -> Position:
        """Take the first step from x, shape (c, d), where the gradients are known."""
        steps = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        rows = torch.arange(len(x), device=x.device)
        x, steps, above = self._step(x, steps, self.limits, gradients)
        return Position(x, steps, above, rows)

    def go_on(self, at: Position, pause: Pause) -> Position:
        """Take the steps that remain and return where they end.

        `pause` is called between steps with a position from which `go_on` arrives at the same
        end, bit for bit.
        """
        if len(at.rows) < len(at.x):
            return self._without_the_done(at, pause)
        done, waiting = int(at.steps.max()), self.grad_tol is not None
        while waiting or done < self.longest:
            count = BLOCK_STEPS if self.evaluator.captures else 1
            if not waiting:
                count = min(count, self.longest - done)
            before = at.steps
            at = at._replace(**self._block(at, count))
            done += count
            moving = at.steps - before == count
            if waiting and not bool(moving.any()):
                break
            if self._may_shed(done) and 2 * int(moving.sum()) <= len(moving):
                at = at._replace(rows=_padded(moving))
                pause(at)
                return self._without_the_done(at, pause)
            pause(at)
        return at

    def _block(self, at: Position, count: int) -> dict[str, Tensor]:
        """Take `count` steps, those of nodes that are done having no effect."""
        arguments = (at.x, at.steps, self.limits)
        if self.evaluator.captures:
            key = (count, self.even, self.grad_tol)
            if key not in self.bound.captured:
                self.bound.captured[key] = Capture(
                    lambda x, steps, limits: self._steps(x, steps, limits, count), arguments
                )
            values = self.bound.captured[key](*arguments)
        else:
            values = self._steps(*arguments, count)
        return dict(zip(("x", "steps", "above"), values, strict=True))

    def _steps(
        self, x: Tensor, steps: Tensor, limits: Tensor, count: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        above = self._within
        for _ in range(count):
            x, steps, above = self._step(x, steps, limits, self.bound.gradients(x))
        return x, steps, above

    def _step(
        self, x: Tensor, steps: Tensor, limits: Tensor, gradients: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """x_i − η_i ∇f_i(x_i) for the nodes that go on."""
        moved = self._descend(x, gradients)
        if self.even:
            return moved, steps + 1, self._within
        active = above = steps < limits
        if self.grad_tol is not None:
            above = square_norms(gradients, self.num_buffers) > self.grad_tol
            active = active & above
        return torch.where(active[:, None], moved, x), steps + active, above

    def _descend(self, x: Tensor, gradients: Tensor) -> Tensor:
        """x_i − η_i ∇f_i(x_i); carried columns take their next values instead."""
        if not self.num_buffers:
            return torch.addcmul(x, self.etas, gradients, value=-1.0)
        split = x.shape[1] - self.num_buffers
        moved = torch.addcmul(x[:, :split], self.etas, gradients[:, :split], value=-1.0)
        return torch.cat([moved, gradients[:, split:]], 1)

    def _may_shed(self, done: int) -> bool:
        return (
            not self.even
            and self.bound.chunk.divisible
            and not self.evaluator.captures
            and not self.evaluator.compiles
            and (done - 1) % SHED_STEPS == 0
        )

    def _without_the_done(self, at: Position, pause: Pause) -> Position:
        """Go on with the nodes in `at.rows` alone."""
        rows = at.rows
        few = Walk(
            self.evaluator,
            self.evaluator.bind(self.bound.chunk.take(rows)),
            self.etas[rows],
            self.limits[rows],
            self.grad_tol,
            self.num_buffers,
        )

        def merged(part: Position) -> Position:
            return Position(
                at.x.index_copy(0, rows, part.x),
                at.steps.index_copy(0, rows, part.steps),
                at.above.index_copy(0, rows, part.above),
                rows[part.rows],
            )

        everyone = torch.arange(len(rows), device=rows.device)
        start = Position(at.x[rows], at.steps[rows], at.above[rows], everyone)
        return merged(few.go_on(start, lambda part: pause(merged(part))))


def square_norms(gradients: Tensor, num_buffers: int) -> Tensor:
    """‖∇f_i‖² for every row, carried columns left out: (c, d) → (c,)."""
    own = gradients[:, : gradients.shape[1] - num_buffers] if num_buffers else gradients
    return (own**2).sum(1)


def _padded(moving: Tensor) -> Tensor:
    """Return the rows that move, in a number that halves again and again, filled up with others.

    Few numbers mean few shapes of chunk to record.
    """
    size, count = len(moving), int(moving.sum())
    while size > 1 and (size + 1) // 2 >= count:
        size = (size + 1) // 2
    order = torch.argsort((~moving).to(torch.int8), stable=True)
    return order[:size].sort().values
