"""record-check agrees with an honest record, and catches a tampered, foreign or outdated one."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import recordings
from bookrun.cli import main
from bookrun.commands.record import record as make
from bookrun.commands.record_check import check
from bookrun.errors import BookError
from bookrun.experiments import case, figures
from bookrun.experiments.comparison import replay
from bookrun.experiments.records import load
from bookrun.project import Project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    made = recordings.make(tmp_path, monkeypatch)
    make(made, "tiny", "cpu")
    return made


def tamper(project: Project, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the record's file."""
    path = project.recorded("tiny")
    found = json.loads(path.read_text())
    change(found)
    path.write_text(json.dumps(found))


def test_an_honest_recordagrees(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(project, [], steps=100) == []
    said = capsys.readouterr().out
    assert said.count("agrees") == 2
    assert "not replayed yet" in said
    kept = load(project.recorded("tiny"))
    assert "the first 6 to 8 local steps of every run agree to 0.001" in kept.provenance()


def test_replays_of_another_recordor_by_other_code_are_not_taken_for_todays(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check(project, [], steps=100) == []
    monkeypatch.setattr("bookrun.experiments.records.code_digest", lambda: "0" * 64)
    assert "by an earlier state of the code" in load(project.recorded("tiny")).provenance()
    tamper(project, lambda found: found.update(scale="paper"))
    assert "not replayed since it was made" in load(project.recorded("tiny")).provenance()


def test_only_as_many_rounds_are_replayed_as_the_steps_allow(project: Project) -> None:
    record = load(project.recorded("tiny"))
    first = record.cases[0]  # two steps a round
    assert replay(record, first, steps=5).rounds == 2
    assert replay(record, first, steps=5).steps == 4


def test_a_replay_of_nothing_is_not_an_agreement(project: Project) -> None:
    record = load(project.recorded("tiny"))
    found = replay(record, record.cases[0], steps=1)
    assert (found.steps, found.agrees) == (0, False)
    problems = check(project, ["tiny"], steps=1)
    assert len(problems) == 2
    assert all("nothing was compared" in problem for problem in problems)


def test_within_a_long_round_the_run_that_ends_there_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = recordings.make(tmp_path, monkeypatch)
    tol = {"local_steps": None, "grad_tol": 1e-9, "max_steps": 9}
    cases = [
        replace(recordings.TINY, local_steps=8),
        replace(recordings.TINY, **tol),
        replace(recordings.TINY, local_steps=3, rounds=1),
        replace(recordings.TINY, local_steps=3, rounds=1, seed=1),
    ]
    monkeypatch.setattr(figures, "cases", lambda figure, scale: cases)
    record = load(make(made, "tiny", "cpu"))
    for each in record.cases[:2]:
        found = replay(record, each, steps=5)
        assert (found.steps, found.rounds, found.agrees) == (3, 0, True)
    tamper(made, lambda found: found["cases"][2]["columns"]["loss"].__setitem__(1, 9.0))
    record = load(made.recorded("tiny"))
    assert not any(replay(record, each, steps=5).agrees for each in record.cases[:2])


def test_rounds_that_rounding_reaches_are_not_compared(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(at: int) -> None:
        tamper(project, lambda found: found["cases"][0]["columns"]["loss"].__setitem__(at, 9.0))

    change(2)
    record = load(project.recorded("tiny"))
    assert replay(record, record.cases[0], steps=100).rounds >= 2
    assert len(check(project, ["tiny"], steps=100)) == 1
    monkeypatch.setattr(
        "bookrun.experiments.comparison.NUDGE", 0.1
    )  # a machine that rounds to one digit
    assert replay(record, record.cases[0], steps=100).rounds == 0
    assert all("nothing was compared" in each for each in check(project, ["tiny"], steps=100))


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
    with pytest.raises(BookError, match="it was made of other data"):
        check(project, ["tiny"], steps=100)


def test_a_recordof_other_settings_than_today_is_named(
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
