"""Runs the first rounds of recorded runs again, on the CPU, and compares."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from localgd import Trace
from localgd.fetch import UnreachableError

from . import catalogue, records
from .errors import BookError
from .experiments import carry_out, training_data
from .project import Project
from .records import Record, Recorded

#: How far a replayed value may be from the recorded one, relative, in the first fifty local steps:
#: arithmetic in another order changes the seventh digit, and training makes that grow.
LOSS_TOLERANCE = 1e-3
RESIDUAL_TOLERANCE = 1e-2

#: The same for ResNet-18 after its start: there ReLU after BatchNorm on a few images makes a
#: millionth grow to a percent within four steps.
ROUGH_LOSS_TOLERANCE = 0.25
ROUGH_RESIDUAL_TOLERANCE = 10.0


@dataclass(frozen=True)
class Replay:
    """What the first rounds of one recorded run gave when they were run again."""

    name: str
    rounds: int
    start_error: float  # relative difference of f(x_0)
    loss_error: float  # largest relative difference of f(x_n)
    residual_error: float  # and of ‖∇f(x_n)‖²
    steps_agree: bool  # the step counts, within 10 % where a threshold decides
    loss_tolerance: float = LOSS_TOLERANCE
    residual_tolerance: float = RESIDUAL_TOLERANCE

    @property
    def agrees(self) -> bool:
        """Whether all of it is within the tolerances."""
        return (
            self.start_error <= LOSS_TOLERANCE
            and self.loss_error <= self.loss_tolerance
            and self.residual_error <= self.residual_tolerance
            and self.steps_agree
        )


def replay(recorded: Recorded, steps: int) -> Replay:
    """Run as many first rounds as cost ``steps`` local steps at most, and compare every row.

    Where the first round costs more, only the start is compared.  It runs on as many threads as
    the record was made with, for sums in the same order.  Raises what ``experiments.carry_out``
    raises.
    """
    spent = np.cumsum(recorded.local_steps.max(1))
    rounds = int(np.flatnonzero(spent <= steps)[-1])
    case = replace(recorded.case, rounds=rounds)
    before = torch.get_num_threads()
    torch.set_num_threads(recorded.made.threads)
    try:
        trace = carry_out(case, source="real", device="cpu", engine="eager")
    finally:
        torch.set_num_threads(before)
    return compare(recorded, trace)


def compare(recorded: Recorded, trace: Trace) -> Replay:
    """Compare the rows of ``trace`` with the recorded ones of the same rounds."""
    rows = slice(0, len(trace))
    there, here = recorded.local_steps[rows], trace.local_steps
    slack = 0.0 if recorded.met is None else 0.1
    rough = recorded.case.network == "resnet18"
    return Replay(
        name=recorded.case.name,
        rounds=len(trace) - 1,
        start_error=_relative(trace.loss[:1], recorded.loss[:1]),
        loss_error=_relative(trace.loss, recorded.loss[rows]),
        residual_error=_relative(trace.grad_norm_sq, recorded.grad_norm_sq[rows]),
        steps_agree=there.shape == here.shape and bool((abs(here - there) <= slack * there).all()),
        loss_tolerance=ROUGH_LOSS_TOLERANCE if rough else LOSS_TOLERANCE,
        residual_tolerance=ROUGH_RESIDUAL_TOLERANCE if rough else RESIDUAL_TOLERANCE,
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
                f"{found.loss_error:.1e} (at most {found.loss_tolerance:g}), residual by "
                f"{found.residual_error:.1e} (at most {found.residual_tolerance:g}), step counts "
                f"{'agree' if found.steps_agree else 'differ'}"
            )
    return problems


def _relative(here: np.ndarray, there: np.ndarray) -> float:
    if here.shape != there.shape:
        return float("inf")
    return float((abs(here - there) / np.maximum(abs(there), 1e-12)).max())
