"""The claims ledger: rows that people write beside verdicts that are computed from the evidence."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from bookrun.ledger.basis import basis
from bookrun.ledger.claims import Row
from bookrun.ledger.evidence import Evidence
from bookrun.ledger.verdicts import UNCHECKED, VERDICTS, Verdict, verdict
from bookrun.real_run import RealRun


def summary(
    rows: Sequence[Row],
    evidence: Sequence[Evidence],
    steps: Mapping[str, Sequence[str]] | None = None,
    real: RealRun | None = None,
) -> dict[str, Any]:
    """Return the ledger with its verdicts, as the pages and the terminal show it.

    ``steps`` are those that the proofs in the text name, by claim. ``real`` is what the real data
    gave elsewhere: it is named where a verdict waits for data, and decides nothing.
    """
    entries = []
    for row in rows:
        mine = [item for item in evidence if item.claim == row.id]
        found = verdict(row, mine)
        known = basis(row, mine, (steps or {}).get(row.id, ()))
        entries.append(
            {
                "id": row.id,
                "place": row.place,
                "statement": row.statement,
                "label": row.label,
                "kind": row.kind,
                "verdict": found.word,
                "basis": known.to_dict(),
                "note": found.note + _elsewhere(row, found, mine, real),
                "erratum": dict(row.erratum),
                "uses": list(row.uses),
                "command": row.command,
                "tests": _tally([item for item in mine if item.is_test]),
                "checks": _tally([item for item in mine if not item.is_test]),
            }
        )
    counts = Counter(entry["verdict"] for entry in entries)
    return {"rows": entries, "counts": {word: counts[word] for word in VERDICTS if counts[word]}}


def _elsewhere(row: Row, found: Verdict, evidence: Sequence[Evidence], real: RealRun | None) -> str:
    """Return the verdict that the real data gave, where this one waits for them."""
    waits = found.word == UNCHECKED and any(item.outcome == "not checked" for item in evidence)
    if not (waits and real and row.id in real.verdicts):
        return ""
    return f"; recorded on the real data, {real.when}: {real.verdicts[row.id]}, not run again here"


def _tally(items: Sequence[Evidence]) -> dict[str, Any]:
    """Return how much evidence there is: pieces, cases, negative controls, and where it stands.

    The cases are those that speak for the claim: a control's do not, nor what was not checked.
    """
    speaking = [item for item in items if item.outcome == "passed" and item.kind != "control"]
    return {
        "count": len(items),
        "cases": sum(item.cases for item in speaking),
        "controls": sum(item.kind == "control" for item in items),
        "where": sorted({item.where.partition("[")[0] for item in items}),
    }


def printed(table: Mapping[str, Any]) -> str:
    """Return the ledger for a terminal."""
    rows = [("id", "place", "the paper's statement", "how we know", "tests", "checks")] + [
        (
            row["id"],
            row["place"],
            row["verdict"] + (f" ({row['note']})" if row["note"] else ""),
            row["basis"]["text"],
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
