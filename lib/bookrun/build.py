"""``make book``: what is stale is executed, the verdicts are computed, the site is made."""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import assemble, claims, ledger, outcomes, site
from .chapters import Chapter, check_openings, load_all
from .crew import Ended, Job, run_jobs
from .display import PIPELINE
from .errors import BookError
from .evidence import Evidence, collect, from_tests
from .files import build_lock, recover
from .freshness import (
    RECORD,
    Record,
    forget_strays,
    read_notebook,
    reasons,
    record_for,
)  # fmt: skip
from .matching import mismatches
from .project import Project, cores
from .worker import Account, Order

_TESTS = "claim tests"


@dataclass(frozen=True)
class Step:
    """A chapter that has to be executed: the order for its worker, and why."""

    chapter: Chapter
    record: Record
    values: dict[str, Any]
    output: Path
    why: tuple[str, ...] = ()


def book(project: Project, profile: str, jobs: int | None) -> Path:
    """Bring the whole book up to date and return the path of its first page."""
    with build_lock(project.build):
        recover(project.html)
        chapters = load_all(project)
        check_openings(chapters)
        forget_strays(project)
        steps = stale_steps(project, chapters, profile)
        tests_why = outcomes.stale(project)
        run_steps(project, steps, jobs, with_tests=bool(tests_why))
        notebooks = {c.name: project.executed(profile, c.name) for c in chapters if c.code}
        evidence = gather(project, notebooks)
        rows = claims.load(project)
        problems = mismatches(rows, evidence, project.shown(project.claims))
        if problems:
            raise BookError("\n".join(["the ledger and the book do not match:", *problems]))
        table = {**ledger.summary(rows, evidence), "preview": False}
        sources = assemble.sources(project, chapters, notebooks, table)
        if not site.is_fresh(project, site.fingerprint(project, sources)):
            site.build(project, sources, {n: read_notebook(p) for n, p in notebooks.items()})
    return project.html / "index.html"


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
        "bookrun.worker",
        [str(temporary / f"{name}.order.json")],
        project.log(name),
        kernel_environment(threads),
    )


def kernel_environment(threads: int) -> dict[str, str]:
    """What a chapter's kernel finds in its environment besides the user's own."""
    return {
        PIPELINE: "1",
        **_threads(threads),
        "PYTHONHASHSEED": "0",
        "JUPYTER_PREFER_ENV_PATH": "1",  # this environment's kernel, not another's of that name
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }


def _threads(count: int) -> dict[str, str]:
    """Threads that spin while they wait: more of them than cores, and everything crawls.

    No more than the user asks for, where ``OMP_NUM_THREADS`` is set.
    """
    most = os.environ.get("OMP_NUM_THREADS", "")
    if most.isdecimal():
        count = max(1, min(count, int(most)))
    libraries = ("OMP", "MKL", "OPENBLAS", "NUMEXPR")
    return {f"{library}_NUM_THREADS": str(count) for library in libraries}


def _tests_job(project: Project, threads: int) -> Job:
    # one word each: pytest takes a word it does not know yet for a path to start from
    arguments = ["-p", "bookrun.pytest_plugin", "-m", "claim", "-q"]
    arguments.append(f"--claim-evidence={project.test_evidence}")
    return Job(_TESTS, "pytest", arguments, project.log("tests"), _threads(threads))


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


def gather(project: Project, notebooks: dict[str, Path]) -> list[Evidence]:
    """All evidence there is: the chapters' checks, then the tests'."""
    found: list[Evidence] = []
    for name, path in notebooks.items():
        notebook = read_notebook(path)
        if notebook is not None:
            found += collect(notebook, name)
    return found + from_tests(project.test_evidence)


def settle_environment() -> None:
    """Make a relative ``LOCALGD_DATA`` absolute: chapters run in another directory."""
    data = os.environ.get("LOCALGD_DATA")
    if data:
        os.environ["LOCALGD_DATA"] = str(Path(data).expanduser().resolve())
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
