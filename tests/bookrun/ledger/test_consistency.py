"""Rows, tests and checks have to fit each other, and where they do not a sentence says so."""

from typing import Any

import pytest

from bookrun.ledger.claims import Row
from bookrun.ledger.consistency import mismatches
from bookrun.ledger.evidence import Evidence
from findings import evidence

FILE = "tests/theory/test_lem1.py"
TEST = evidence(is_test=True, where=f"{FILE}::test_norms[3]")
CONTROL = evidence("control", name="c")


@pytest.mark.parametrize(
    "pattern",
    [
        "tests/theory/test_lem1.py",
        "tests/theory/test_lem1.py::test_norms",
        "tests/theory/test_lem1.py::test_norms[3]",
        "tests/theory/test_lem1.py::test_n*",
        "tests/*/test_lem1.py::*",
    ],
)
def test_a_row_names_tests_by_file_by_node_id_or_by_glob(pattern: str) -> None:
    row = Row("lem1", "Lemma 1", "It decreases.", tests=(pattern,), checks=("convex",))
    assert mismatches([row], [TEST, evidence(), CONTROL], "claims.yaml") == []


ERRATUM = {"printed": "p", "counterexample": "x", "corrected": "c", "survives": "s"}


def row(**more: Any) -> Row:
    return Row("lem1", "Lemma 1", "It decreases.", **{"checks": ("convex",), **more})


@pytest.mark.parametrize(
    ("given", "items", "sentence"),
    [
        (
            row(tests=("tests/test_gone.py",)),
            [evidence()],
            "row lem1 names test tests/test_gone.py, but no test of that name is marked "
            '@pytest.mark.claim("lem1")',
        ),
        (
            row(tests=(FILE,)),
            [evidence(where="chapter convex", name=FILE)],
            f"row lem1 names test {FILE}, but no test of that name",
        ),
        (
            row(checks=("convex", "linear")),
            [evidence()],
            'row lem1 names chapter linear, which has no check("lem1", …)',
        ),
        (
            row(),
            [evidence(), evidence(where="chapter linear"), evidence(where="chapter linear")],
            'chapter linear has check("lem1", …), but row lem1 does not name linear among its',
        ),
        (
            row(tests=(f"{FILE}::test_sums",)),
            [
                evidence(is_test=True, where=f"{FILE}::test_sums"),
                *(evidence(is_test=True, where=f"{FILE}::test_norms[{k}]") for k in range(3)),
                evidence(is_test=True, where=f"{FILE}::test_other"),
                evidence(),
            ],
            f"row lem1 names no test that covers test {FILE}::test_norms and 1 more, "
            'marked @pytest.mark.claim("lem1")',
        ),
        (
            row(),
            [
                evidence(claim="lem0"),
                evidence(claim="lem0", is_test=True, where=f"{FILE}::test_a"),
                evidence(claim="lem0", is_test=True, where=f"{FILE}::test_a"),
                evidence(),
            ],
            "claim lem0 is no row of claims.yaml, but check 'a' in chapter convex and 1 more speak",
        ),
        (
            row(),
            [evidence("hope")],
            "check 'a' in chapter convex is of kind 'hope', which is not one of symbolic",
        ),
        (
            row(),
            [evidence("counterexample")],
            "row lem1 has a counterexample but no erratum that shows it",
        ),
        (
            row(),
            [evidence("corrected")],
            "row lem1 has a correction but no erratum that shows it",
        ),
        (
            row(erratum=ERRATUM),
            [evidence("corrected")],
            "row lem1 has an erratum, but no test or check shows a counterexample",
        ),
        (
            row(erratum=ERRATUM),
            [evidence("counterexample")],
            "row lem1 gives a corrected form, but no test or check shows that it holds",
        ),
        (
            row(erratum=ERRATUM, kind="figure"),
            [evidence()],
            "row lem1 has an erratum, but no test or check shows a difference",
        ),
        (
            row(),
            [evidence("difference")],
            "check 'a' in chapter convex cannot be of kind 'difference': row lem1 is a statement",
        ),
        (
            row(kind="figure"),
            [evidence("corrected")],
            "check 'a' in chapter convex cannot be of kind 'corrected': row lem1 is a figure",
        ),
    ],
)
def test_a_mismatch_is_a_sentence(given: Row, items: list[Evidence], sentence: str) -> None:
    (found,) = mismatches([given], [*items, CONTROL], "claims.yaml")
    assert found.startswith(sentence)


@pytest.mark.parametrize("kind", ["symbolic", "numeric"])
def test_evidence_that_passes_asks_for_a_negative_control(kind: str) -> None:
    (found,) = mismatches([row()], [evidence(kind)], "claims.yaml")
    assert found.startswith("row lem1 has no negative control: a test or a check of kind")
    for outcome in ("passed", "not checked"):
        control = evidence("control", outcome)
        assert mismatches([row()], [evidence(kind), control], "claims.yaml") == []


def test_no_control_is_asked_for_where_nothing_was_checked() -> None:
    assert mismatches([row()], [evidence(outcome="not checked")], "claims.yaml") == []
    assert mismatches([row(checks=())], [], "claims.yaml") == []


def test_what_is_absent_is_said_once() -> None:
    (found,) = mismatches([row(erratum=ERRATUM)], [], "claims.yaml")
    assert found.startswith("row lem1 names chapter convex")


def test_an_erratum_that_nothing_computes_is_no_erratum() -> None:
    found = mismatches([row(checks=(), erratum=ERRATUM)], [], "claims.yaml")
    assert len(found) == 2


def test_steps_are_named_in_a_proof_and_checked_by_what_is_there() -> None:
    stepped = row(steps={"expand": ("a", "test_gone")})
    found = mismatches([stepped], [evidence(), CONTROL], "claims.yaml", {"lem1": ("sum",)})
    assert found == [
        "row lem1: step 'expand' is checked by 'test_gone', which is not there",
        "row lem1: no proof in the text names the step 'expand'",
    ]
    named = {"lem1": ("expand",), "lem9": ("sum",)}
    found = mismatches([row(steps={"expand": ("a",)})], [evidence(), CONTROL], "c.yaml", named)
    assert found == ["a proof names steps of lem9, which is no row of c.yaml"]


def test_a_statement_of_ours_has_nothing_printed_to_correct() -> None:
    items = [evidence("counterexample"), evidence("corrected"), CONTROL]
    assert mismatches([row(kind="ours")], items, "claims.yaml") == []
    (found,) = mismatches([row(kind="ours", erratum=ERRATUM)], items, "claims.yaml")
    assert found == "row lem1 is ours: there is nothing printed to correct"
