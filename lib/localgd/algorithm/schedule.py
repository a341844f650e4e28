"""Replay the numbers of local steps that another run has taken."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from localgd.algorithm.rules import Plan, RoundInfo, Rule


class ScheduledSteps(Rule):
    """T_i = steps[n − 1, i] in round n: the decisions of a run, carried out again.

    `steps`: (rounds,) for all nodes or (rounds, m), whole numbers ≥ 1, as in
    `trace.local_steps[1:]`.  Raises `ValueError` for others, for another number of nodes, and
    in the first round that the schedule does not reach.
    """

    def __init__(self, steps: ArrayLike) -> None:
        values = np.asarray(steps, float)
        if values.ndim not in (1, 2) or values.size == 0:
            raise ValueError(f"steps has shape {values.shape}, expected (rounds,) or (rounds, m)")
        bad = values[~((values >= 1) & (values == np.floor(values)) & (values < 2.0**63))]
        if bad.size:
            raise ValueError(f"steps holds {bad[0]:g}: expected whole numbers ≥ 1 and below 2⁶³")
        self.steps = values.astype(np.int64)

    def check(self, num_nodes: int) -> None:
        """Raise `ValueError` where the schedule is for another number of nodes."""
        if self.steps.ndim == 2 and self.steps.shape[1] != num_nodes:
            raise ValueError(f"steps is for {self.steps.shape[1]} nodes, and there are {num_nodes}")

    def plan(self, info: RoundInfo, num_nodes: int) -> Plan:
        """Return the steps of this round."""
        if info.round > len(self.steps):
            raise ValueError(f"steps holds {len(self.steps)} rounds, and this is {info.round}")
        return Plan(np.broadcast_to(self.steps[info.round - 1], (num_nodes,)))

    def in_common(self) -> str:
        """Return the schedule, or its length where every node has its own."""
        if self.steps.ndim == 2:
            return f"ScheduledSteps of {len(self.steps)} rounds"
        return repr(self)
