"""``make record-check``: run the beginnings of recorded runs again and compare."""

from bookrun.errors import BookError
from bookrun.experiments import records
from bookrun.experiments.case import training_data
from bookrun.experiments.comparison import LOSS_TOLERANCE, RESIDUAL_TOLERANCE, replay
from bookrun.experiments.figures import cases, names
from bookrun.experiments.records import Record
from bookrun.project import Project
from localgd.datasets.download import UnreachableError


def check(project: Project, figures: list[str], steps: int) -> list[str]:
    """Replay the records of these figures, or of all there are; print, and return what is wrong.

    Raises ``BookError`` for a record that is missing or broken and for data that cannot be had.
    """
    problems: list[str] = []
    for name in figures or [each for each in names() if project.recorded(each).is_file()]:
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
    asked = {case.name: case for case in cases(record.figure, record.scale)}
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
        print(
            f"  {found.name}: {found.held} of {found.rounds} rounds compared; "
            f"loss within {found.loss_error:.1e}, residual within {found.residual_error:.1e}: "
            f"{mark}",
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
