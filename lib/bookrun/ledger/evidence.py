"""Gather what the runs found about the claims, in executed notebooks and in the tests.

A check, a figure or a reported number travels as metadata of the output that shows it, so the
executed notebook is the only place where it is kept.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bookrun.outputs import CHECK, outputs, read_notebook
from bookrun.project import Project


@dataclass(frozen=True)
class Evidence:
    """One check or test: which claim, what it means when it passes, and how it came out."""

    claim: str
    kind: str
    name: str
    outcome: str  # "passed", "failed", "not checked" or "skipped"
    cases: int
    where: str  # "chapter linear", or the test's node id
    is_test: bool = False


def collect(notebook: dict[str, Any], chapter: str = "") -> list[Evidence]:
    """Return the checks that an executed notebook recorded, in order."""
    return [
        Evidence(
            claim=record["claim"],
            kind=record["kind"],
            name=record["name"],
            outcome=record["outcome"],
            cases=int(record["cases"]),
            where=f"chapter {chapter}",
        )
        for _, record in outputs(notebook, CHECK)
    ]


def from_tests(path: Path) -> list[Evidence]:
    """Return what the last run of the claim tests found; nothing where they have not been run."""
    if not path.is_file():
        return []
    content = json.loads(path.read_text(encoding="utf-8"))
    return [
        Evidence(
            claim=record["claim"],
            kind=record["kind"],
            name=record["test"].rpartition("::")[2],
            outcome=record["outcome"],
            cases=int(record["cases"]),
            where=record["test"],
            is_test=True,
        )
        for module in content.get("modules", {}).values()
        for record in module["tests"]
    ]


def gather(project: Project, notebooks: dict[str, Path]) -> list[Evidence]:
    """Return all evidence there is: the chapters' checks, then the tests'."""
    found: list[Evidence] = []
    for name, path in notebooks.items():
        notebook = read_notebook(path)
        if notebook is not None:
            found += collect(notebook, name)
    return found + from_tests(project.test_evidence)
