"""Say how we know what the book states: by a proof in its text, exact arithmetic, or numbers.

One identity that holds proves nothing. A statement is proved where the text has a proof that names
its steps; how many of them a machine has checked is counted from the evidence that the row lists
for each. Everything else is evidence, and says how much there is of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bookrun.ledger.claims import Row
from bookrun.ledger.evidence import Evidence

PROOF = "proof in the text"
EXACT = "exact arithmetic"
NUMERICAL = "numerical"
NOTHING = "no evidence"


@dataclass(frozen=True)
class Basis:
    """The basis of a statement of the book."""

    word: str
    steps: tuple[str, ...] = ()
    machine: tuple[str, ...] = ()
    exact: int = 0
    cases: int = 0

    @property
    def text(self) -> str:
        """The word with its numbers: steps, of which a machine checked some, or cases."""
        if self.word == PROOF:
            if not self.machine:
                return PROOF
            return f"{PROOF}, {len(self.machine)} of {_plural(len(self.steps), 'step')} by machine"
        if self.word == EXACT:
            return f"{EXACT}, {_plural(self.exact, 'check')}"
        if self.word == NUMERICAL:
            return f"{NUMERICAL}, {_plural(self.cases, 'case')}"
        return self.word

    def to_dict(self) -> dict[str, Any]:
        """For the pages and for ``ledger.json``."""
        return {
            "word": self.word,
            "text": self.text,
            "steps": [{"name": name, "machine": name in self.machine} for name in self.steps],
            "exact": self.exact,
            "cases": self.cases,
        }


def basis(row: Row, evidence: Sequence[Evidence], steps: Sequence[str] = ()) -> Basis:
    """Return what a row's statement rests on; ``steps`` are those that its proof in the text names.

    A step counts as checked by a machine when all that the row lists for it is there and passed.
    Evidence that failed takes the proof down with it: something in the statement, the proof or
    the check is wrong. A counterexample speaks about the paper's words, not about ours.
    """
    if any(item.outcome == "failed" for item in evidence):
        return Basis(NOTHING)
    speaking = [
        item
        for item in evidence
        if item.outcome == "passed" and item.kind not in ("control", "counterexample")
    ]
    exact = sum(item.kind == "symbolic" for item in speaking)
    cases = sum(item.cases for item in speaking if item.kind != "symbolic")
    if steps:
        machine = tuple(step for step in steps if _checked(row.steps.get(step, ()), evidence))
        return Basis(PROOF, tuple(steps), machine, exact, cases)
    if cases:
        return Basis(NUMERICAL, exact=exact, cases=cases)
    return Basis(EXACT, exact=exact) if exact else Basis(NOTHING)


def _checked(names: Sequence[str], evidence: Sequence[Evidence]) -> bool:
    mine = [[item for item in evidence if speaks(item, name)] for name in names]
    return bool(mine) and all(
        found and all(item.outcome == "passed" for item in found) for found in mine
    )


def speaks(item: Evidence, name: str) -> bool:
    """Return whether the evidence is the check of this name, or the test with any parameters."""
    return item.name == name or (item.is_test and item.name.partition("[")[0] == name)


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
