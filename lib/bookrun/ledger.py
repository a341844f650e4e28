"""The claims ledger: rows that people write, verdicts that are computed from what the runs found.

What a passing piece of evidence says about its claim is its kind: ``symbolic`` (an algebraic
proof step), ``numeric`` (an inequality or a number held over cases), ``counterexample`` (the
printed statement fails there), ``corrected`` (the corrected statement holds), ``difference`` (a
figure departs from the paper's in this way), ``control`` (the check fails where it should).
"""

import fnmatch
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

import yaml

from .errors import BookError
from .evidence import Evidence, Kind
from .project import Project

PROVED = "proved"
VERIFIED = "verified"
CORRECTED = "holds as corrected"
FALSE = "false as printed"
REPRODUCED = "reproduced"
DIFFERENT = "reproduced with differences"
NOT_REPRODUCED = "not reproduced"
UNCHECKED = "not checked here"
VERDICTS = (
    PROVED, VERIFIED, CORRECTED, FALSE, REPRODUCED, DIFFERENT, NOT_REPRODUCED, UNCHECKED,
)  # fmt: skip

_ERRATUM = ("printed", "counterexample", "corrected", "survives")


@dataclass(frozen=True)
class Row:
    """One statement of the paper, or one figure."""

    id: str
    place: str
    statement: str
    label: str | None = None
    tests: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    kind: str = "statement"
    erratum: Mapping[str, str] = field(default_factory=dict)
    uses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """A word of the fixed vocabulary, and how many cases stand behind it."""

    word: str
    cases: int = 0
    note: str = ""

    @property
    def text(self) -> str:
        """The word, with the number of cases where it is a number of cases that speaks."""
        if self.word == VERIFIED:
            return f"verified ({self.cases} case{'s' if self.cases != 1 else ''})"
        return self.word


def load(project: Project) -> list[Row]:
    """Read ``book/claims.yaml``; no file, no rows."""
    if not project.claims.is_file():
        return []
    where = project.shown(project.claims)
    try:
        found = yaml.safe_load(project.claims.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise BookError(f"{where} is not YAML: {error}") from None
    rows = [_row(entry, where) for entry in found or []]
    names = Counter(row.id for row in rows)
    for name, count in names.items():
        if count > 1:
            raise BookError(f"{where}: row {name} is there {count} times")
    for row in rows:
        for used in row.uses:
            if used not in names:
                raise BookError(f"{where}, row {row.id}: it uses {used}, which is not a row")
    return rows


def _row(entry: Any, where: str) -> Row:
    if not isinstance(entry, dict) or not entry.get("id"):
        raise BookError(f"{where}: a row is a mapping with an id, not {entry!r}")
    known = {"id", "place", "statement", "label", "tests", "checks", "kind", "erratum", "uses"}
    strange = sorted(set(entry) - known)
    if strange:
        hint = "; a verdict is computed, never typed" if "verdict" in strange else ""
        raise BookError(f"{where}, row {entry['id']}: unknown field {', '.join(strange)}{hint}")
    for name in ("place", "statement"):
        if not entry.get(name):
            raise BookError(f"{where}, row {entry['id']}: its {name} is missing")
    kind = entry.get("kind", "statement")
    if kind not in ("statement", "figure"):
        raise BookError(f"{where}, row {entry['id']}: kind {kind!r} is not statement or figure")
    erratum = entry.get("erratum") or {}
    if set(erratum) - set(_ERRATUM):
        raise BookError(f"{where}, row {entry['id']}: an erratum holds {', '.join(_ERRATUM)}")
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
    )


def verdict(row: Row, evidence: Sequence[Evidence]) -> Verdict:
    """The verdict on one row from the evidence on it; controls alone say nothing about a claim."""
    failed = [item for item in evidence if item.outcome == "failed"]
    if failed:
        word = NOT_REPRODUCED if row.kind == "figure" else UNCHECKED
        return Verdict(word, note=f"failing: {', '.join(item.name for item in failed)}")
    passed = [item for item in evidence if item.outcome == "passed"]
    kinds = {item.kind for item in passed}
    cases = sum(item.cases for item in passed if item.kind != "control")
    waiting = any(item.outcome == "not checked" for item in evidence)
    note = "part of it not checked: stand-in data" if waiting else ""
    if row.kind == "figure":
        if "counterexample" in kinds:
            return Verdict(NOT_REPRODUCED, cases, note)
        if "difference" in kinds:
            return Verdict(DIFFERENT, cases, note)
        if kinds - {"control"}:
            return Verdict(REPRODUCED, cases, note)
    elif "corrected" in kinds:
        return Verdict(CORRECTED, cases, note)
    elif "counterexample" in kinds:
        return Verdict(FALSE, cases, note)
    elif "symbolic" in kinds:
        return Verdict(PROVED, cases, note)
    elif kinds - {"control"}:
        return Verdict(VERIFIED, cases, note)
    return Verdict(UNCHECKED, note="not checked on stand-in data" if waiting else "")


