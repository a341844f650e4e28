"""Compute what became of the paper's statement from what the runs found about it.

What a passing piece of evidence says about its claim is its kind: ``symbolic`` (an identity or
an inequality in exact arithmetic), ``numeric`` (an inequality or a number held over cases),
``counterexample`` (the printed statement fails there), ``corrected`` (the corrected statement
holds), ``difference`` (a figure departs from the paper's in this way), ``control`` (the check
fails where it should).

How we know what the book says instead, or as well, is another question:
:mod:`bookrun.ledger.basis` answers it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from bookrun.ledger.claims import Row
from bookrun.ledger.evidence import Evidence

HOLDS = "holds"
FURTHER = "holds with a further assumption"
CORRECTED = "false as printed, corrected"
FALSE = "false"
REPRODUCED = "figure reproduced"
IN_PART = "figure reproduced in part"
NOT_REPRODUCED = "figure not reproduced"
UNCHECKED = "not checked here"
ASSUMED = "assumption"
OURS = "ours"
VERDICTS = (
    HOLDS, FURTHER, CORRECTED, FALSE, REPRODUCED, IN_PART, NOT_REPRODUCED, UNCHECKED, ASSUMED, OURS,
)  # fmt: skip

#: Verdicts on words of the paper that the book does not repeat as its own.
REFUTED = (FURTHER, CORRECTED, FALSE)

#: Evidence that the statement as printed is not the true one.
_AGAINST = {"counterexample", "corrected"}


@dataclass(frozen=True)
class Verdict:
    """A word of the fixed vocabulary, and what is to be said with it."""

    word: str
    note: str = ""


def verdict(row: Row, evidence: Sequence[Evidence]) -> Verdict:
    """Return the verdict on one row from the evidence on it.

    Only what passed speaks, and controls alone say nothing. What failed leaves the row without a
    verdict, except that a figure's failing numbers are a verdict. What was not checked (data that
    were not there, a test that was skipped) never helps, and withholds the verdict where it might
    have spoken against it: a figure waits for all of its criteria, a statement for what would
    refute or correct it. A statement is false only where a counterexample passed. Assumptions are
    neither true nor false, and a statement of ours was never printed by the paper.
    """
    failed = [item for item in evidence if item.outcome == "failed"]
    if failed:
        differs = row.kind == "figure" and any(item.kind == "numeric" for item in failed)
        names = ", ".join(item.name for item in failed)
        return Verdict(NOT_REPRODUCED if differs else UNCHECKED, note=f"failing: {names}")
    passed = [item for item in evidence if item.outcome == "passed" and item.kind != "control"]
    waiting = [item for item in evidence if item.outcome != "passed"]
    note = _waiting_note(evidence, waiting)
    kinds = {item.kind for item in passed}
    awaited = {item.kind for item in waiting if item.kind != "control"}
    if row.kind == "figure":
        withheld = "counterexample" not in kinds and bool(awaited)
    else:
        withheld = "counterexample" not in kinds and bool((awaited | kinds) & _AGAINST)
    if not kinds or withheld:
        return Verdict(UNCHECKED, note=note)
    return Verdict(_figure(kinds) if row.kind == "figure" else _statement(row, kinds), note)


def _statement(row: Row, kinds: set[str]) -> str:
    """Return the word for a statement on which evidence of these kinds passed."""
    if row.kind == "ours":
        return OURS
    if "counterexample" not in kinds:
        return ASSUMED if row.kind == "assumption" else HOLDS
    if "corrected" not in kinds:
        return FALSE
    return FURTHER if "assumption" in row.erratum else CORRECTED


def _figure(kinds: set[str]) -> str:
    """Return the word for a figure on which evidence of these kinds passed."""
    if "counterexample" in kinds:
        return NOT_REPRODUCED
    return IN_PART if "difference" in kinds else REPRODUCED


def _waiting_note(evidence: Sequence[Evidence], waiting: Sequence[Evidence]) -> str:
    """Return how much of the evidence was not checked, and why."""
    if not waiting:
        return ""
    outcomes = {item.outcome for item in waiting}
    why = ["stand-in data"] if "not checked" in outcomes else []
    why += ["skipped"] if outcomes - {"not checked"} else []
    return f"{len(waiting)} of {len(evidence)} not checked: {', '.join(why)}"


def css_class(word: str) -> str:
    """Return the CSS class that gives a verdict its colours."""
    return "bookrun-" + re.sub(r"[^a-z]+", "-", word.lower())
