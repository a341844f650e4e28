"""Verdicts are computed from evidence, and rows, tests and checks have to fit each other."""

import itertools
from pathlib import Path

import pytest

import trial
from bookrun.errors import BookError
from bookrun.evidence import Evidence
from bookrun.ledger import Row, load, mismatches, printed, summary, verdict


def evidence(kind: str = "numeric", outcome: str = "passed", **more: object) -> Evidence:
    given = {"claim": "lem1", "name": "a", "cases": 1, "where": "chapter convex", **more}
    return Evidence(kind=kind, outcome=outcome, **given)  # type: ignore[arg-type]


STATEMENT = Row("lem1", "Lemma 1", "It decreases.")
FIGURE = Row("lem1", "Figure 1", "It falls.", kind="figure")


@pytest.mark.parametrize(
    ("row", "kinds", "word"),
    [
        (STATEMENT, [], "not checked here"),
        (STATEMENT, ["control"], "not checked here"),
        (STATEMENT, ["numeric"], "verified"),
        (STATEMENT, ["numeric", "control"], "verified"),
        (STATEMENT, ["numeric", "symbolic"], "proved"),
        (STATEMENT, ["numeric", "counterexample"], "false as printed"),
        (STATEMENT, ["symbolic", "counterexample"], "false as printed"),
        (STATEMENT, ["numeric", "counterexample", "corrected"], "holds as corrected"),
        (FIGURE, [], "not checked here"),
        (FIGURE, ["control"], "not checked here"),
        (FIGURE, ["numeric"], "reproduced"),
        (FIGURE, ["numeric", "difference"], "reproduced with differences"),
        (FIGURE, ["numeric", "counterexample"], "not reproduced"),
    ],
)
def test_verdict_follows_from_the_kinds_that_passed(row: Row, kinds: list[str], word: str) -> None:
    for order in itertools.permutations(kinds):
        assert verdict(row, [evidence(kind) for kind in order]).word == word


def test_verified_counts_the_cases_but_not_those_of_controls() -> None:
    items = [evidence(cases=1000), evidence(cases=24), evidence("control", cases=7)]
    assert verdict(STATEMENT, items).text == "verified (1024 cases)"
    assert verdict(STATEMENT, [evidence()]).text == "verified (1 case)"


def test_evidence_that_failed_or_was_not_checked_never_counts_as_passed() -> None:
    for outcome in ("failed", "not checked", "skipped"):
        assert verdict(STATEMENT, [evidence("symbolic", outcome)]).word == "not checked here"
        assert verdict(FIGURE, [evidence("numeric", outcome)]).word in (
            "not checked here",
            "not reproduced",
        )
    assert verdict(FIGURE, [evidence(), evidence(outcome="failed")]).word == "not reproduced"
    broken = verdict(STATEMENT, [evidence("symbolic"), evidence(outcome="failed")])
    assert (broken.word, broken.note) == ("not checked here", "failing: a")


def test_stand_in_data_are_mentioned() -> None:
    waiting = evidence(outcome="not checked")
    assert verdict(FIGURE, [waiting]).note == "not checked on stand-in data"
    mixed = verdict(FIGURE, [evidence(), waiting])
    assert (mixed.word, mixed.note) == ("reproduced", "part of it not checked: stand-in data")


TEST = evidence(is_test=True, where="tests/theory/test_lem1.py::test_norms[3]")


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
    assert mismatches([row], [TEST, evidence()], "claims.yaml") == []


@pytest.mark.parametrize(
    ("row", "items", "sentence"),
    [
        (
            Row("lem1", "p", "s", tests=("tests/test_gone.py",)),
            [TEST],
            "row lem1 names test tests/test_gone.py, but no test of that name is marked",
        ),
        (
            Row("lem1", "p", "s", tests=("tests/theory/test_lem1.py",)),
            [evidence(where="tests/theory/test_lem1.py::test_norms", claim="lem1")],
            "row lem1 names test tests/theory/test_lem1.py",
        ),
        (
            Row("lem1", "p", "s", checks=("linear",)),
            [evidence()],
            'row lem1 names chapter linear, which has no check("lem1", …)',
        ),
        (
            Row("lem2", "p", "s"),
            [evidence(), TEST, TEST],
            "claim lem1 is no row of claims.yaml, but check 'a' in chapter convex and 1 more speak",
        ),
        (
            Row("lem1", "p", "s"),
            [evidence("hope")],
            "check 'a' in chapter convex is of kind 'hope', which is not one of symbolic",
        ),
        (
            Row("lem1", "p", "s"),
            [evidence("counterexample")],
            "row lem1 has a counterexample but no erratum",
        ),
    ],
)
def test_a_mismatch_is_a_sentence(row: Row, items: list[Evidence], sentence: str) -> None:
    (found,) = mismatches([row], items, "claims.yaml")
    assert found.startswith(sentence)


ROW = "- {id: lem1, place: Lemma 1, statement: It decreases.%s}\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (ROW % ", verdict: proved", "unknown field verdict; a verdict is computed, never typed"),
        (ROW % ", kind: guess", "kind 'guess' is not statement or figure"),
        (ROW % ", erratum: {excuse: none}", "an erratum holds printed, counterexample"),
        (ROW % ", uses: [lem0]", "it uses lem0, which is not a row"),
        (ROW % "" + ROW % "", "row lem1 is there 2 times"),
        ("- {id: lem1, place: Lemma 1}\n", "its statement is missing"),
        ("- lem1\n", "a row is a mapping with an id"),
        ("- {", "is not YAML"),
    ],
)
def test_a_wrong_row_is_an_error(tmp_path: Path, text: str, complaint: str) -> None:
    project = trial.make_project(tmp_path, {"intro": "# A"}, claims=text)
    with pytest.raises(BookError, match=r"^book/claims\.yaml") as caught:
        load(project)
    assert complaint in str(caught.value)


def test_the_summary_counts_verdicts_and_evidence() -> None:
    rows = [STATEMENT, Row("thm2", "Theorem 2", "s")]
    items = [evidence(), TEST, evidence("control", is_test=True, where="tests/t.py::test_b")]
    table = summary(rows, items)
    assert table["counts"] == {"verified": 1, "not checked here": 1}
    first = table["rows"][0]
    assert first["checks"] == {
        "count": 1, "cases": 1, "controls": 0, "where": ["chapter convex"],
    }  # fmt: skip
    assert first["tests"]["count"] == 2
    assert first["tests"]["controls"] == 1
    text = printed(table)
    assert "lem1  Lemma 1    verified (2 cases)  2      1" in text
    assert text.endswith("1 verified, 1 not checked here")


def test_the_books_own_ledger_can_be_read() -> None:
    from bookrun.project import Project

    assert {"lem1", "thm2", "thm3"} <= {row.id for row in load(Project(trial.ROOT))}