def mismatches(rows: Sequence[Row], evidence: Sequence[Evidence], where: str) -> list[str]:
    """Where rows, tests and checks do not fit each other, one sentence each."""
    found = []
    ids = {row.id for row in rows}
    kinds = get_args(Kind)
    strays: dict[str, list[str]] = {}
    for item in sorted(evidence, key=lambda item: (item.claim, item.where)):
        who = f"test {item.where.partition('[')[0]}"
        if not item.is_test:
            who = f"check {item.name!r} in {item.where}"
        if item.claim not in ids:
            strays.setdefault(item.claim, []).append(who)
        if item.kind not in kinds:
            found.append(f"{who} is of kind {item.kind!r}, which is not one of {', '.join(kinds)}")
    for claim, named in strays.items():
        first, *others = dict.fromkeys(named)
        more = f" and {len(others)} more" if others else ""
        found.append(f"claim {claim} is no row of {where}, but {first}{more} speak for it")
    found = list(dict.fromkeys(found))
    for row in rows:
        mine = [item for item in evidence if item.claim == row.id]
        found += [
            f"row {row.id} names test {pattern}, but no test of that name is marked "
            f'@pytest.mark.claim("{row.id}")'
            for pattern in row.tests
            if not any(item.is_test and _matches(item.where, pattern) for item in mine)
        ]
        found += [
            f'row {row.id} names chapter {chapter}, which has no check("{row.id}", …)'
            for chapter in row.checks
            if not any(item.where == f"chapter {chapter}" for item in mine)
        ]
        if not row.erratum and any(item.kind == "counterexample" for item in mine):
            found.append(f"row {row.id} has a counterexample but no erratum that shows it")
    return found


def _matches(node_id: str, pattern: str) -> bool:
    """Whether a test is named by a file, a node id without its parameters, or a glob of those."""
    bare = node_id.partition("[")[0]
    if pattern in (node_id, bare, node_id.partition("::")[0]):
        return True
    if "*" not in pattern:
        return False
    return re.fullmatch(fnmatch.translate(pattern.replace("[", "[[]")), bare) is not None


def summary(rows: Sequence[Row], evidence: Sequence[Evidence]) -> dict[str, Any]:
    """The ledger with its verdicts, as the pages and the terminal show it."""
    entries = []
    for row in rows:
        mine = [item for item in evidence if item.claim == row.id]
        found = verdict(row, mine)
        entries.append(
            {
                "id": row.id,
                "place": row.place,
                "statement": row.statement,
                "label": row.label,
                "verdict": found.word,
                "text": found.text,
                "note": found.note,
                "erratum": dict(row.erratum),
                "uses": list(row.uses),
                "tests": _tally([item for item in mine if item.is_test]),
                "checks": _tally([item for item in mine if not item.is_test]),
            }
        )
    counts = Counter(entry["verdict"] for entry in entries)
    return {"rows": entries, "counts": {word: counts[word] for word in VERDICTS if counts[word]}}


def _tally(items: Sequence[Evidence]) -> dict[str, Any]:
    """How much evidence there is: pieces, cases, negative controls, and where it stands."""
    return {
        "count": len(items),
        "cases": sum(item.cases for item in items if item.outcome == "passed"),
        "controls": sum(item.kind == "control" for item in items),
        "where": sorted({item.where.partition("[")[0] for item in items}),
    }


def printed(table: Mapping[str, Any]) -> str:
    """The ledger for a terminal."""
    rows = [("id", "place", "verdict", "tests", "checks")] + [
        (
            row["id"],
            row["place"],
            row["text"] + (f" ({row['note']})" if row["note"] else ""),
            str(row["tests"]["count"]),
            str(row["checks"]["count"]),
        )
        for row in table["rows"]
    ]
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = [
        "  ".join(t.ljust(w) for t, w in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    counts = ", ".join(f"{count} {word}" for word, count in table["counts"].items())
    return "\n".join([*lines, "", counts or "no rows"])
