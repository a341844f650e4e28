"""Evidence, and rows of a computed ledger, made up for the tests of the ledger and its pages."""

from collections.abc import Mapping, Sequence
from typing import Any

from bookrun.ledger.claims import Row
from bookrun.ledger.evidence import Evidence
from bookrun.ledger.summary import summary


def evidence(kind: str = "numeric", outcome: str = "passed", **more: object) -> Evidence:
    """One check on lem1 in chapter convex, unless said otherwise."""
    given = {"claim": "lem1", "name": "a", "cases": 1, "where": "chapter convex", **more}
    return Evidence(kind=kind, outcome=outcome, **given)  # type: ignore[arg-type]


def computed(
    rows: Sequence[Row], steps: Mapping[str, Sequence[str]] | None = None, **kinds: str
) -> dict[str, Any]:
    """The ledger of these rows with a test of each kind (words with spaces between) by row."""
    names = {row.id: kinds.get(row.id.replace("-", "_"), "") for row in rows}
    found = [
        evidence(
            kind,
            claim=claim,
            name=f"test_{kind}",
            is_test=True,
            where=f"tests/theory/test_{claim}.py::test_{kind}",
        )
        for claim, words in names.items()
        for kind in words.split()
    ]
    return {**summary(rows, found, steps), "preview": False}
