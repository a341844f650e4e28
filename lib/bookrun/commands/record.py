"""Records a figure: its cases one after the other, each with a checkpoint, none of them twice."""

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from bookrun.errors import BookError
from bookrun.experiments import figures, records
from bookrun.experiments.case import Case, carry_out, training_data
from bookrun.experiments.machine import commit, processor
from bookrun.experiments.records import Made, Record, Recorded
from bookrun.files import build_lock, digest
from bookrun.project import Project
from localgd import DivergenceError, Trace
from localgd.datasets.download import UnreachableError
from localgd.engine.evaluator import Engine


def record(
    project: Project,
    figure: str,
    scale: str,
    *,
    engine: Engine = "auto",
    again: bool = False,
) -> Path:
    """Carry out what is missing of a figure and write ``recorded/FIGURE.json``; its path.

    What has finished is kept under ``build/record`` and not run again, a case that was cut short
    goes on from its checkpoint, and ``recorded/`` changes when all is there. A run that is
    recorded already is taken over where its settings are the same, also when the code has
    changed since, unless ``again`` asks for all of them anew.

    Raises ``BookError`` for a figure or scale that there is not, for data that cannot be had (a
    stand-in is never recorded), for settings that cannot be run and for a checkpoint of another
    machine; ``KeyboardInterrupt`` when it is interrupted.
    """
    # What runs was imported before this line; the files may change while it does.
    code, at = records.code_digest(), commit(project.root)
    asked = figures.cases(figure, scale)
    published = project.recorded(figure)
    directory = project.build / "record" / f"{figure}-{scale}"
    working = directory / "finished.json"
    with build_lock(directory):
        if again:
            working.unlink(missing_ok=True)
        try:
            data = training_data(asked[0], "real").source
        except (UnreachableError, ValueError) as error:
            raise BookError(f"{figure} is recorded from real data only: {error}") from None
        kept = _finished([working] if again else [published, working], scale)
        for number, case in enumerate(asked, 1):
            label = f"{figure} {scale} {number}/{len(asked)} {case.name}"
            if case in kept:
                changed = kept[case].made.code != code
                _say(f"{label}: there already{', though the code has changed' if changed else ''}")
                continue
            began = time.monotonic()
            checkpoint = _checkpoint(case, directory, code)
            trace = _carried_out(case, checkpoint, engine)
            end = kept[case] = _recorded(case, trace, code, at, engine)
            done = tuple(kept[each] for each in asked if each in kept)
            records.save(Record(figure, scale, data, done), working)
            checkpoint.unlink(missing_ok=True)
            _say(
                f"{label}: {len(end) - 1} rounds, {end.local_steps.max(1).sum():.0f} steps, "
                f"loss {end.loss[-1]:.3g}, {end.reason}, {time.monotonic() - began:.0f} s"
            )
        records.save(Record(figure, scale, data, tuple(kept[each] for each in asked)), published)
    return published


def _finished(paths: list[Path], scale: str) -> dict[Case, Recorded]:
    """The runs that these records hold at this scale, the later record's where both have one."""
    found: dict[Case, Recorded] = {}
    for path in paths:
        if path.is_file():
            there = records.load(path)
            if there.scale == scale:
                found |= {each.case: each for each in there.cases}
    return found


def _carried_out(case: Case, checkpoint: Path, engine: Engine) -> Trace:
    """One case's run; one that diverges ends where it does."""
    try:
        trace = carry_out(
            case,
            source="real",
            engine=engine,
            checkpoint=checkpoint,
            progress=sys.stderr.isatty(),
        )
    except DivergenceError as error:
        trace = error.trace
    except (UnreachableError, ValueError) as error:
        raise BookError(f"{case.name}: {error}") from None
    if trace.reason == "interrupted":
        raise KeyboardInterrupt
    return trace


def _recorded(case: Case, trace: Trace, code: str, at: str, engine: Engine) -> Recorded:
    posed = trace.provenance["problem"]
    made = Made(
        started=trace.provenance["started"],
        commit=at,
        code=code,
        device=_device(trace.provenance["device"]),
        engine=engine,
        threads=trace.provenance["threads"],
        versions=trace.provenance["versions"],
    )
    buffers = posed["num_buffers"]
    return records.of_trace(case, trace, made, posed["dim"] - buffers, buffers)


def _checkpoint(case: Case, directory: Path, code: str) -> Path:
    """Where the run is kept while it lasts; other settings or other code begin another one."""
    settings = json.dumps(asdict(case), sort_keys=True)
    return directory / f"{case.name}-{digest(settings, code)[:8]}.pt"


def _device(described: str) -> str:
    return f"the CPU ({processor()})" if described.startswith("cpu") else described


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
