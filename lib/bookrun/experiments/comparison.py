"""Run the beginning of a recorded run again, on the CPU, and compare.

A replay compares the rounds that cost so many local steps at most.  Where the first round alone
costs more, it compares within that round: the run of the same start in the record whose only or
first round is so many steps long has the same beginning.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from bookrun.experiments.case import Case, carry_out, network_problem
from bookrun.experiments.records import Record, Recorded
from bookrun.experiments.replays import Replay
from localgd import Trace, run
from localgd.datasets.dataset import Choice

#: Another machine sums in another order, and training makes the difference grow.  Rounds count as
#: long as a start changed by ``NUDGE`` moves their loss and residual no farther than this.
NUDGE = 1e-6
LOSS_MOVED = 3e-5
RESIDUAL_MOVED = 1e-3


def replay(record: Record, recorded: Recorded, steps: int, source: Choice = "real") -> Replay:
    """Run the first ``steps`` local steps of a run again, at most, and compare.

    It runs on as many threads as the record was made with, for sums in the same order.  Raises
    what ``experiments.carry_out`` raises.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(min(before, recorded.made.threads))
    try:
        rounds = _rounds(recorded.local_steps, steps)
        if rounds:
            case = replace(recorded.case, rounds=rounds)
            return compare(recorded, carry_out(case, source=source, device="cpu", engine="eager"))
        return _within(record, recorded, steps, source)
    finally:
        torch.set_num_threads(before)


def compare(recorded: Recorded, trace: Trace) -> Replay:
    """Compare the rounds of ``trace`` with the recorded ones, as far as rounding does not reach.

    To find out how far that is, these rounds are run once more, from a start changed by
    ``NUDGE``.
    """
    held = _steady(trace, shifted(recorded.case, len(trace) - 1)) if len(trace) > 1 else 0
    rows = slice(0, held + 1)
    there, here = recorded.local_steps[rows], trace.local_steps[rows]
    slack = 0.0 if recorded.met is None else 0.1
    return Replay(
        name=recorded.case.name,
        steps=int(here.max(1).sum()),
        rounds=held,
        loss_error=_relative(trace.loss[rows], recorded.loss[rows]),
        residual_error=_relative(trace.grad_norm_sq[rows], recorded.grad_norm_sq[rows]),
        steps_agree=there.shape == here.shape and bool((abs(here - there) <= slack * there).all()),
    )


def _within(record: Record, recorded: Recorded, steps: int, source: Choice) -> Replay:
    """Compare the first steps of the first round: those that other runs of the record end with.

    The rule is cut to as many steps, and its run compared with the recorded one of T = so many.
    """
    for other in _beginnings(record, recorded, steps):
        T = other.case.local_steps
        assert T is not None
        case = replace(recorded.case, rounds=1)
        cut = "local_steps" if case.grad_tol is None else "max_steps"
        case = replace(case, **{cut: T})  # type: ignore[arg-type]
        here = carry_out(case, source=source, device="cpu", engine="eager")
        if _steady(here, shifted(case, 1)) == 0:
            continue
        return Replay(
            name=recorded.case.name,
            steps=T,
            rounds=0,
            loss_error=_relative(here.loss, other.loss[:2]),
            residual_error=_relative(here.grad_norm_sq, other.grad_norm_sq[:2]),
            steps_agree=bool((here.local_steps[1] == T).all()),
        )
    return Replay(recorded.case.name, 0, 0, 0.0, 0.0, True)


def _beginnings(record: Record, recorded: Recorded, steps: int) -> list[Recorded]:
    """Return the runs that are the beginning of this one, those of the most steps first."""
    shortest = min(float(steps), recorded.local_steps[1].min())
    found = [
        other
        for other in record.cases
        if other.case.local_steps
        and other.case.local_steps <= shortest
        and replace(other.case, **_rule(recorded.case)) == recorded.case
    ]
    return sorted(found, key=lambda other: -(other.case.local_steps or 0))


def _rule(case: Case) -> dict[str, Any]:
    names = ("local_steps", "grad_tol", "max_steps", "rounds")
    return {name: getattr(case, name) for name in names}


def shifted(case: Case, rounds: int) -> Trace:
    """Run the case's first rounds on the CPU, from a start larger by ``NUDGE``."""
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
    """Return how many first rounds cost at most so many local steps, those of the slowest node."""
    return int(np.flatnonzero(np.cumsum(local_steps.max(1)) <= steps)[-1])


def _steady(trace: Trace, twin: Trace) -> int:
    """Return how many first rounds stay what they are when the start changes a little."""
    reached = (_apart(twin.loss, trace.loss) > LOSS_MOVED) | (
        _apart(twin.grad_norm_sq, trace.grad_norm_sq) > RESIDUAL_MOVED
    )
    return int(np.flatnonzero(np.append(reached[1:], True))[0])


def _relative(here: np.ndarray, there: np.ndarray) -> float:
    return float(_apart(here, there).max()) if here.shape == there.shape else float("inf")


def _apart(here: np.ndarray, there: np.ndarray) -> np.ndarray:
    return np.asarray(abs(here - there) / np.maximum(abs(there), 1e-12))
