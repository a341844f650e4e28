"""Compare the ledger's rows, the tests and the chapters' checks with each other."""

import fnmatch
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import get_args

from bookrun.ledger.basis import speaks
from bookrun.ledger.claims import Row
from bookrun.ledger.evidence import Evidence
from bookrun.outputs import Kind


def mismatches(
    rows: Sequence[Row],
    evidence: Sequence[Evidence],
    where: str,
    steps: Mapping[str, Sequence[str]] | None = None,
) -> list[str]:
    """Return where rows, tests, checks and proofs do not fit each other, one sentence each.

    ``steps`` are those that the proofs in the text name, by claim; without it the proofs are not
    looked at.
    """
    found = list(_nobodys(rows, evidence, where))
    for row in rows:
        mine = [item for item in evidence if item.claim == row.id]
        for problems in (_absent, _undeclared, _uncontrolled, _misfitting, _unfounded_steps):
            found += problems(row, mine)
        if steps is not None:
            found += _unnamed_steps(row, steps.get(row.id, ()))
    if steps is not None:
        for claim in sorted(set(steps) - {row.id for row in rows}):
            found.append(f"a proof names steps of {claim}, which is no row of {where}")
    return found


def _nobodys(rows: Sequence[Row], evidence: Sequence[Evidence], where: str) -> Iterator[str]:
    """Evidence on a claim that is no row, and evidence of no known kind."""
    ids = {row.id for row in rows}
    kinds = get_args(Kind)
    ordered = sorted(evidence, key=lambda item: (item.claim, item.where))
    strays: dict[str, list[Evidence]] = {}
    for item in ordered:
        if item.claim not in ids:
            strays.setdefault(item.claim, []).append(item)
    for claim, items in strays.items():
        yield f"claim {claim} is no row of {where}, but {_named(items)} speak for it"
    strange = [item for item in ordered if item.kind not in kinds]
    for who, kind in dict.fromkeys((_who(item), item.kind) for item in strange):
        yield f"{who} is of kind {kind!r}, which is not one of {', '.join(kinds)}"


def _absent(row: Row, mine: Sequence[Evidence]) -> Iterator[str]:
    """Yield what the row names and nobody collected."""
    for pattern in row.tests:
        if not any(item.is_test and _matches(item.where, pattern) for item in mine):
            yield (
                f"row {row.id} names test {pattern}, but no test of that name is marked "
                f'@pytest.mark.claim("{row.id}")'
            )
    for chapter in row.checks:
        if not any(item.where == f"chapter {chapter}" for item in mine):
            yield f'row {row.id} names chapter {chapter}, which has no check("{row.id}", …)'


def _undeclared(row: Row, mine: Sequence[Evidence]) -> Iterator[str]:
    """Yield what was collected and the row does not name."""
    named = {f"chapter {chapter}" for chapter in row.checks}
    for place in dict.fromkeys(item.where for item in mine if not item.is_test):
        if place not in named:
            chapter = place.removeprefix("chapter ")
            yield (
                f'{place} has check("{row.id}", …), but row {row.id} does not name {chapter} '
                f"among its checks"
            )
    files: dict[str, list[Evidence]] = {}
    for item in mine:
        if item.is_test and not any(_matches(item.where, pattern) for pattern in row.tests):
            files.setdefault(item.where.partition("::")[0], []).append(item)
    for items in files.values():
        yield (
            f"row {row.id} names no test that covers {_named(items)}, "
            f'marked @pytest.mark.claim("{row.id}")'
        )


def _uncontrolled(row: Row, mine: Sequence[Evidence]) -> Iterator[str]:
    """Evidence without a negative control; none is asked for where nothing could be checked."""
    passed = any(item.outcome == "passed" for item in mine)
    if passed and not any(item.kind == "control" for item in mine):
        yield (
            f'row {row.id} has no negative control: a test or a check of kind "control", which '
            f"drops an assumption or puts in a wrong constant and sees the statement fail"
        )


def _misfitting(row: Row, mine: Sequence[Evidence]) -> Iterator[str]:
    """Kinds of evidence that do not go with what the row is, or with its erratum."""
    figure = row.kind == "figure"
    alien = "corrected" if figure else "difference"
    kinds = {item.kind for item in mine}
    if row.kind == "ours" and (row.erratum or kinds & {"counterexample", "corrected"}):
        yield f"row {row.id} is ours: there is nothing printed to refute or to correct"
        return
    if alien in kinds:
        items = [item for item in mine if item.kind == alien]
        yield f"{_named(items)} cannot be of kind {alien!r}: row {row.id} is a {row.kind}"
    if not row.erratum:
        for kind, word in (("counterexample", "a counterexample"), ("corrected", "a correction")):
            if kind in kinds and kind != alien:
                yield f"row {row.id} has {word} but no erratum that shows it"
        return
    if not mine and (row.tests or row.checks):
        return  # what it names is absent, and that is said already
    if not kinds & {"counterexample", "difference"}:
        missing = "a difference" if figure else "a counterexample"
        yield f"row {row.id} has an erratum, but no test or check shows {missing}"
    if "corrected" in row.erratum and not figure and "corrected" not in kinds:
        yield f"row {row.id} gives a corrected form, but no test or check shows that it holds"


def _unfounded_steps(row: Row, mine: Sequence[Evidence]) -> Iterator[str]:
    """Steps said to be checked by what was not collected."""
    for step, names in row.steps.items():
        for name in names:
            if not any(speaks(item, name) for item in mine):
                yield f"row {row.id}: step {step!r} is checked by {name!r}, which is not there"


def _unnamed_steps(row: Row, named: Sequence[str]) -> Iterator[str]:
    """Steps that a machine is said to have checked and that no proof names."""
    for step in row.steps:
        if step not in named:
            yield f"row {row.id}: no proof in the text names the step {step!r}"


def _named(items: Sequence[Evidence]) -> str:
    """Return the first of the tests or checks, and how many more there are."""
    first, *others = dict.fromkeys(_who(item) for item in items)
    return f"{first} and {len(others)} more" if others else first


def _who(item: Evidence) -> str:
    if item.is_test:
        return f"test {item.where.partition('[')[0]}"
    return f"check {item.name!r} in {item.where}"


def _matches(node_id: str, pattern: str) -> bool:
    """Return whether a file, a node id without parameters or a glob of those names the test."""
    bare = node_id.partition("[")[0]
    if pattern in (node_id, bare, node_id.partition("::")[0]):
        return True
    if "*" not in pattern:
        return False
    return re.fullmatch(fnmatch.translate(pattern.replace("[", "[[]")), bare) is not None
