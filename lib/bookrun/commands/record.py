"""Record a figure: its cases, each with a checkpoint, none of them twice."""

import argparse
import json
import multiprocessing
import re
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from bookrun.commands import count
from bookrun.errors import BookError
from bookrun.execution.data import data_errors
from bookrun.experiments import figures, records
from bookrun.experiments.case import Case, carry_out, training_data
from bookrun.experiments.machine import commit, processor
from bookrun.experiments.records import Made, Record, Recorded
from bookrun.files import build_lock, digest
from bookrun.project import Project
from localgd import DivergenceError, Trace
from localgd.datasets.download import UnreachableError
from localgd.engine.evaluator import Engine


@dataclass(frozen=True)
class Means:
    """By what a figure is recorded: engine, device, processes of one thread each, commit."""

    engine: Engine = "auto"
    device: str = "auto"
    jobs: int = 1
    commit: str | None = None  # where the tree was copied without its repository
    only: str = ""  # carry out the cases in whose names this pattern is found


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the figure, its scale, by what it is recorded, and whether all is run anew."""
    parser.add_argument("figure", metavar="FIGURE")
    parser.add_argument("--scale", default="paper", help="paper (default) or cpu")
    parser.add_argument("--engine", default="auto", help="localgd's engine; auto by default")
    parser.add_argument("--device", default="auto", help="auto (default), cpu or cuda")
    parser.add_argument("--jobs", type=count, default=1, help="cases at once, one thread each")
    parser.add_argument("--commit", help="of the tree, where it has no repository")
    parser.add_argument("--only", default="", metavar="PATTERN", help="cases with it in the name")
    parser.add_argument("--again", action="store_true", help="take nothing over")


def run(project: Project, options: argparse.Namespace) -> int:
    """Record the figure and print the path of what is written."""
    means = Means(options.engine, options.device, options.jobs, options.commit, options.only)
    path = record(project, options.figure, options.scale, means, again=options.again)
    if path is not None:
        print(project.shown(path))
    return 0


def record(
    project: Project, figure: str, scale: str, means: Means | None = None, *, again: bool = False
) -> Path | None:
    """Carry out what is missing of a figure and write ``recorded/FIGURE.json``; return its path.

    What has finished is kept under ``build/record`` and not run again, a case that was cut short
    goes on from its checkpoint, and ``recorded/`` changes when all is there. A run that is
    recorded already is taken over where its settings are the same, also when the code has
    changed since, unless ``again`` asks for all of them anew. Returns None where cases are missing,
    as only some were asked for.

    Raises ``BookError`` for a figure or scale that there is not, for data that cannot be had (a
    stand-in is never recorded), for settings that cannot be run and for a checkpoint of another
    machine; ``KeyboardInterrupt`` when it is interrupted.
    """
    means = means or Means()
    # What runs was imported before this line; the files may change while it does.
    code, at = records.code_digest(), means.commit or commit(project.root)
    asked = figures.cases(figure, scale)
    published = project.recorded(figure)
    directory = project.build / "record" / f"{figure}-{scale}"
    working = directory / "finished.json"
    with build_lock(directory):
        if again:
            working.unlink(missing_ok=True)
        with data_errors(f"{figure} is recorded from real data only"):
            data = training_data(asked[0], "real").source
        kept = _finished([working] if again else [published, working], scale)
        for case in asked:
            if case in kept:
                changed = kept[case].made.code != code
                _say(
                    f"{figure} {scale} {case.name}: there already"
                    f"{', though the code has changed' if changed else ''}"
                )
        missing = [case for case in asked if case not in kept and re.search(means.only, case.name)]
        for case, trace, seconds in _carried_out(missing, directory, code, means):
            end = kept[case] = _recorded(case, trace, code, at, means.engine)
            done = tuple(kept[each] for each in asked if each in kept)
            records.save(Record(figure, scale, data, done), working)
            _checkpoint(case, directory, code).unlink(missing_ok=True)
            _say(
                f"{figure} {scale} {len(done)}/{len(asked)} {case.name}: {len(end) - 1} rounds, "
                f"{end.local_steps.max(1).sum():.0f} steps, loss {end.loss[-1]:.3g}, "
                f"{end.reason}, {seconds:.0f} s"
            )
        lacking = [case.name for case in asked if case not in kept]
        if lacking:
            _say(f"{figure} {scale}: still missing are {', '.join(lacking)}")
            return None
        records.save(Record(figure, scale, data, tuple(kept[each] for each in asked)), published)
    return published


def _carried_out(
    cases: list[Case], directory: Path, code: str, means: Means
) -> Iterator[tuple[Case, Trace, float]]:
    """Run the cases and yield each as it ends: one after the other, or in several processes."""
    orders = [(case, _checkpoint(case, directory, code), means) for case in cases]
    if means.jobs == 1:
        for order in orders:
            yield _one(*order)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(means.jobs, context, torch.set_num_threads, (1,)) as pool:
        running = [pool.submit(_one, *order) for order in orders]
        try:
            for ended in as_completed(running):
                yield ended.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _finished(paths: list[Path], scale: str) -> dict[Case, Recorded]:
    """Return the runs that these records hold at this scale; of two, the later record's."""
    found: dict[Case, Recorded] = {}
    for path in paths:
        if path.is_file():
            there = records.load(path)
            if there.scale == scale:
                found |= {each.case: each for each in there.cases}
    return found


def _one(case: Case, checkpoint: Path, means: Means) -> tuple[Case, Trace, float]:
    """Run one case; one that diverges ends where it does."""
    began = time.monotonic()
    try:
        trace = carry_out(
            case,
            source="real",
            device=means.device,
            engine=means.engine,
            checkpoint=checkpoint,
            progress=means.jobs == 1 and sys.stderr.isatty(),
        )
    except DivergenceError as error:
        trace = error.trace
    except (UnreachableError, ValueError) as error:
        raise BookError(f"{case.name}: {error}") from None
    if trace.reason == "interrupted":
        raise KeyboardInterrupt
    return case, trace, time.monotonic() - began


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
    """Return where the run is kept while it lasts; other settings or code begin another one."""
    settings = json.dumps(asdict(case), sort_keys=True)
    return directory / f"{case.name}-{digest(settings, code)[:8]}.pt"


def _device(described: str) -> str:
    return f"the CPU ({processor()})" if described.startswith("cpu") else described


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
