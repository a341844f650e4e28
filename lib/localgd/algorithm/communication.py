"""The communication of a round: what the nodes send, what comes of it, and its size in bytes.

Everything that is summed over nodes goes through `OneProcess`, and so does everything that is
decided from what all nodes know: nodes that live in several processes take another class with
the same methods.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Reply(NamedTuple):
    """The result of a round's message, for entries of x of which the last are buffers."""

    mean: Tensor  # (d,) (1/m) Σ x^{i,T_i}, buffers included
    mean_square_move: Tensor | None  # () (1/m) Σ ‖x^{i,T_i} − x_n‖², without the buffers
    bytes: int  # sent and received by all nodes together


class OneProcess:
    """All nodes in this process: a sum over nodes is a sum over rows."""

    def average(self, values: Tensor) -> Tensor:
        """(1/m) Σ v_i over the nodes, (m, …) → (…)."""
        return values.mean(0)

    def every_node(self, rows: Tensor) -> Tensor:
        """Return what all nodes have computed, (m, …), for the rows of this process."""
        return rows

    def slowest(self, seconds: tuple[float, ...]) -> tuple[float, ...]:
        """Return the times of the slowest process, the same in all."""
        return seconds

    def all_agree(self, verdict: bool) -> bool:
        """Return whether `verdict` is true of all nodes, in every process."""
        return verdict

    def exchange(self, x: Tensor, ends: Tensor, num_buffers: int, square_move: bool) -> Reply:
        """Average the nodes' `ends`, (m, d), and, if asked for, how far they have moved from x.

        Each node sends d numbers and receives d; the square move is one number more to send.
        """
        size = self.vectors(ends) * 2
        mean = self.average(ends)
        if not square_move:
            return Reply(mean, None, size)
        moves = (ends - x)[:, : len(x) - num_buffers]
        squares = torch.linalg.vecdot(moves, moves)
        return Reply(mean, self.average(squares), size + self.scalars(ends))

    def vectors(self, ends: Tensor) -> int:
        """Return the bytes of one vector a node: sent by all, or received by all."""
        return ends.numel() * ends.element_size()

    def scalars(self, ends: Tensor) -> int:
        """Return the bytes of one number a node."""
        return len(ends) * ends.element_size()
