"""The communication of a round: what the nodes send, what comes of it, and its size in bytes.

Everything that is summed over nodes goes through `OneProcess`, and so does everything that is
decided from what all nodes know: nodes that live in several processes take `SeveralProcesses`,
with the same methods.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from localgd.algorithm.processes import Processes

T = TypeVar("T")


class Told(NamedTuple):
    """The numbers that go with the ends of a local phase."""

    steps: NDArray[np.float64]  # (m,) local steps taken; inf for the exact optimum
    met: NDArray[np.bool_] | None  # (m,) whether the plan's tolerance was met
    unmoved: bool  # whether all ends are x_n still


class Reply(NamedTuple):
    """The result of a round's message, for entries of x of which the last are buffers."""

    mean: Tensor  # (d,) (1/m) Σ x^{i,T_i}, buffers included
    mean_square_move: Tensor | None  # () (1/m) Σ ‖x^{i,T_i} − x_n‖², without the buffers
    bytes: int  # sent and received by all nodes together, where each has a process of its own
    told: Told  # of all nodes


class Evaluation(NamedTuple):
    """The losses and gradients at a common x."""

    gradient: Tensor | None  # (d,) (1/m) Σ ∇f_i(x), where it was sent
    losses: Tensor  # (m,) f_i(x)
    norms: Tensor  # (m,) ‖∇f_i(x)‖²


class Times(NamedTuple):
    """The seconds that a process has spent on messages."""

    waiting: float  # for the slowest process, before anything could be sent
    communicating: float  # sending and receiving


class OneProcess:
    """All nodes in this process: a sum over nodes is a sum over rows."""

    #: Whether this process writes checkpoints, shows progress and prints.
    first = True
    #: Whether other processes hold nodes as well.
    shared = False
    #: The caller's options, where there are other processes.
    processes: Processes | None = None

    def __init__(self, num_nodes: int) -> None:
        self.num_nodes = num_nodes  # m, of all processes
        self.own = slice(0, num_nodes)  # those of this one

    def words(self) -> dict[str, str]:
        """Return how the processes work together, for the record; nothing where there is one."""
        return {}

    def agree(self, prepare: Callable[[], T], texts: Callable[[T], Mapping[str, str]]) -> T:
        """Return what `prepare` returns; where there are others, what `texts` says is the same."""
        return prepare()

    def from_first(self, read: Callable[[], bytes | None]) -> bytes | None:
        """Return what the first process reads, in every process."""
        return read()

    @property
    def interrupted(self) -> bool:
        """Return whether an interrupt was noted, of which the other processes are to be told."""
        return False

    def listening(self) -> AbstractContextManager[object]:
        """Take note of interrupts, where other processes have to be told of them."""
        return nullcontext()

    def exchange(
        self, x: Tensor, ends: Tensor, num_buffers: int, square_move: bool, told: Told
    ) -> Reply:
        """Average the nodes' `ends`, (m, d), and, if asked for, how far they have moved from x.

        Each node sends d numbers and receives d; the square move is one number more to send.
        """
        size = self.vectors(ends) * 2
        if not square_move:
            return Reply(ends.mean(0), None, size, told)
        moved = square_moves(x, ends, num_buffers).mean(0)
        return Reply(ends.mean(0), moved, size + self.scalars(ends), told)

    def evaluation(self, losses: Tensor, gradients: Tensor, norms: Tensor) -> Evaluation:
        """Average the gradients, (m, d), and tell all processes the losses and norms, (m,)."""
        return Evaluation(gradients.mean(0), losses, norms)

    def every_node(self, rows: Tensor) -> Tensor:
        """Return what all nodes have computed, (m, k), for the rows of this process."""
        return rows

    def decision(self, verdict: bool) -> bool:
        """Return the first process's `verdict`, in every process."""
        return verdict

    def times(self) -> Times | None:
        """Return the seconds spent on messages since the last call; None where there are none."""
        return None

    def traffic(self, size: int) -> int:
        """Return the bytes sent since the last call: `size`, where all nodes share a memory."""
        return size

    def vectors(self, ends: Tensor) -> int:
        """Return the bytes of one vector a node: sent by all, or received by all."""
        return ends.numel() * ends.element_size()

    def scalars(self, ends: Tensor) -> int:
        """Return the bytes of one number a node."""
        return len(ends) * ends.element_size()


def square_moves(x: Tensor, ends: Tensor, num_buffers: int) -> Tensor:
    """‖x^{i,T_i} − x_n‖², shape (m,), without the buffers at the end of x."""
    moves = (ends - x)[:, : len(x) - num_buffers]
    moved: Tensor = torch.linalg.vecdot(moves, moves)
    return moved
