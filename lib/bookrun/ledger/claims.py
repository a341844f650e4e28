"""The rows of the claims ledger, ``book/claims.yaml``: what people write about each statement."""

import graphlib
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from bookrun.errors import BookError
from bookrun.project import Project
from bookrun.source import yaml

#: ``assumption`` names what has to be assumed besides, where that is all that is corrected.
ERRATUM = ("printed", "counterexample", "assumption", "corrected", "survives", "headline")

#: A statement or a figure of the paper, one of its assumptions, or a statement of this book.
KINDS = ("statement", "figure", "assumption", "ours")


@dataclass(frozen=True)
class Row:
    """One statement of the paper or of this book, one assumption, or one figure.

    ``steps`` names steps of the proof in the text and, for each, the tests and checks by which a
    machine checked it.
    """

    id: str
    place: str
    statement: str
    label: str | None = None
    tests: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    kind: str = "statement"
    erratum: Mapping[str, str] = field(default_factory=dict)
    uses: tuple[str, ...] = ()
    steps: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def command(self) -> str:
        """Return what a reader types to see the evidence made again; empty where there is none."""
        if self.tests:
            return f"make test CLAIM={self.id}"
        return f"make chapter CHAPTER={self.checks[0]}" if self.checks else ""


def load(project: Project) -> list[Row]:
    """Read ``book/claims.yaml``; no file, no rows.

    Raises ``BookError`` with a sentence for a row that is not one, for two rows of one name, and
    for rows that rest on each other in a circle.
    """
    if not project.claims.is_file():
        return []
    where = project.shown(project.claims)
    found = yaml.read(project.claims, where)
    rows = [_row(entry, where) for entry in found or []]
    names = Counter(row.id for row in rows)
    for name, count in names.items():
        if count > 1:
            raise BookError(f"{where}: row {name} is there {count} times")
    for row in rows:
        for used in row.uses:
            if used not in names:
                raise BookError(f"{where}, row {row.id}: it uses {used}, which is not a row")
    _refuse_circles(rows, where)
    return rows


def _refuse_circles(rows: Sequence[Row], where: str) -> None:
    try:
        graphlib.TopologicalSorter({row.id: row.uses for row in rows}).prepare()
    except graphlib.CycleError as error:
        circle = error.args[1][::-1]  # each uses the next, and the last is the first
        steps = ", ".join(f"{one} uses {other}" for one, other in itertools.pairwise(circle))
        raise BookError(
            f"{where}: no statement can rest on itself, but these do so in a circle: {steps}"
        ) from None


def _row(entry: Any, where: str) -> Row:
    if not isinstance(entry, dict) or not entry.get("id"):
        raise BookError(f"{where}: a row is a mapping with an id, not {entry!r}")
    strange = sorted(set(entry) - {item.name for item in fields(Row)})
    if strange:
        hint = "; a verdict is computed, never typed" if "verdict" in strange else ""
        raise BookError(f"{where}, row {entry['id']}: unknown field {', '.join(strange)}{hint}")
    for name in ("place", "statement"):
        if not entry.get(name):
            raise BookError(f"{where}, row {entry['id']}: its {name} is missing")
    kind = entry.get("kind", "statement")
    if kind not in KINDS:
        raise BookError(f"{where}, row {entry['id']}: kind {kind!r} is not {', '.join(KINDS)}")
    erratum = entry.get("erratum") or {}
    if set(erratum) - set(ERRATUM):
        raise BookError(f"{where}, row {entry['id']}: an erratum holds {', '.join(ERRATUM)}")
    steps = entry.get("steps") or {}
    if not isinstance(steps, dict) or not all(isinstance(v, list) and v for v in steps.values()):
        raise BookError(
            f"{where}, row {entry['id']}: steps gives for each step the tests and checks that "
            f"a machine checked it by"
        )
    return Row(
        id=str(entry["id"]),
        place=str(entry["place"]),
        statement=" ".join(str(entry["statement"]).split()),
        label=entry.get("label"),
        tests=tuple(entry.get("tests") or ()),
        checks=tuple(entry.get("checks") or ()),
        kind=kind,
        erratum={key: " ".join(str(text).split()) for key, text in erratum.items()},
        uses=tuple(entry.get("uses") or ()),
        steps={str(name): tuple(map(str, by)) for name, by in steps.items()},
    )
