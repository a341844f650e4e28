"""A point: what it is known by, and what is kept of it."""

from pathlib import Path
from typing import Any

import pytest

import trial
from bookrun.outputs import CHECK, NUMBER, TRACE
from bookrun.project import Project
from bookrun.sweeps import grid
from bookrun.sweeps.points import FAILED, OK, OUTSIDE, Found, Point, harvest, points_of

CHAPTER = trial.chapter_text(
    "One", "from house import Door\nsteps", parameters="steps = 10\neta = 0.5"
)


def make(root: Path) -> Project:
    return trial.make_project(root, {"intro": "# A", "one": CHAPTER})


def points(project: Project, name: str, text: str) -> list[Point]:
    path = project.root / f"{name}.yaml"
    path.write_text(f"chapter: one\n{text}")
    return points_of(Project(project.root), grid.load(project, path))


def test_two_grids_share_the_points_that_both_ask_for(tmp_path: Path) -> None:
    project = make(tmp_path)
    first = points(project, "a", "grid: {steps: [1, 10], eta: [0.5, 0.1]}")
    second = points(project, "b", "fixed: {eta: 0.5}\ngrid: {steps: [10, 100]}")
    third = points(project, "c", "list: [{steps: 10}]")  # 0.5 is what the chapter says itself
    shared = {point.id for point in first} & {point.id for point in second}
    assert len(shared) == 1
    assert third[0].id in shared
    assert first[2].directory == second[0].directory == third[0].directory


@pytest.mark.parametrize("path", ["book/one.md", "lib/house/door.py", "requirements.lock"])
def test_an_edit_of_what_it_depends_on_makes_every_point_a_new_one(
    tmp_path: Path, path: str
) -> None:
    project = make(tmp_path)
    before = points(project, "a", "grid: {steps: [1, 10]}")
    file = tmp_path / path
    file.write_text(file.read_text().replace("Door", "Gate"))
    if path == "requirements.lock":
        file.write_text("numpy==2\n")
    after = points(project, "a", "grid: {steps: [1, 10]}")
    assert not {point.id for point in before} & {point.id for point in after}


def test_what_a_point_keeps_is_there_again_or_not_at_all(tmp_path: Path) -> None:
    point = points(make(tmp_path), "a", "grid: {steps: [1, 2]}")[0]
    assert point.found() is None
    found = Found(OK, 1.5, numbers={"rate": 0.5})
    point.keep(found, {"one.ipynb": b"{}", "run.npz": b"xyz"})
    assert point.found() == found
    point.keep(Found(FAILED, 0.1, error="E"), {"one.ipynb": b"{}"})
    assert not (point.directory / "run.npz").exists()
    (point.directory / "record.json").write_text('{"point": {}')
    assert point.found() is None


def output(key: str, record: dict[str, Any]) -> dict[str, Any]:
    return {"output_type": "display_data", "metadata": {"bookrun": {key: record}}}


def check(name: str, outcome: str) -> dict[str, Any]:
    return output(CHECK, {"name": name, "value": 1.0, "outcome": outcome})


@pytest.mark.parametrize(
    ("outcomes", "error", "status"),
    [
        (["passed", "not checked"], "", OK),
        (["passed", "failed"], "", OUTSIDE),
        (["passed"], "ValueError: no", FAILED),
        (["failed"], "ValueError: no", FAILED),
    ],
)
def test_the_status_is_that_of_the_worst(outcomes: list[str], error: str, status: str) -> None:
    cell = {"outputs": [check(f"c{k}", outcome) for k, outcome in enumerate(outcomes)]}
    assert harvest({"cells": [cell]}, 1.0, 1, error=error).status == status


def test_a_number_that_a_loop_reports_again_gets_a_number() -> None:
    names = ["rate", "rate", "rate", "other"]
    outputs = [output(NUMBER, {"name": name, "value": k}) for k, name in enumerate(names)]
    outputs.append(output(TRACE, {"name": "run", "file": "run.npz"}))
    found = harvest({"cells": [{"outputs": outputs}]}, 1.0, 2)
    assert found.numbers == {"rate": 0, "rate (2)": 1, "rate (3)": 2, "other": 3}
    assert found.traces == {"run": "run.npz"}
    assert found.attempts == 2
