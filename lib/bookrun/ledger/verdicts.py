"""The verdict on a statement, computed from what the runs found about it.

What a passing piece of evidence says about its claim is its kind: ``symbolic`` (an algebraic
proof step), ``numeric`` (an inequality or a number held over cases), ``counterexample`` (the
printed statement fails there), ``corrected`` (the corrected statement holds), ``difference`` (a
figure departs from the paper's in this way), ``control`` (the check fails where it should).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bookrun.ledger.claims import Row
from bookrun.ledger.evidence import Evidence

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

#: Evidence that the statement as printed is not the true one.
_AGAINST = {"counterexample", "corrected"}


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


def verdict(row: Row, evidence: Sequence[Evidence]) -> Verdict:
    """The verdict on one row from the evidence on it.

    Only what passed speaks, and controls alone say nothing. What failed leaves the row without a
    verdict, except that a figure's failing numbers are a verdict. What was not checked (data that
    were not there, a test that was skipped) never helps, and withholds the verdict where it might
    have spoken against it: a figure waits for all of its criteria, a statement for what would
    refute or correct it.
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
        withheld = not kinds & _AGAINST and bool(awaited & _AGAINST)
    if not kinds or withheld:
        return Verdict(UNCHECKED, note=note)
    word = _figure(kinds) if row.kind == "figure" else _statement(kinds)
    return Verdict(word, sum(item.cases for item in passed), note)


def _statement(kinds: set[str]) -> str:
    """The word for a statement on which evidence of these kinds passed."""
    if "corrected" in kinds:
        return CORRECTED
    if "counterexample" in kinds:
        return FALSE
    return PROVED if "symbolic" in kinds else VERIFIED


def _figure(kinds: set[str]) -> str:
    """The word for a figure on which evidence of these kinds passed."""
    if "counterexample" in kinds:
        return NOT_REPRODUCED
    return DIFFERENT if "difference" in kinds else REPRODUCED


def _waiting_note(evidence: Sequence[Evidence], waiting: Sequence[Evidence]) -> str:
    """How much of the evidence was not checked, and why."""
    if not waiting:
        return ""
    outcomes = {item.outcome for item in waiting}
    why = ["stand-in data"] if "not checked" in outcomes else []
    why += ["skipped"] if outcomes - {"not checked"} else []
    return f"{len(waiting)} of {len(evidence)} not checked: {', '.join(why)}"
