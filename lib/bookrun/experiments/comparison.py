"""Runs the first rounds of recorded runs again, on the CPU, and compares."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from bookrun.experiments.case import Case, carry_out, network_problem
from bookrun.experiments.records import Recorded
from localgd import Trace, run

#: How far a replayed value may be from the recorded one, relative.
LOSS_TOLERANCE = 1e-3
RESIDUAL_TOLERANCE = 1e-2

#: Another machine sums in another order, and training makes the difference grow.  Rounds count as
#: long as a start changed by ``NUDGE`` moves their loss and residual no farther than this.
NUDGE = 1e-6
LOSS_MOVED = 3e-5
RESIDUAL_MOVED = 1e-3


@dataclass(frozen=True)
class Replay:
    """What the first rounds of one recorded run gave when they were run again."""

    name: str
    rounds: int  # that were run
    held: int  # of these, the first ones, that rounding does not reach
    loss_error: float  # largest relative difference of f(x_n), n ≤ held
    residual_error: float  # and of ‖∇f(x_n)‖²
    steps_agree: bool  # the step counts, within 10 % where a threshold decides

    @property
    def agrees(self) -> bool:
        """Whether all of it is within the tolerances."""
        return (
            self.loss_error <= LOSS_TOLERANCE
            and self.residual_error <= RESIDUAL_TOLERANCE
            and self.steps_agree
        )


def replay(recorded: Recorded, steps: int) -> Replay:
    """Run as many first rounds as cost ``steps`` local steps at most, and compare.

    Where the first round costs more, only the start is compared.  It runs on as many threads as
    the record was made with, for sums in the same order.  Raises what ``experiments.carry_out``
    raises.
    """
    case = replace(recorded.case, rounds=_rounds(recorded.local_steps, steps))
    before = torch.get_num_threads()
    torch.set_num_threads(recorded.made.threads)
    try:
        trace = carry_out(case, source="real", device="cpu", engine="eager")
        return compare(recorded, trace, steps)
    finally:
        torch.set_num_threads(before)


def compare(recorded: Recorded, trace: Trace, steps: int) -> Replay:
    """Compare the first rounds of ``trace``, of at most ``steps`` local steps, with the recorded.

    As long as rounding does not reach them: to find out, these rounds are run once more, from a
    start that differs by ``NUDGE``.
    """
    held = _steady(recorded.case, trace, _rounds(trace.local_steps, steps))
    rows = slice(0, held + 1)
    there, here = recorded.local_steps[rows], trace.local_steps[rows]
    slack = 0.0 if recorded.met is None else 0.1
    return Replay(
        name=recorded.case.name,
        rounds=len(trace) - 1,
        held=held,
        loss_error=_relative(trace.loss[rows], recorded.loss[rows]),
        residual_error=_relative(trace.grad_norm_sq[rows], recorded.grad_norm_sq[rows]),
        steps_agree=there.shape == here.shape and bool((abs(here - there) <= slack * there).all()),
    )


def shifted(case: Case, rounds: int) -> Trace:
    """The case's first rounds on the CPU, from a start that is larger by ``NUDGE``, relative."""
    posed = network_problem(case)
    start = posed.initial(torch.Generator()).numpy()
    return run(
        posed,
        start * start.dtype.type(1 + NUDGE),
        local_steps=case.rule,
        step_size=case.step_size,
        rounds=rounds,
        device="cpu",
        engine="eager",
    )


def _rounds(local_steps: np.ndarray, steps: int) -> int:
    """How many first rounds cost at most so many local steps, those of the slowest node."""
    return int(np.flatnonzero(np.cumsum(local_steps.max(1)) <= steps)[-1])


def _steady(case: Case, trace: Trace, rounds: int) -> int:
    """How many of these rounds stay what they are when the start changes a little."""
    if rounds == 0:
        return 0
    twin = shifted(case, rounds)
    rows = slice(0, rounds + 1)
    reached = (_apart(twin.loss, trace.loss[rows]) > LOSS_MOVED) | (
        _apart(twin.grad_norm_sq, trace.grad_norm_sq[rows]) > RESIDUAL_MOVED
    )
    return int(np.flatnonzero(np.append(reached[1:], True))[0])


def _relative(here: np.ndarray, there: np.ndarray) -> float:
    return float(_apart(here, there).max()) if here.shape == there.shape else float("inf")


def _apart(here: np.ndarray, there: np.ndarray) -> np.ndarray:
    return np.asarray(abs(here - there) / np.maximum(abs(there), 1e-12))
