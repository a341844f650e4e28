"""The computed ledger counts verdicts and evidence, for the pages and for the terminal."""

import trial
from bookrun.ledger.claims import Row, load
from bookrun.ledger.summary import printed, summary
from bookrun.project import Project
from findings import evidence


def test_the_summary_counts_verdicts_and_evidence() -> None:
    rows = [Row("lem1", "Lemma 1", "It decreases."), Row("thm2", "Theorem 2", "s")]
    test = evidence(is_test=True, where="tests/theory/test_lem1.py::test_norms[3]")
    items = [evidence(), test, evidence("control", is_test=True, where="tests/t.py::test_b")]
    table = summary(rows, items)
    assert table["counts"] == {"holds": 1, "not checked here": 1}
    first = table["rows"][0]
    assert first["checks"] == {
        "count": 1, "cases": 1, "controls": 0, "where": ["chapter convex"],
    }  # fmt: skip
    assert (first["tests"]["count"], first["tests"]["cases"]) == (2, 1)
    assert first["tests"]["controls"] == 1
    text = printed(table)
    assert "lem1  Lemma 1    holds                  numerical, 2 cases  2      1" in text
    assert text.endswith("1 holds, 1 not checked here")


def test_three_errata_of_the_book_have_a_headline() -> None:
    rows = load(Project(trial.ROOT))
    assert sum("headline" in row.erratum for row in rows) == 3
