"""Verdicts are computed from evidence: what passed speaks, what did not never helps."""

import itertools

import pytest

from bookrun.ledger.claims import Row
from bookrun.ledger.verdicts import VERDICTS, verdict
from findings import evidence

STATEMENT = Row("lem1", "Lemma 1", "It decreases.")
FURTHER = Row("lem1", "Lemma 1", "It falls.", erratum={"assumption": "$f$ is smooth."})
FIGURE = Row("lem1", "Figure 1", "It falls.", kind="figure")
ASSUMPTION = Row("lem1", "Assumption 1", "They meet.", kind="assumption")
OURS = Row("lem1", "(ours)", "It falls faster.", kind="ours")


@pytest.mark.parametrize(
    ("row", "kinds", "word"),
    [
        (STATEMENT, [], "not checked here"),
        (STATEMENT, ["control"], "not checked here"),
        (STATEMENT, ["numeric"], "holds"),
        (STATEMENT, ["numeric", "control"], "holds"),
        (STATEMENT, ["numeric", "symbolic"], "holds"),
        (STATEMENT, ["numeric", "counterexample"], "false"),
        (STATEMENT, ["symbolic", "counterexample"], "false"),
        (STATEMENT, ["numeric", "counterexample", "corrected"], "false as printed, corrected"),
        (STATEMENT, ["numeric", "corrected"], "not checked here"),  # nothing refutes it
        (FURTHER, ["numeric", "counterexample", "corrected"], "holds with a further assumption"),
        (FURTHER, ["numeric", "counterexample"], "false"),
        (ASSUMPTION, ["numeric", "symbolic"], "assumption"),
        (ASSUMPTION, ["counterexample", "corrected"], "false as printed, corrected"),
        (OURS, ["numeric", "symbolic"], "ours"),
        (FIGURE, [], "not checked here"),
        (FIGURE, ["control"], "not checked here"),
        (FIGURE, ["numeric"], "figure reproduced"),
        (FIGURE, ["numeric", "difference"], "figure reproduced in part"),
        (FIGURE, ["numeric", "counterexample"], "figure not reproduced"),
    ],
)
def test_verdict_follows_from_the_kinds_that_passed(row: Row, kinds: list[str], word: str) -> None:
    for order in itertools.permutations(kinds):
        assert verdict(row, [evidence(kind) for kind in order]).word == word


KINDS = ("symbolic", "numeric", "counterexample", "corrected", "difference", "control")


@pytest.mark.parametrize("outcome", ["failed", "not checked", "skipped", "unheard of"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_did_not_pass_never_counts_as_passed(kind: str, outcome: str) -> None:
    for row in (STATEMENT, FIGURE):
        alone = verdict(row, [evidence(kind, outcome)])
        assert alone.word in ("not checked here", "figure not reproduced")
        assert alone.note
        assert verdict(row, [evidence("control"), evidence(kind, outcome)]).word == alone.word


def test_what_fails_leaves_no_verdict_but_a_figures_failing_numbers_are_one() -> None:
    broken = verdict(STATEMENT, [evidence("symbolic"), evidence(outcome="failed")])
    assert (broken.word, broken.note) == ("not checked here", "failing: a")
    assert verdict(FIGURE, [evidence(), evidence(outcome="failed")]).word == "figure not reproduced"
    for kind in ("control", "symbolic", "difference"):
        found = verdict(FIGURE, [evidence(), evidence(kind, "failed")])
        assert found.word == "not checked here"


@pytest.mark.parametrize(
    ("row", "passed", "waits", "word"),
    [
        # a figure waits for all of its criteria
        (FIGURE, ["numeric"], "numeric", "not checked here"),
        (FIGURE, ["numeric"], "difference", "not checked here"),
        (FIGURE, ["numeric"], "control", "figure reproduced"),
        (FIGURE, ["counterexample"], "numeric", "figure not reproduced"),
        # a statement for what would refute or correct it
        (STATEMENT, ["symbolic"], "numeric", "holds"),
        (STATEMENT, ["numeric"], "symbolic", "holds"),
        (STATEMENT, ["symbolic"], "counterexample", "not checked here"),
        (STATEMENT, ["numeric"], "corrected", "not checked here"),
        (STATEMENT, ["symbolic", "counterexample"], "corrected", "false"),
        (STATEMENT, ["corrected"], "counterexample", "not checked here"),
    ],
)
def test_what_was_not_checked_withholds_a_verdict_that_it_might_speak_against(
    row: Row, passed: list[str], waits: str, word: str
) -> None:
    for outcome in ("not checked", "skipped"):
        items = [*(evidence(kind) for kind in passed), evidence(waits, outcome)]
        assert verdict(row, items).word == word


def test_the_note_counts_what_was_not_checked_and_says_why() -> None:
    waiting = evidence(outcome="not checked")
    assert verdict(FIGURE, [waiting]).note == "1 of 1 not checked: stand-in data"
    mixed = verdict(STATEMENT, [evidence(), waiting, evidence(outcome="skipped")])
    assert mixed.word == "holds"
    assert mixed.note == "2 of 3 not checked: stand-in data, skipped"


def test_every_verdict_is_a_word_of_the_fixed_vocabulary() -> None:
    for row in (STATEMENT, FURTHER, FIGURE, ASSUMPTION, OURS):
        for size in range(4):
            for kinds in itertools.combinations(KINDS, size):
                assert verdict(row, [evidence(kind) for kind in kinds]).word in VERDICTS
