"""Tests that are marked with a claim leave their outcome, whole runs only, and go stale."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import trial
from bookrun.ledger import test_results
from bookrun.ledger.evidence import from_tests
from bookrun.project import Project

MODULE = "tests/test_claims.py"
TESTS = """\
import pytest
from house.hall import enter
from hypothesis import given, settings, strategies as st

@pytest.mark.claim("lem1")
@pytest.mark.parametrize("n", [1, 2])
def test_numbers(n): assert n < BOUND

@pytest.mark.claim("lem1", kind="symbolic")
@pytest.mark.claim("thm2")
def test_two_claims(record_property): record_property("cases", 40)

@pytest.mark.claim("lem1", kind="control")
@settings(max_examples=30, database=None)
@given(st.integers(0, 10**6))
def test_many(n): assert n >= 0

def test_of_no_claim(): pass
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    found = trial.make_project(tmp_path, {"intro": "# A"})
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_claims.py").write_text(TESTS.replace("BOUND", "3"))
    (tmp_path / "tests" / "support").mkdir()
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\ntestpaths = tests\npythonpath = tests/support lib\n"
    )
    return found


def run(project: Project, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "bookrun.ledger.pytest_plugin",
        "-q",
        *arguments,
    ]
    return subprocess.run(command, cwd=project.root, capture_output=True, text=True, check=False)


def recorded(project: Project, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return run(project, f"--claim-evidence={project.test_evidence}", *arguments)


@pytest.mark.parametrize("parallel", [(), ("-n", "2")], ids=["one process", "xdist"])
def test_outcomes_kinds_and_cases_are_recorded(project: Project, parallel: tuple[str, ...]) -> None:
    assert test_results.stale(project) == {MODULE: "never run"}
    assert recorded(project, "-m", "claim", *parallel).returncode == 0
    found = {(e.where.partition("::")[2], e.claim): e for e in from_tests(project.test_evidence)}
    assert {name: (e.kind, e.cases, e.outcome) for name, e in found.items()} == {
        ("test_numbers[1]", "lem1"): ("numeric", 1, "passed"),
        ("test_numbers[2]", "lem1"): ("numeric", 1, "passed"),
        ("test_two_claims", "lem1"): ("symbolic", 40, "passed"),
        ("test_two_claims", "thm2"): ("numeric", 40, "passed"),
        ("test_many", "lem1"): ("control", 30, "passed"),
    }
    assert test_results.stale(Project(project.root)) == {}


def test_evidence_goes_stale_module_by_module(project: Project) -> None:
    tests = project.root / "tests"
    other = "tests/test_other.py"
    mark = 'import pytest, helper\n@pytest.mark.claim("lem1")\ndef test_a(): pass\n'
    (project.root / other).write_text(mark)
    (tests / "support" / "helper.py").write_text("")
    (tests / "test_more.py").write_text("")
    assert recorded(project, "-m", "claim").returncode == 0
    (tests / "test_more.py").write_text("x = 1\n")
    (project.root / "lib" / "house" / "door.py").write_text("")
    assert test_results.stale(Project(project.root)) == {}
    (project.root / "lib" / "house" / "wall.py").write_text("height = 2\n")
    (tests / "support" / "helper.py").write_text("x = 1\n")
    assert test_results.stale(Project(project.root)) == {
        MODULE: "house.wall changed", other: "tests/support/helper.py changed"
    }  # fmt: skip
    assert recorded(project, "-m", "claim", MODULE).returncode == 0  # the other's stays on file
    assert set(test_results.stale(Project(project.root))) == {other}
    assert len(from_tests(project.test_evidence)) == 6
    (tests / "conftest.py").write_text("")
    assert len(test_results.stale(Project(project.root))) == 2


def test_what_still_stands_is_left_out_where_all_cases_were_run(project: Project) -> None:
    assert recorded(project, "-m", "claim", "--claim-cases=0.5").returncode == 0
    many = [e.cases for e in from_tests(project.test_evidence) if e.kind == "control"]
    assert many == [15]
    assert test_results.stale(Project(project.root)) == {}
    assert test_results.stale(project, reduced=False) == {MODULE: "run with fewer cases"}
    assert "5 passed" in recorded(project, "--claim-reuse").stdout
    again = run(project, f"--claim-evidence={project.test_evidence}", "--claim-reuse", "-v").stdout
    assert "1 passed, 4 deselected" in again
    assert "claim tests of 1 modules stand as they were found" in again
    many = [e.cases for e in from_tests(project.test_evidence) if e.kind == "control"]
    assert many == [30]


def test_a_failure_is_recorded_and_run_again(project: Project) -> None:
    (project.root / "tests" / "test_claims.py").write_text(TESTS.replace("BOUND", "2"))
    assert recorded(project, "-m", "claim").returncode == 1
    failed = [e.where for e in from_tests(project.test_evidence) if e.outcome == "failed"]
    assert failed == ["tests/test_claims.py::test_numbers[2]"]
    assert test_results.stale(Project(project.root)) == {MODULE: f"failed last time: {failed[0]}"}


def test_a_run_that_did_not_finish_leaves_no_evidence(project: Project) -> None:
    (project.root / "tests" / "test_broken.py").write_text("import nothing_of_that_name\n")
    assert recorded(project, "-m", "claim").returncode == 2
    assert not project.test_evidence.exists()


def test_one_claims_tests_can_be_run_alone(project: Project) -> None:
    project.claims.write_text("- {id: thm2, place: Theorem 2, statement: It vanishes.}\n")
    result = run(project, "--claim", "thm2")
    assert "1 passed, 4 deselected" in result.stdout


def test_a_claim_that_is_no_row_is_refused(project: Project) -> None:
    project.claims.write_text("- {id: lem1, place: Lemma 1, statement: It decreases.}\n")
    result = run(project, "--claim", "lem7")
    assert result.returncode == 4
    assert "CLAIM=lem7 is no row of the ledger; it has: lem1" in result.stderr + result.stdout


@pytest.mark.parametrize(
    "mark", ["claim()", 'claim("a", "b")', 'claim("a", kind="hope")', "claim(1)"]
)
def test_a_wrong_mark_is_an_error(project: Project, mark: str) -> None:
    text = f"import pytest\n@pytest.mark.{mark}\ndef test_a(): pass\n"
    (project.root / "tests" / "test_claims.py").write_text(text)
    result = run(project)
    assert result.returncode == 4
    assert "tests/test_claims.py::test_a: " in result.stderr + result.stdout


def test_evidence_is_json_that_a_person_can_read(project: Project) -> None:
    recorded(project, "-m", "claim")
    content = json.loads(project.test_evidence.read_text())
    assert set(content["modules"][MODULE]["inputs"]) == {
        "files", "modules", "lock", "python", "data"
    }  # fmt: skip
