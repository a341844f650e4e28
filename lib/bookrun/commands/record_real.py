"""``make record-real``: keep what the built book found on the real data."""

import argparse
from datetime import UTC, datetime

from bookrun import real_run
from bookrun.errors import BookError
from bookrun.execution.freshness import inputs_of, reasons
from bookrun.experiments.machine import commit
from bookrun.ledger import claims, proofs, summary
from bookrun.ledger.evidence import collect, gather
from bookrun.ledger.verdicts import UNCHECKED
from bookrun.outputs import FIGURE, outputs, read_notebook
from bookrun.project import Project
from bookrun.real_run import Line, RealRun
from bookrun.source.chapters import load_all


def arguments(parser: argparse.ArgumentParser) -> None:
    """Take none."""


def run(project: Project, options: argparse.Namespace) -> int:
    """Write what the chapters under ``build/`` found, and print the path."""
    path = project.recorded("real-run")
    real_run.save(found(project), path)
    print(project.shown(path))
    return 0


def found(project: Project) -> RealRun:
    """Return what the executed chapters that use data hold.

    Raises ``BookError`` where one of them was not executed as it is now, or on a stand-in.
    """
    chapters = load_all(project)
    notebooks = {c.name: project.executed("quick", c.name) for c in chapters if c.code}
    figures: dict[str, list[Line]] = {}
    data: dict[str, str] = {}
    concerned: set[str] = set()
    for chapter in chapters:
        if not (chapter.code and chapter.data):
            continue
        values = chapter.profile("quick")
        if reasons(project, inputs_of(project, chapter, "quick", values)):
            raise BookError(
                f"{chapter.name} has changed since it was executed: make book comes first"
            )
        notebook = read_notebook(notebooks[chapter.name]) or {}
        checks = collect(notebook, chapter.name)
        if any(item.outcome == "not checked" for item in checks):
            raise BookError(f"{chapter.name} was executed on stand-in data")
        concerned |= {item.claim for item in checks}
        for _, record in outputs(notebook, FIGURE):
            if "lines" in record:
                figures[record["label"]] = record["lines"]
                data |= record["data"]
    named = proofs.steps(chapter.text for chapter in chapters)
    table = summary.summary(claims.load(project), gather(project, notebooks), named)
    verdicts = {
        row["id"]: row["verdict"]
        for row in table["rows"]
        if row["id"] in concerned and row["verdict"] != UNCHECKED
    }
    day = datetime.now(UTC).date().isoformat()
    return RealRun(day, commit(project.root), data, figures, verdicts)
