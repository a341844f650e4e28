"""Runs the first rounds of recorded runs again, on the CPU, and compares."""

from dataclasses import dataclass, replace

import numpy as np

from localgd import Trace
from localgd.fetch import UnreachableError

from . import catalogue, records
from .errors import BookError
from .experiments import carry_out, training_data
from .project import Project
from .records import Record, Recorded

#: How far a replayed value may be from the recorded one, relative: float32 arithmetic in another
#: order, on another device or with another version, and some rounds for the difference to grow.
LOSS_TOLERANCE = 1e-3
RESIDUAL_TOLERANCE = 1e-2


@dataclass(frozen=True)
class Replay:
    """What the first rounds of one recorded run gave when they were run again."""

    name: str
    rounds: int
    loss_error: float  # largest relative difference of f(x_n)
    residual_error: float  # and of ‖∇f(x_n)‖²
    steps_agree: bool  # the step counts, within 5 % where a threshold decides

    @property
    def agrees(self) -> bool:
        """Whether all of it is within the tolerances."""
        return (
            self.loss_error <= LOSS_TOLERANCE
            and self.residual_error <= RESIDUAL_TOLERANCE
            and self.steps_agree
        )


def replay(recorded: Recorded, steps: int) -> Replay:
    """Run as many first rounds as cost ``steps`` local steps at most, and compare every row.

    Where the first round costs more, only the start is compared.  Raises what
    ``experiments.carry_out`` raises.
    """
    spent = np.cumsum(recorded.local_steps.max(1))
    rounds = int(np.flatnonzero(spent <= steps)[-1])
    case = replace(recorded.case, rounds=rounds)
    trace = carry_out(case, source="real", device="cpu", engine="eager")
    return compare(recorded, trace)


def compare(recorded: Recorded, trace: Trace) -> Replay:
    """Compare the rows of ``trace`` with the recorded ones of the same rounds."""
    rows = slice(0, len(trace))
    there, here = recorded.local_steps[rows], trace.local_steps
    slack = 0.0 if recorded.met is None else 0.05
    return Replay(
        name=recorded.case.name,
        rounds=len(trace) - 1,
        loss_error=_relative(trace.loss, recorded.loss[rows]),
        residual_error=_relative(trace.grad_norm_sq, recorded.grad_norm_sq[rows]),
        steps_agree=there.shape == here.shape and bool((abs(here - there) <= slack * there).all()),
    )


def check(project: Project, figures: list[str], steps: int) -> list[str]:
    """Replay the records of these figures, or of all there are; print, and return what is wrong.

    Raises ``BookError`` for a record that is missing or broken and for data that cannot be had.
    """
    problems: list[str] = []
    for name in figures or [each for each in catalogue.names() if project.recorded(each).is_file()]:
        record = records.load(project.recorded(name))
        print(f"{name}, scale {record.scale}. {record.provenance()}")
        problems += [f"{name}: {problem}" for problem in _settings(record)]
        try:
            problems += _replays(record, steps)
        except (UnreachableError, ValueError, ArithmeticError) as error:
            raise BookError(f"{name}: {error}") from None
    return problems


def _settings(record: Record) -> list[str]:
    """Where the record is not of what the catalogue asks for today."""
    asked = {case.name: case for case in catalogue.cases(record.figure, record.scale)}
    there = {each.case.name: each.case for each in record.cases}
    return [
        *(f"{name} is not in the record" for name in asked if name not in there),
        *(f"{name} is recorded, and not asked for" for name in there if name not in asked),
        *(
            f"{name} is recorded with other settings than are asked for today"
            for name in there
            if name in asked and there[name] != asked[name]
        ),
    ]


def _replays(record: Record, steps: int) -> list[str]:
    data = training_data(record.cases[0].case, "real").source.sha256
    if data != record.data.sha256:
        return [f"{record.figure}: it was made of other data: {record.data.sha256}, not {data}"]
    problems = []
    for each in record.cases:
        found = replay(each, steps)
        mark = "agrees" if found.agrees else "DIFFERS"
        rounds = f"{found.rounds} round{'s' if found.rounds != 1 else ''}"
        print(
            f"  {found.name}: {rounds}; loss within {found.loss_error:.1e}, "
            f"residual within {found.residual_error:.1e}: {mark}",
            flush=True,
        )
        if not found.agrees:
            problems.append(
                f"{record.figure}: {found.name} is not what the code gives now: loss off by "
                f"{found.loss_error:.1e} (at most {LOSS_TOLERANCE:g}), residual by "
                f"{found.residual_error:.1e} (at most {RESIDUAL_TOLERANCE:g}), step counts "
                f"{'agree' if found.steps_agree else 'differ'}"
            )
    return problems


def _relative(here: np.ndarray, there: np.ndarray) -> float:
    if here.shape != there.shape:
        return float("inf")
    return float((abs(here - there) / np.maximum(abs(there), 1e-12)).max())
