"""record-check agrees with an honest record, and catches a tampered, foreign or outdated one."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import recordings
from bookrun.cli import main
from bookrun.commands.record import record
from bookrun.commands.record_check import check
from bookrun.experiments import case, figures
from bookrun.experiments.comparison import replay
from bookrun.experiments.records import load
from bookrun.project import Project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    made = recordings.make(tmp_path, monkeypatch)
    record(made, "tiny", "cpu")
    return made


def tamper(project: Project, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the record's file."""
    path = project.recorded("tiny")
    found = json.loads(path.read_text())
    change(found)
    path.write_text(json.dumps(found))


def test_an_honest_record_agrees(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(project, [], steps=100) == []
    said = capsys.readouterr().out
    assert said.count("agrees") == 2
    assert "has not changed since" in said


def test_only_as_many_rounds_are_replayed_as_the_steps_allow(project: Project) -> None:
    first = load(project.recorded("tiny")).cases[0]  # two steps a round
    assert replay(first, steps=5).rounds == 2
    assert replay(first, steps=1).rounds == 0
    assert replay(first, steps=1).agrees


def test_rounds_that_rounding_reaches_are_not_compared(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(at: int) -> None:
        tamper(project, lambda found: found["cases"][0]["columns"]["loss"].__setitem__(at, 9.0))

    change(2)
    assert replay(load(project.recorded("tiny")).cases[0], steps=100).held >= 2
    assert len(check(project, ["tiny"], steps=100)) == 1
    monkeypatch.setattr(
        "bookrun.experiments.comparison.NUDGE", 0.1
    )  # a machine that rounds to one digit
    assert replay(load(project.recorded("tiny")).cases[0], steps=100).held == 0
    assert check(project, ["tiny"], steps=100) == []
    change(0)
    assert len(check(project, ["tiny"], steps=100)) == 1


@pytest.mark.parametrize("column", ["loss", "grad_norm_sq"])
def test_a_number_changed_by_a_few_percent_is_caught(project: Project, column: str) -> None:
    def change(found: dict[str, Any]) -> None:
        found["cases"][0]["columns"][column][2] *= 1.05

    tamper(project, change)
    (problem,) = check(project, ["tiny"], steps=100)
    assert recordings.TINY.name in problem
    assert "is not what the code gives now" in problem


def test_changed_step_counts_are_caught(project: Project) -> None:
    def change(found: dict[str, Any]) -> None:
        found["cases"][1]["columns"]["local_steps"][1] = [3, 3]

    tamper(project, change)
    (problem,) = check(project, ["tiny"], steps=100)
    assert "step counts differ" in problem


def test_other_pixels_are_caught(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def brighter(split: str, *, first: int, source: str = "auto") -> recordings.Dataset:
        return recordings.images(split, first=first, shift=0.5)

    monkeypatch.setitem(case._DATA, "lenet", brighter)
    assert len(check(project, ["tiny"], steps=100)) == 2


def test_other_data_are_named(project: Project) -> None:
    tamper(project, lambda found: found["data"].update(sha256={"images": "cd" * 32}))
    (problem,) = check(project, ["tiny"], steps=100)
    assert "it was made of other data" in problem


def test_a_record_by_older_code_is_flagged(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    tamper(project, lambda found: found["cases"][1]["made"].update(code="0" * 64))
    assert check(project, ["tiny"], steps=100) == []
    assert "has changed since" in capsys.readouterr().out


def test_a_record_of_other_settings_than_today_is_named(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    today = [replace(recordings.TINY, rounds=9), replace(recordings.TINY, seed=7)]
    monkeypatch.setattr(figures, "cases", lambda figure, scale: today)
    problems = check(project, ["tiny"], steps=0)
    assert any("m2-T2-eta0.1-seed7 is not in the record" in each for each in problems)
    assert any("seed1 is recorded, and not asked for" in each for each in problems)
    assert any("seed0 is recorded with other settings" in each for each in problems)


def test_the_command_line_records_and_checks(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project.root)
    assert main(["record", "tiny", "--scale", "cpu"]) == 0
    assert capsys.readouterr().out.strip() == "recorded/tiny.json"
    assert main(["record-check"]) == 0
    tamper(project, lambda found: found["cases"][0]["columns"]["loss"].__setitem__(0, 9.0))
    assert main(["record-check", "tiny"]) == 1
    assert "records that do not hold" in capsys.readouterr().err
