"""The local steps of one chunk of nodes within a round."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import NamedTuple, TypeVar

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
    """The state of a chunk's nodes in a round, from which their steps can be gone on with."""

    x: Tensor  # (c, d)
    steps: Tensor  # (c,) int64, local steps taken, without those in `together`
    above: Tensor  # (c,) bool, whether ‖∇f_i‖² was above the tolerance when last seen
    rows: Tensor  # (r,) int64, the nodes that still take part, by their place in the chunk
    together: int = 0  # steps that all nodes have taken besides
    few: Position | None = None  # where the nodes in `rows` stand, once they go on without others

    def whole(self) -> Position:
        """Return the same place with all steps counted and `few` put in: four plain tensors."""
        if self.few is not None:
            part = self.few.whole()
            return Position(
                self.x.index_copy(0, self.rows, part.x),
                self.steps.index_copy(0, self.rows, part.steps),
                self.above.index_copy(0, self.rows, part.above),
                self.rows[part.rows],
            )
        steps = self.steps + self.together if self.together else self.steps
        return Position(self.x, steps, self.above, self.rows)


class LocalSteps:
    """The steps of a chunk's nodes in one round.

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
        if self.shortest == self.longest:  # made where it is needed: a copy would wait for the GPU
            self.limits = torch.full((len(limits),), self.longest, device=etas.device)
        else:
            self.limits = torch.tensor(limits, device=etas.device)

    def first(self, x: Tensor, gradients: Tensor) -> Position:
        """Take the first step from x, shape (c, d), where the gradients are known."""
        steps = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        rows = torch.arange(len(x), device=x.device)
        x, steps, above = step(
            x, steps, gradients, self.limits, self.etas, self.grad_tol, self.num_buffers
        )
        return Position(x, steps, above, rows)

    def others(self, at: Position, done: int | None = None) -> Positions:
        """Take the steps that remain from `at`, which is `whole`, and return where they end.

        Every position that comes between is one from which `others` arrives at the same end,
        bit for bit.  `done`: the most steps that a node has taken, where it is known.
        """
        if len(at.rows) < len(at.x):
            return (yield from self._without_the_done(at))
        if done is None:
            done = int(at.steps.max())
        if self.bound.captures is not None:
            return (yield from self._in_blocks(at, done, self.bound.captures))
        at, gradients = yield from self._together(at, done)
        if self.even:
            return at.whole()
        at = yield from self._until_few(at.whole(), done + at.together, gradients)
        if len(at.rows) < len(at.x):
            return (yield from self._without_the_done(at))
        return at

    def _together(
        self, at: Position, done: int
    ) -> Generator[Position, None, tuple[Position, Tensor | None]]:
        """Go on while nobody can be done; return the gradients where somebody may be as well."""
        for together in range(1, self.shortest - done + 1):
            gradients = self.bound.gradients(at.x)
            if self.grad_tol is not None:
                norms = square_norms(gradients, self.num_buffers)
                if bool(norms.min() <= self.grad_tol):
                    return at, gradients
            moved = descend(at.x, gradients, self.etas, self.num_buffers)
            at = at._replace(x=moved, together=together)
            yield at
        return at, None

    def _until_few(self, at: Position, done: int, gradients: Tensor | None) -> Positions:
        """Go on step by step, the host deciding who moves, until half of the nodes are done.

        `gradients`: those at `at`, where they are known.
        """
        tol = self.grad_tol
        while tol is not None or done < self.longest:
            if gradients is None:
                gradients = self.bound.gradients(at.x)
            norms = None if tol is None else square_norms(gradients, self.num_buffers)
            active, above = goes_on(at.steps, self.limits, norms, tol)
            moving = int(active.sum())
            if norms is not None and not moving:
                return at._replace(above=above)
            moved = descend(at.x, gradients, self.etas, self.num_buffers)
            moved = torch.where(active[:, None], moved, at.x)
            at, gradients = Position(moved, at.steps + active, above, at.rows), None
            done += 1
            few = 2 * moving <= len(active) and self._may_shed(done)
            if few:
                at = at._replace(rows=_padded(active))
            yield at
            if few:
                return at
        return at

    def _without_the_done(self, at: Position) -> Positions:
        """Go on with the nodes in `at.rows` alone."""
        rows = at.rows
        few = LocalSteps(
            self.evaluator,
            self.evaluator.bind(self.bound.chunk.take(rows)),
            self.etas[rows],
            self._counts[rows.cpu().numpy()],
            None if self.grad_tol is None else float(self.grad_tol),
            self.num_buffers,
        )
        everyone = torch.arange(len(rows), device=rows.device)
        part = Position(at.x[rows], at.steps[rows], at.above[rows], everyone)
        end = yield from mapped(lambda place: at._replace(few=place), few.others(part))
        return at._replace(few=end).whole()

    def _may_shed(self, done: int) -> bool:
        """Return whether nodes may be left behind now: compiling for fewer would cost more."""
        due = (done - 1) % SHED_STEPS == 0
        return due and self.bound.chunk.divisible and not self.evaluator.compiles

    def _in_blocks(self, at: Position, done: int, captures: Captures) -> Positions:
        """Block by block on a GPU, each of them captured; the host looks who is done between."""
        while self.grad_tol is not None or done < self.longest:
            count = BLOCK_STEPS
            if self.grad_tol is None:
                count = min(count, self.longest - done)
            before = at.steps
            x, steps, above = self._block(at, count, captures)
            at = Position(x, steps, above, at.rows)
            done += count
            if self.grad_tol is not None and not bool((at.steps - before == count).any()):
                return at
            yield at
        return at

    def _block(self, at: Position, count: int, captures: Captures) -> tuple[Tensor, ...]:
        """Take `count` steps, those of nodes that are done having no effect."""
        kind = "even" if self.even else "counted" if self.grad_tol is None else "threshold"
        function = partial(block, kind, count, self.bound.descent, self.num_buffers)
        tol = self.etas.new_zeros(()) if self.grad_tol is None else self.grad_tol
        arguments = (at.x, at.steps, self.limits, self.etas, tol)
        self.evaluator.work += count * self.bound.flops
        return captures((kind, count), function, arguments, self.bound.data)


#: Steps of nodes, one position after the other, and where they end.
Positions = Generator[Position, None, Position]


Place = TypeVar("Place")
Mapped = TypeVar("Mapped")
End = TypeVar("End")


def mapped(
    function: Callable[[Place], Mapped], places: Generator[Place, None, End]
) -> Generator[Mapped, None, End]:
    """Yield function(place) for all places, and return what they end in."""
    while True:
        try:
            place = next(places)
        except StopIteration as stopped:
            end: End = stopped.value
            return end
        yield function(place)


def end_of(places: Generator[object, None, End]) -> End:
    """Return what some places end in."""
    while True:
        try:
            next(places)
        except StopIteration as stopped:
            end: End = stopped.value
            return end


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


def _padded(moving: Tensor) -> Tensor:
    """Return the rows that move, in a number that halves again and again, filled up with others.

    Few numbers mean few shapes of chunk to record.
    """
    size, count = len(moving), int(moving.sum())
    while size > 1 and (size + 1) // 2 >= count:
        size = (size + 1) // 2
    order = torch.argsort((~moving).to(torch.int8), stable=True)
    return order[:size].sort().values
