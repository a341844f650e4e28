"""``make book``: execute what is stale, compute the verdicts, build the site."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bookrun import real_run
from bookrun.commands import add_jobs, add_profile
from bookrun.errors import BookError
from bookrun.execution.freshness import forget_strays
from bookrun.execution.schedule import run_steps, stale_steps
from bookrun.files import build_lock, recover
from bookrun.ledger import claims, proofs, summary, test_results
from bookrun.ledger.consistency import mismatches
from bookrun.ledger.evidence import gather
from bookrun.ledger.values import Values, typed, values
from bookrun.outputs import read_notebook
from bookrun.project import Project
from bookrun.site import sources, sphinx_build
from bookrun.source.chapters import Chapter, check_openings, check_profile, load_all


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the profile and how many chapters run at once."""
    add_profile(parser)
    add_jobs(parser)


def run(project: Project, options: argparse.Namespace) -> int:
    """Build the book and print the path of its first page."""
    print(book(project, options.profile, options.jobs))
    return 0


def book(project: Project, profile: str, jobs: int | None) -> Path:
    """Bring the whole book up to date and return the path of its first page."""
    check_profile(profile)
    with build_lock(project.build):
        recover(project.html)
        chapters = load_all(project)
        check_openings(chapters)
        forget_strays(project)
        steps = stale_steps(project, chapters, profile)
        run_steps(project, steps, jobs, test_results.stale(project))
        notebooks = {c.name: project.executed(profile, c.name) for c in chapters if c.code}
        evidence = gather(project, notebooks)
        rows = claims.load(project)
        named = proofs.steps(chapter.text for chapter in chapters)
        problems = mismatches(rows, evidence, project.shown(project.claims), named)
        if problems:
            raise BookError("\n".join(["the ledger and the book do not match:", *problems]))
        numbers = values(notebooks)
        if profile == "quick":  # the sentences are written for it
            refuse_typed_numbers(chapters, numbers)
        known = real_run.load(project.recorded("real-run"))
        found = summary.summary(rows, evidence, named, known)
        table = {**found, "preview": False, "values": numbers}
        pages = sources.sources(project, chapters, notebooks, table)
        if not sphinx_build.is_fresh(project, sphinx_build.fingerprint(project, pages)):
            sphinx_build.build(project, pages, {n: read_notebook(p) for n, p in notebooks.items()})
    return project.html / "index.html"


def refuse_typed_numbers(chapters: Sequence[Chapter], numbers: Values) -> None:
    """Refuse numbers in sentences that a check of the chapter computes, but for those it allows.

    A chapter on stand-in data, whose numbers are others, is left alone. Raises ``BookError`` with
    the place of each.
    """
    problems = [
        f"book/{chapter.name}.md, line {line}: {word} is computed by a check: "
        f"name it, {{value}}`{chapter.name}:…`"
        for chapter in chapters
        for line, word in typed(
            chapter.text, _checked(numbers.get(chapter.name, {})), chapter.allowed_numbers
        )
    ]
    if problems:
        raise BookError("\n".join(["sentences type what checks compute:", *problems]))


def _checked(records: Mapping[str, Mapping[str, Any]]) -> list[Any]:
    """Return the values of a chapter's checks; none where one of them rests on stand-in data."""
    checks = [record for record in records.values() if record["outcome"]]
    if any(record["outcome"] != "passed" for record in checks):
        return []
    return [record["value"] for record in checks]
