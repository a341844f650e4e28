"""Nodes in several processes: what a caller says about them, and the error when one is lost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

Reduction = Literal["sum", "ordered"]
Record = Literal["gradient", "loss"]


@dataclass(frozen=True)
class Processes:
    """The processes that share a run, and how they talk; for `run(..., group=Processes(…))`.

    `group`: "world", the processes that `torchrun` has started, or a `torch.distributed` process
    group or `DeviceMesh` of one dimension that there is already.  Where `torchrun` is to restart
    processes, set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1: it may otherwise hand the addresses of
    the dead to the living.
    `reduction`: how the mean over the nodes is taken.  "sum" adds up the rows of each process and
    then the processes' sums, in messages of d numbers; it agrees with one process to rounding.
    "ordered" sends the rows of all nodes to all processes, which add them up in the order of the
    nodes as one process does: bit for bit the same where the evaluation of a node does not depend
    on how many are evaluated with it (step by step with `chunk_size=1`, say).
    `record`: "loss" leaves out the second vector of a round, the gradients at the new point;
    `Trace.grad_norm_sq` is then NaN, and `stop` cannot be a tolerance.
    `timeout_seconds`: how long a process waits for the others in one message, also for those that
    take longer for their nodes.
    Raises `ValueError` for another reduction or record and a timeout that is not positive and
    finite.
    """

    group: Any = "world"
    reduction: Reduction = "sum"
    record: Record = "gradient"
    timeout_seconds: float = 60.0

    def __post_init__(self) -> None:
        for name, kinds in (("reduction", Reduction), ("record", Record)):
            if getattr(self, name) not in get_args(kinds):
                raise ValueError(
                    f"{name}={getattr(self, name)!r} must be one of {', '.join(get_args(kinds))}"
                )
        if not (math.isfinite(self.timeout_seconds) and self.timeout_seconds > 0):
            raise ValueError(f"timeout_seconds={self.timeout_seconds} must be positive and finite")


class ProcessLostError(RuntimeError):
    """Another process of the group has ended, or has not answered in time."""
