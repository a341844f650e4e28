"""Find the chapters that are stale, and execute them beside the claim tests."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bookrun.errors import BookError
from bookrun.execution.freshness import Record, reasons, record_for
from bookrun.execution.kernel import kernel_environment, thread_environment
from bookrun.execution.notebook_worker import Account, Order
from bookrun.execution.process_pool import Ended, Job, run_jobs
from bookrun.ledger.evidence import from_tests
from bookrun.outputs import RECORD, read_notebook
from bookrun.project import Project, cores
from bookrun.source.chapters import Chapter

_TESTS = "claim tests"


@dataclass(frozen=True)
class Step:
    """A chapter that has to be executed: the order for its worker, and why."""

    chapter: Chapter
    record: Record
    values: dict[str, Any]
    output: Path
    why: tuple[str, ...] = ()


def stale_steps(project: Project, chapters: list[Chapter], profile: str) -> list[Step]:
    """The chapters to execute, those that took longest last time first."""
    found: list[tuple[float, Step]] = []
    for chapter in chapters:
        values = chapter.profile(profile)
        if not chapter.code:
            continue
        record = record_for(project, chapter, profile, values)
        why = reasons(project, record)
        if why:
            record = _with_data_at_hand(project, chapter, profile, values, record)
            output = project.executed(profile, chapter.name)
            last = read_notebook(output) or {"metadata": {}}
            seconds = float(last["metadata"].get(RECORD, {}).get("seconds", float("inf")))
            found.append((seconds, Step(chapter, record, values, output, tuple(why))))
    return [step for _, step in sorted(found, key=lambda pair: -pair[0])]


def _with_data_at_hand(
    project: Project, chapter: Chapter, profile: str, values: dict[str, Any], record: Record
) -> Record:
    """Fetch a stale chapter's data before it starts, so that its record says what it reads."""
    if not chapter.data:
        return record
    from localgd import datasets

    for name in chapter.data:
        datasets.prefetch(name)
    return record_for(project, chapter, profile, values)


def run_steps(project: Project, steps: list[Step], jobs: int | None, *, with_tests: bool) -> None:
    """Execute the chapters and the claim tests side by side.

    Raises ``BookError`` when one failed, after all others have finished.
    """
    total = len(steps) + with_tests
    if not total:
        return
    limit = max(1, min(jobs or cores(), total))
    threads = max(1, cores() // limit)
    work = [_chapter_job(project, step, threads) for step in steps]
    if with_tests:
        work.insert(0, _tests_job(project, threads))  # the longest step starts first
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


def _good(job: Job) -> tuple[int, ...]:
    return (0, 5) if job.name == _TESTS else (0,)  # pytest ends with 5 when there are no tests


def _chapter_job(project: Project, step: Step, threads: int) -> Job:
    name = step.chapter.name
    temporary = project.build / "tmp"
    Order(
        chapter=name,
        text=step.chapter.text,
        parameters=step.values,
        record=step.record.to_dict(),
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


def _tests_job(project: Project, threads: int) -> Job:
    # one word each: pytest takes a word it does not know yet for a path to start from
    arguments = ["-p", "bookrun.ledger.pytest_plugin", "-m", "claim", "-q"]
    arguments.append(f"--claim-evidence={project.test_evidence}")
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
    account = _account(project.build / "tmp" / f"{name}.account.json")
    if account is None:
        return f"{name}: ended with status {ended.status} after {seconds}; see {log}"
    where = f"code cell {account.cell}, `{account.first_line}`"
    partial = project.shown(project.failed(name))
    return (
        f"{name}: failed after {seconds} in {where}: {account.error}\n  partial notebook: {partial}"
    )


def _account(path: Path) -> Account | None:
    try:
        return Account(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
