"""What the runs found about the claims: the records in executed notebooks, and those of the tests.

A check, a figure or a reported number travels as metadata of the output that shows it, so the
executed notebook is the only place where it is kept.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

CHECK = "check"
FIGURE = "figure"
NUMBER = "number"
TRACE = "trace"

#: What a passing check or test says about its claim.
Kind = Literal["symbolic", "numeric", "counterexample", "corrected", "difference", "control"]


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


def outputs(notebook: dict[str, Any], key: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The records under ``key`` in a notebook's outputs, each with the index of its cell."""
    for index, cell in enumerate(notebook.get("cells", [])):
        for output in cell.get("outputs", []):
            record = (output.get("metadata") or {}).get("bookrun", {}).get(key)
            if record is not None:
                yield index, record


def collect(notebook: dict[str, Any], chapter: str = "") -> list[Evidence]:
    """The checks that an executed notebook recorded, in order."""
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
    """What the last run of the claim tests found; nothing where they have not been run."""
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
        for record in content["tests"]
    ]
