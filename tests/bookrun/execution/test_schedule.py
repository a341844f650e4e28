"""What a build says that it will do, and in which order it does it."""

import json
from pathlib import Path

import pytest

import trial
from bookrun.execution.freshness import inputs_of
from bookrun.execution.schedule import Step, announcement, stale_steps
from bookrun.outputs import RUN
from bookrun.project import Project
from bookrun.source.chapters import load_all

CHAPTERS = {name: trial.chapter_text(name, "1 + 1") for name in ("intro", "one", "two")}
TESTS = ["tests/test_a.py", "tests/test_b.py"]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return trial.make_project(tmp_path, CHAPTERS)


def ran(project: Project, name: str, seconds: float) -> None:
    """Leave a result of other code that took so long."""
    path = project.executed("quick", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    (chapter,) = (each for each in load_all(project) if each.name == name)
    inputs = {**inputs_of(project, chapter, "quick", {}).to_dict(), "code": "another"}
    about = {RUN: {**inputs, "text": "another", "seconds": seconds}}
    path.write_text(json.dumps({"cells": [], "metadata": about}))


def tested(project: Project, *seconds: float) -> None:
    """Leave outcomes of the claim tests that took so long."""
    there = {name: {"seconds": each} for name, each in zip(TESTS, seconds, strict=False)}
    project.test_evidence.parent.mkdir(parents=True, exist_ok=True)
    project.test_evidence.write_text(json.dumps({"modules": there}))


def steps(project: Project) -> list[Step]:
    return stale_steps(project, load_all(project), "quick")


def test_what_took_longest_comes_first_and_what_never_ran_before_it(project: Project) -> None:
    ran(project, "one", 5.0)
    ran(project, "two", 70.0)
    assert [step.chapter.name for step in steps(project)] == ["intro", "two", "one"]


def test_what_will_run_and_for_how_long_is_said_by_the_last_times(project: Project) -> None:
    ran(project, "intro", 1.0)
    ran(project, "one", 30.0)
    ran(project, "two", 65.0)
    tested(project, 20.0, 40.0)
    assert announcement(project, steps(project), TESTS, limit=2) == (
        "To execute: two (65 s), one (30 s), intro (1 s), claim tests of 2 modules (60 s); "
        "about 78 s by the last times"
    )
    assert "; about 65 s" in announcement(project, steps(project), [], limit=9)
    assert "; about 3 min" in announcement(project, steps(project), TESTS, limit=1)


def test_what_never_ran_has_no_time(project: Project) -> None:
    assert announcement(project, steps(project), TESTS, 2) == (
        "To execute: intro, one, two, claim tests of 2 modules; "
        "how long it takes is not known before the first time"
    )
    ran(project, "two", 65.0)
    tested(project, 20.0)
    assert announcement(project, steps(project), TESTS, 1).endswith(
        "two (65 s), claim tests of 2 modules; about 65 s by the last times, and what never ran "
        "before"
    )
