"""The local steps of one chunk of nodes within a round."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from localgd.engine.cuda_graph import Captures
from localgd.engine.evaluator import Bound, Evaluator
from localgd.problem import Gradients

#: Local steps of a captured block: how often a GPU's host looks who is done.
BLOCK_STEPS = 16
#: How many local steps apart the nodes that are done are left behind.
SHED_STEPS = 64


class Position(NamedTuple):
    """The state of a chunk's nodes in a round; plain tensors, so that it can be saved."""

    x: Tensor  # (c, d)
    steps: Tensor  # (c,) int64, local steps taken
    above: Tensor  # (c,) bool, whether ‖∇f_i‖² was above the tolerance when last seen
    rows: Tensor  # (r,) int64, the nodes that still take part, by their place in the chunk


Where = Callable[[], Position]
Pause = Callable[[Where], None]


class Walk:
    """The way of a chunk's nodes through the local steps of a round.

    Node i takes T_i = `limits[i]` steps, or, with a `grad_tol`, as long as ‖∇f_i‖² is above
    it.  A node that is done keeps its parameters bit for bit while the others go on; once
    half of the nodes are done, the others go on without them where the chunk can be divided.

    `etas`: η_i, shape (c, 1); `limits`: T_i, shape (c,), on the host, where it is known who is
    done; `num_buffers`: how many columns at the end of x are carried along
    (`Problem.num_buffers`).
    """

    def __init__(
        self,
        evaluator: Evaluator,
        bound: Bound,
        etas: Tensor,
        limits: NDArray[np.int64],
        grad_tol: float | None,
        num_buffers: int,
    ) -> None:
        self.evaluator, self.bound, self.etas = evaluator, bound, etas
        # In the type of the norms it is compared with, so that ties fall the same way everywhere.
        self.grad_tol = None if grad_tol is None else etas.new_full((), grad_tol)
        self.num_buffers = num_buffers
        self.shortest, self.longest = int(limits.min()), int(limits.max())
        self.even = grad_tol is None and self.shortest == self.longest
        self._counts = limits
        self._done: int | None = None  # known from a start; else it is asked of the position
        if self.shortest == self.longest:  # made where it is needed: a copy would wait for the GPU
            self.limits = torch.full((len(limits),), self.longest, device=etas.device)
        else:
            self.limits = torch.tensor(limits, device=etas.device)

    def start(self, x: Tensor, gradients: Tensor) -> Position:
        """Take the first step from x, shape (c, d), where the gradients are known."""
        steps = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        rows = torch.arange(len(x), device=x.device)
        self._done = 1
        x, steps, above = step(
            x, steps, gradients, self.limits, self.etas, self.grad_tol, self.num_buffers
        )
        return Position(x, steps, above, rows)

    def go_on(self, at: Position, pause: Pause) -> Position:
        """Take the steps that remain and return where they end.

        `pause` is called between steps with a way to ask for a position from which `go_on`
        arrives at the same end, bit for bit.
        """
        if len(at.rows) < len(at.x):
            return self._without_the_done(at, pause)
        if self.bound.captures is not None:
            return self._in_blocks(at, pause, self.bound.captures)
        return self._evenly(at, pause) if self.even else self._unevenly(at, pause)

    def _evenly(self, at: Position, pause: Pause) -> Position:
        """As many steps for every node: nobody has to be asked."""
        x = at.x
        for done in range(int(at.steps.max()), self.longest):
            x = descend(x, self.bound.gradients(x), self.etas, self.num_buffers)
            pause(partial(self._even_position, at, x, done + 1))
        return self._even_position(at, x, self.longest)

    def _even_position(self, at: Position, x: Tensor, done: int) -> Position:
        return at._replace(x=x, steps=torch.full_like(at.steps, done))

    def _unevenly(self, at: Position, pause: Pause) -> Position:
        """Step by step, the host deciding who goes on."""
        done, shortest = int(at.steps.max()), self.shortest
        together = 0  # steps that all nodes have taken since `at.steps` was counted
        tol = self.grad_tol
        while tol is not None or done < self.longest:
            gradients = self.bound.gradients(at.x)
            norms = None if tol is None else square_norms(gradients, self.num_buffers)
            done += 1
            if done <= shortest and (norms is None or tol is None or not bool(norms.min() <= tol)):
                at = at._replace(x=descend(at.x, gradients, self.etas, self.num_buffers))
                together += 1
                pause(partial(_counted, at, together))
                continue
            at, together = _counted(at, together), 0
            active, above = goes_on(at.steps, self.limits, norms, tol)
            moving = int(active.sum())
            if norms is not None and not moving:
                return at._replace(above=above)
            moved = descend(at.x, gradients, self.etas, self.num_buffers)
            moved = torch.where(active[:, None], moved, at.x)
            at = Position(moved, at.steps + active, above, at.rows)
            if 2 * moving <= len(active) and self._may_shed(done):
                at = at._replace(rows=_padded(active))
                pause(partial(_counted, at, 0))
                return self._without_the_done(at, pause)
            pause(partial(_counted, at, 0))
        return _counted(at, together)

    def _in_blocks(self, at: Position, pause: Pause, captures: Captures) -> Position:
        """Block by block on a GPU, each of them captured; the host looks who is done between."""
        done = self._done or int(at.steps.max())
        while self.grad_tol is not None or done < self.longest:
            count = BLOCK_STEPS
            if self.grad_tol is None:
                count = min(count, self.longest - done)
            before = at.steps
            at = Position(*self._block(at, count, captures), at.rows)
            done += count
            if self.grad_tol is not None and not bool((at.steps - before == count).any()):
                return at
            pause(partial(_counted, at, 0))
        return at

    def _block(self, at: Position, count: int, captures: Captures) -> tuple[Tensor, ...]:
        """Take `count` steps, those of nodes that are done having no effect."""
        kind = "even" if self.even else "counted" if self.grad_tol is None else "threshold"
        function = partial(block, kind, count, self.bound.descent, self.num_buffers)
        tol = self.etas.new_zeros(()) if self.grad_tol is None else self.grad_tol
        arguments = (at.x, at.steps, self.limits, self.etas, tol)
        self.evaluator.work += count * self.bound.flops
        return captures((kind, count), function, arguments, self.bound.data)

    def _may_shed(self, done: int) -> bool:
        """Return whether to leave nodes behind now: compiling for fewer would cost more."""
        due = (done - 1) % SHED_STEPS == 0
        return due and self.bound.chunk.divisible and not self.evaluator.compiles

    def _without_the_done(self, at: Position, pause: Pause) -> Position:
        """Go on with the nodes in `at.rows` alone."""
        rows = at.rows
        few = Walk(
            self.evaluator,
            self.evaluator.bind(self.bound.chunk.take(rows)),
            self.etas[rows],
            self._counts[rows.cpu().numpy()],
            None if self.grad_tol is None else float(self.grad_tol),
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
        return merged(few.go_on(start, lambda where: pause(lambda: merged(where()))))


def block(
    kind: str,
    count: int,
    gradients: Gradients,
    num_buffers: int,
    x: Tensor,
    steps: Tensor,
    limits: Tensor,
    etas: Tensor,
    grad_tol: Tensor,
    *data: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Take `count` steps that read nothing but their arguments: what a CUDA graph may hold.

    `kind`: "even" where every node takes them all, "counted" where `limits` say which,
    "threshold" where `grad_tol` does too.
    """
    if kind == "even":
        for _ in range(count):
            x = descend(x, gradients(x, *data), etas, num_buffers)
        steps = steps + count
        return x, steps, steps < limits
    tol = grad_tol if kind == "threshold" else None
    above = steps < limits
    for _ in range(count):
        x, steps, above = step(x, steps, gradients(x, *data), limits, etas, tol, num_buffers)
    return x, steps, above


def step(
    x: Tensor,
    steps: Tensor,
    gradients: Tensor,
    limits: Tensor,
    etas: Tensor,
    grad_tol: Tensor | None,
    num_buffers: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """x_i − η_i ∇f_i(x_i) for the nodes that go on; the steps taken, and who is above."""
    norms = None if grad_tol is None else square_norms(gradients, num_buffers)
    active, above = goes_on(steps, limits, norms, grad_tol)
    moved = descend(x, gradients, etas, num_buffers)
    return torch.where(active[:, None], moved, x), steps + active, above


def goes_on(
    steps: Tensor, limits: Tensor, norms: Tensor | None, grad_tol: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return which nodes go on, (c,), and whose gradient is above the tolerance, (c,)."""
    active = steps < limits
    if norms is None or grad_tol is None:
        return active, active
    above = ~(norms <= grad_tol)  # a NaN is not within any tolerance
    return active & above, above


def descend(x: Tensor, gradients: Tensor, etas: Tensor, num_buffers: int) -> Tensor:
    """x_i − η_i ∇f_i(x_i); carried columns take their next values instead."""
    if not num_buffers:
        return torch.addcmul(x, etas, gradients, value=-1.0)
    split = x.shape[1] - num_buffers
    moved = torch.addcmul(x[:, :split], etas, gradients[:, :split], value=-1.0)
    return torch.cat([moved, gradients[:, split:]], 1)


def square_norms(gradients: Tensor, num_buffers: int) -> Tensor:
    """‖∇f_i‖² for every row, carried columns left out: (c, d) → (c,)."""
    own = gradients[:, : gradients.shape[1] - num_buffers] if num_buffers else gradients
    norms: Tensor = torch.linalg.vecdot(own, own)
    return norms


def _counted(at: Position, together: int) -> Position:
    """Return `at` with the steps that all nodes have taken together counted in."""
    return at._replace(steps=at.steps + together) if together else at


def _padded(moving: Tensor) -> Tensor:
    """Return the rows that move, in a number that halves again and again, filled up with others.

    Few numbers mean few shapes of chunk to record.
    """
    size, count = len(moving), int(moving.sum())
    while size > 1 and (size + 1) // 2 >= count:
        size = (size + 1) // 2
    order = torch.argsort((~moving).to(torch.int8), stable=True)
    return order[:size].sort().values
