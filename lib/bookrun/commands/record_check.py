"""``make record-check``: run the beginnings of recorded runs again, compare, and keep the outcome.

``recorded/FIGURE.check.json`` says what was compared, by what code and where; captions read it.
"""

import argparse
from datetime import UTC, datetime

from bookrun.errors import BookError
from bookrun.experiments import figures, records, replays
from bookrun.experiments.case import training_data
from bookrun.experiments.comparison import replay
from bookrun.experiments.machine import processor
from bookrun.experiments.records import Record
from bookrun.experiments.replays import LOSS_TOLERANCE, RESIDUAL_TOLERANCE, Replay, Replays
from bookrun.project import Project
from localgd.datasets.download import UnreachableError


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the figures and how far to go in each run."""
    parser.add_argument("figures", metavar="FIGURE", nargs="*", help="all unless named")
    parser.add_argument("--steps", type=int, default=50, help="local steps a run, 50 by default")


def run(project: Project, options: argparse.Namespace) -> int:
    """Replay the records.  Raises ``BookError`` where one does not hold."""
    problems = check(project, options.figures, options.steps)
    if problems:
        raise BookError("\n".join(["", "records that do not hold:", *problems]))
    return 0


def check(project: Project, names: list[str], steps: int) -> list[str]:
    """Replay the records of these figures, or of all; print, and return what is wrong.

    What was compared is written beside each record. Raises ``BookError`` for a record that is
    missing or broken and for data that cannot be had.
    """
    problems: list[str] = []
    for name in names or [each for each in figures.names() if project.recorded(each).is_file()]:
        path = project.recorded(name)
        record = records.load(path)
        print(f"{name}, scale {record.scale}. {record.provenance()}")
        problems += [f"{name}: {problem}" for problem in _settings(record)]
        code = records.code_digest()
        try:
            found = _replays(record, steps)
        except (UnreachableError, ValueError, ArithmeticError) as error:
            raise BookError(f"{name}: {error}") from None
        problems += [f"{name}: {_difference(each)}" for each in found if not each.agrees]
        day = datetime.now(UTC).date().isoformat()
        replays.save(Replays(record.digest, code, day, processor(), tuple(found)), path)
    return problems


def _settings(record: Record) -> list[str]:
    """Say where the record is not of what is asked for today."""
    asked = {case.name: case for case in figures.cases(record.figure, record.scale)}
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


def _replays(record: Record, steps: int) -> list[Replay]:
    """Replay every run of the record and print a line for each."""
    data = training_data(record.cases[0].case, "real").source.sha256
    if data != record.data.sha256:
        raise ValueError(f"it was made of other data: {record.data.sha256}, not {data}")
    found = []
    for each in record.cases:
        ended = replay(record, each, steps)
        print(
            f"  {ended.name}: {ended.steps} local steps compared, {ended.rounds} rounds; "
            f"loss within {ended.loss_error:.1e}, residual within {ended.residual_error:.1e}: "
            f"{'agrees' if ended.agrees else 'DIFFERS'}",
            flush=True,
        )
        found.append(ended)
    return found


def _difference(found: Replay) -> str:
    if found.steps == 0:
        return f"{found.name}: nothing was compared: rounding reaches its first local steps"
    return (
        f"{found.name} is not what the code gives now: loss off by {found.loss_error:.1e} (at "
        f"most {LOSS_TOLERANCE:g}), residual by {found.residual_error:.1e} (at most "
        f"{RESIDUAL_TOLERANCE:g}), step counts {'agree' if found.steps_agree else 'differ'}"
    )
