"""A mutation is applied where it is meant, and only a statement that fails turns a verdict."""

from pathlib import Path

import pytest

import trial
from bookrun.errors import BookError
from bookrun.ledger.claims import Row
from bookrun.ledger.mutation_run import SKIPPED, SURVIVED, TURNED, lacking, run_mutations
from bookrun.ledger.mutations import Mutation, declared, mutated
from bookrun.project import Project

TEST = """\
import pytest

HALF = 1 / 2


def area(a, b):
    return a * b * HALF


@pytest.mark.claim("thm3", kind="corrected")
@pytest.mark.mutation("constant", "1 / 2", "1 / 3", within="HALF")
@pytest.mark.mutation("inequality", "== 6", "<= 6")
@pytest.mark.mutation("formula", "area(3, 4)", "volume(3, 4)")
@pytest.mark.mutation("sign", "a * b", "a - b", within="area")
def test_area():
    assert area(3, 4) == 6


@pytest.mark.claim("lem1")
@pytest.mark.mutation("sign", "1 <", "1 >")
def test_that_fails_by_itself():
    assert 1 < 0
"""


def write(root: Path, text: str = TEST) -> Project:
    project = trial.make_project(root, {"intro": "# A"})
    (root / "tests").mkdir()
    (root / "tests" / "test_area.py").write_text(text)
    (root / "pyproject.toml").write_text(
        '[tool.pytest.ini_options]\nmarkers = ["claim(id)", "mutation(change)"]\n'
    )
    return project


def test_mutations_are_declared_beside_the_evidence(tmp_path: Path) -> None:
    found = declared(write(tmp_path))
    assert found[0] == Mutation(
        ("thm3",), "tests/test_area.py::test_area", "constant", "1 / 2", "1 / 3", "HALF"
    )
    assert len(found) == 5
    rows = [Row(name, "p", "s", tests=("t",)) for name in ("thm3", "lem1", "thm2")]
    assert lacking([*rows, Row("fig1", "p", "s")], found) == ["lem1", "thm2", "fig1"]


def test_the_text_is_changed_where_it_is_meant(tmp_path: Path) -> None:
    first, second, *_ = declared(write(tmp_path))
    file, text = mutated(tmp_path, first)
    assert file == "tests/test_area.py"
    assert text == TEST.replace("HALF = 1 / 2", "HALF = 1 / 3")
    assert mutated(tmp_path, second)[1] == TEST.replace(" 4) == 6", " 4) <= 6")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ('"constant", "7", "8"', "'7' is 0 times in test_area, not once"),
        ('"constant", "a", "b"', "'a' is 5 times in test_area, not once"),
        ('"constant", "7", "8", within="lib/no.py"', "there is no lib/no.py to mutate"),
        ('"whim", "7", "8"', "write mutation(CHANGE, TEXT, BECOMES"),
        ('"sign", "7"', "write mutation(CHANGE, TEXT, BECOMES"),
        ('"sign", SEVEN, "8"', "declared by plain strings"),
    ],
)
def test_a_wrong_declaration_is_a_sentence(tmp_path: Path, wrong: str, sentence: str) -> None:
    text = TEST.replace('"inequality", "== 6", "<= 6"', wrong)
    project = write(tmp_path, text)
    with pytest.raises(BookError) as caught:
        mutated(tmp_path, declared(project)[1])
    assert sentence in str(caught.value)


def test_only_a_statement_that_fails_turns_the_verdict(tmp_path: Path) -> None:
    project = write(tmp_path)
    words = [outcome.word for outcome in run_mutations(tmp_path, declared(project))]
    assert words == [
        TURNED,
        SURVIVED,
        "broken, not refuted: NameError",
        TURNED,
        "its test does not pass as it is: turned",
    ]


def test_a_skipped_test_is_no_evidence_either_way(tmp_path: Path) -> None:
    text = """\
import pytest


@pytest.mark.claim("thm3")
@pytest.mark.mutation("constant", "2", "3")
@pytest.mark.mutation("sign", "1 <", "1 >")
def test_that_needs_data():
    pytest.skip("no data")
    assert 1 < 2


@pytest.mark.claim("thm3")
@pytest.mark.mutation("constant", "4", "0")
@pytest.mark.mutation("formula", "assert", "pytest.skip(); assert")
def test_that_does_not():
    assert 1 < 4
"""
    project = write(tmp_path, text)
    words = [outcome.word for outcome in run_mutations(tmp_path, declared(project))]
    broken = "broken, not refuted: its test passes as it is, and is skipped with it"
    assert words == [SKIPPED, SKIPPED, TURNED, broken]


def test_a_file_beside_the_code_is_changed_in_the_copy_alone(tmp_path: Path) -> None:
    text = """\
import pytest


@pytest.mark.claim("fig1")
@pytest.mark.mutation("constant", "[3, 2, 1]", "[3, 2, 4]", within="recorded/fig1.json")
@pytest.mark.mutation("sign", "[3, 2, 1]", "[-3, 2, 1]", within="recorded/fig1.json")
def test_it_falls():
    losses = eval(open("recorded/fig1.json").read())
    assert losses == sorted(losses, reverse=True)
"""
    project = write(tmp_path, text)
    recorded = project.recorded("fig1")
    recorded.parent.mkdir()
    recorded.write_text("[3, 2, 1]")
    for _ in range(2):
        outcomes = run_mutations(tmp_path, declared(project))
        assert [outcome.word for outcome in outcomes] == [TURNED, TURNED]
        assert recorded.read_text() == "[3, 2, 1]"


def test_the_books_mutations_can_be_applied() -> None:
    project = Project(trial.ROOT)
    for mutation in declared(project):
        _, text = mutated(project.root, mutation)
        compile(text, mutation.test, "exec")


def test_a_sample_of_the_books_mutations_turns_its_verdicts() -> None:
    project = Project(trial.ROOT)
    found = declared(project)
    sample = found[:: max(1, len(found) // 4)]
    outcomes = list(run_mutations(project.root, sample))
    assert any(outcome.good for outcome in outcomes)  # some need no data
    assert [outcome for outcome in outcomes if outcome.checked and not outcome.good] == []
