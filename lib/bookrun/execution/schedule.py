"""Find the chapters that are stale, and execute them beside the claim tests."""

import math
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bookrun.errors import BookError
from bookrun.execution.data import bring
from bookrun.execution.freshness import Inputs, inputs_of, reasons
from bookrun.execution.kernel import kernel_environment, thread_environment
from bookrun.execution.notebook_worker import Order, account_in
from bookrun.execution.process_pool import Ended, Job, run_jobs
from bookrun.execution.prose import renew_text
from bookrun.ledger import test_results
from bookrun.ledger.evidence import from_tests
from bookrun.outputs import RUN, read_notebook
from bookrun.project import Project, cores
from bookrun.source.chapters import Chapter

_TESTS = "claim tests"
#: Of the cases that a random test names, the share that a book takes; ``make test`` takes all.
_SHARE = 0.2


@dataclass(frozen=True)
class Step:
    """A chapter that has to be executed."""

    chapter: Chapter
    inputs: Inputs
    values: dict[str, Any]
    output: Path
    seconds: float | None = None  # that its last run took


def stale_steps(project: Project, chapters: list[Chapter], profile: str) -> list[Step]:
    """Return the chapters to execute, those that took longest last time first.

    A chapter of which only the prose has changed is given its new text, and not executed.
    """
    found: list[Step] = []
    for chapter in chapters:
        values = chapter.profile(profile)
        if not chapter.code:
            continue
        output = project.executed(profile, chapter.name)
        inputs = inputs_of(project, chapter, profile, values)
        if reasons(project, inputs):
            last = read_notebook(output) or {"metadata": {}}
            seconds = last["metadata"].get(RUN, {}).get("seconds")
            # the data come before the run, so that its inputs say what it reads
            inputs = replace(inputs, data=bring(chapter.data, f"chapter {chapter.name}"))
            found.append(Step(chapter, inputs, values, output, seconds))
        else:
            renew_text(chapter, output)
    return sorted(found, key=lambda step: -(step.seconds or math.inf))


def run_steps(
    project: Project, steps: Sequence[Step], jobs: int | None, tests: Collection[str] = ()
) -> None:
    """Execute the chapters, and the claim tests of these modules, side by side.

    On a terminal it is said before what will be executed, and how long it will take.
    Raises ``BookError`` when one failed, after all others have finished.
    """
    total = len(steps) + bool(tests)
    if not total:
        return
    limit = max(1, min(jobs or cores(), total))
    if sys.stderr.isatty():
        print(announcement(project, steps, tests, limit), file=sys.stderr)
    threads = max(1, cores() // limit)
    work = [_chapter_job(project, step, threads) for step in steps]
    if tests:
        work.insert(0, _tests_job(project, tests, threads))  # the longest step starts first
    failures: list[str] = []

    def describe(ended: Ended) -> str:
        line = _outcome(project, ended)
        if ended.status not in _good(ended.job):
            failures.append(line)
        return line

    run_jobs(work, limit, project.root, describe)
    if failures:
        count = f"{len(failures)} of {total} steps failed; the site stays as it was"
        raise BookError("\n".join([count, *failures]))


def announcement(
    project: Project, steps: Sequence[Step], tests: Collection[str], limit: int
) -> str:
    """Return what will be executed, ``limit`` steps at once, and how long that took last time."""
    times = {step.chapter.name: step.seconds for step in steps}
    if tests:
        times[f"claim tests of {len(tests)} modules"] = test_results.seconds(project, tests)
    known = [seconds for seconds in times.values() if seconds is not None]
    listed = ", ".join(
        name if seconds is None else f"{name} ({seconds:.0f} s)" for name, seconds in times.items()
    )
    if not known:
        return f"To execute: {listed}; how long it takes is not known before the first time"
    about = max(max(known), sum(known) / limit)
    length = f"{about:.0f} s" if about < 90 else f"{about / 60:.0f} min"
    more = "" if len(known) == len(times) else ", and what never ran before"
    return f"To execute: {listed}; about {length} by the last times{more}"


def _good(job: Job) -> tuple[int, ...]:
    return (0, 5) if job.name == _TESTS else (0,)  # pytest ends with 5 when there are no tests


def _chapter_job(project: Project, step: Step, threads: int) -> Job:
    name = step.chapter.name
    temporary = project.build / "tmp"
    Order(
        chapter=name,
        text=step.chapter.text,
        parameters=step.values,
        inputs=step.inputs.to_dict(),
        cwd=str(project.book),
        output=str(step.output),
        failed=str(project.failed(name)),
        account=str(temporary / f"{name}.account.json"),
    ).write(temporary / f"{name}.order.json")
    (temporary / f"{name}.account.json").unlink(missing_ok=True)
    return Job(
        name,
        "bookrun.execution.notebook_worker",
        [str(temporary / f"{name}.order.json")],
        project.log(name),
        kernel_environment(threads),
    )


def _tests_job(project: Project, modules: Collection[str], threads: int) -> Job:
    # one word each: pytest takes a word it does not know yet for a path to start from
    arguments = ["-p", "bookrun.ledger.pytest_plugin", "-m", "claim", "-q"]
    arguments += [f"--claim-evidence={project.test_evidence}", f"--claim-cases={_SHARE}"]
    arguments += sorted(modules)
    return Job(_TESTS, "pytest", arguments, project.log("tests"), thread_environment(threads))


def _outcome(project: Project, ended: Ended) -> str:
    name, seconds = ended.job.name, f"{ended.seconds:.1f} s"
    if ended.status in _good(ended.job):
        return f"{name}: {seconds}"
    log = project.shown(ended.job.log)
    if ended.job.name == _TESTS:
        failed = sorted(
            {e.where for e in from_tests(project.test_evidence) if e.outcome == "failed"}
        )
        return f"{name}: failed after {seconds}: {', '.join(failed) or 'see the log'} ({log})"
    account = account_in(project.build / "tmp" / f"{name}.account.json")
    if account is None:
        return f"{name}: ended with status {ended.status} after {seconds}; see {log}"
    where = f"code cell {account.cell}, `{account.first_line}`"
    partial = project.shown(project.failed(name))
    return (
        f"{name}: failed after {seconds} in {where}: {account.error}\n  partial notebook: {partial}"
    )
