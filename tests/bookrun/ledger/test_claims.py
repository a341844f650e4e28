"""The ledger's rows are read strictly: what is wrong with one is a sentence."""

import itertools
from pathlib import Path

import pytest

import trial
from bookrun.errors import BookError
from bookrun.ledger.claims import Row, load
from bookrun.project import Project

ROW = "- {id: lem1, place: Lemma 1, statement: It decreases.%s}\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (ROW % ", verdict: proved", "unknown field verdict; a verdict is computed, never typed"),
        (ROW % ", kind: guess", "kind 'guess' is not statement, figure, assumption, ours"),
        (ROW % ", steps: {expand: }", "steps gives for each step the tests and checks"),
        (ROW % ", erratum: {excuse: none}", "an erratum holds printed, counterexample"),
        (ROW % ", uses: [lem0]", "it uses lem0, which is not a row"),
        (ROW % ", uses: [lem1]", "these do so in a circle: lem1 uses lem1"),
        (ROW % "" + ROW % "", "row lem1 is there 2 times"),
        ("- {id: lem1, place: Lemma 1}\n", "its statement is missing"),
        ("- lem1\n", "a row is a mapping with an id"),
        ("- {", "line 1: while parsing"),
    ],
)
def test_a_wrong_row_is_an_error(tmp_path: Path, text: str, complaint: str) -> None:
    project = trial.make_project(tmp_path, {"intro": "# A"}, claims=text)
    with pytest.raises(BookError, match=r"^book/claims\.yaml") as caught:
        load(project)
    assert complaint in str(caught.value)


def test_statements_that_rest_on_each_other_in_a_circle_are_named(tmp_path: Path) -> None:
    uses = {"lem1": ["asm1"], "thm2": ["lem1", "fig2"], "fig2": ["thm3"], "thm3": ["thm2"]}
    text = "".join(
        f"- {{id: {name}, place: P, statement: S, uses: [{', '.join(below)}]}}\n"
        for name, below in uses.items()
    )
    text += "- {id: asm1, place: P, statement: S}\n"
    project = trial.make_project(tmp_path, {"intro": "# A"}, claims=text)
    with pytest.raises(BookError, match="no statement can rest on itself") as caught:
        load(project)
    steps = str(caught.value).partition("circle: ")[2].split(", ")
    assert sorted(steps) == ["fig2 uses thm3", "thm2 uses fig2", "thm3 uses thm2"]
    assert all(a.split()[2] == b.split()[0] for a, b in itertools.pairwise(steps))


def test_the_command_of_a_row_runs_its_tests_or_else_its_chapter() -> None:
    both = Row("lem1", "p", "s", tests=("t.py",), checks=("convex",))
    assert both.command == "make test CLAIM=lem1"
    assert Row("fig1", "p", "s", checks=("convex", "x")).command == "make chapter CHAPTER=convex"
    assert Row("fig8", "p", "s").command == ""


def test_the_books_own_ledger_can_be_read() -> None:
    assert {"lem1", "thm2", "thm3"} <= {row.id for row in load(Project(trial.ROOT))}
