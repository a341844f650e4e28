"""A grid file: its YAML, its points, and what is said of one that does not fit."""

from pathlib import Path
from typing import Any

import pytest

import trial
from bookrun.errors import BookError
from bookrun.project import Project
from bookrun.sweeps import grid

PARAMETERS = 'steps = 10\neta = 0.5\nkind = "a"\nfast = True\nlevels = [1.0, 2.0]'


@pytest.fixture
def project(tmp_path: Path) -> Project:
    chapters = {"intro": "# A", "one": trial.chapter_text("One", "1", parameters=PARAMETERS)}
    return trial.make_project(tmp_path, chapters)


def load(project: Project, text: str) -> grid.Grid:
    path = project.root / "grid.yaml"
    path.write_text(f"chapter: one\n{text}")
    return grid.load(project, path)


def test_a_grid_is_every_combination_in_order(project: Project) -> None:
    found = load(project, "fixed: {kind: b}\ngrid: {steps: [1, 2], eta: [1e-3, 1]}")
    assert found.points == (
        {"steps": 1, "eta": 1e-3},
        {"steps": 1, "eta": 1.0},
        {"steps": 2, "eta": 1e-3},
        {"steps": 2, "eta": 1.0},
    )
    assert found.fixed == {"kind": "b"}
    assert found.varied == ("steps", "eta")
    assert all(type(point["eta"]) is float for point in found.points)


@pytest.mark.parametrize(
    ("entry", "values"),
    [
        ("eta: {from: 1e-3, to: 10, count: 5, spacing: log}", [1e-3, 1e-2, 0.1, 1.0, 10.0]),
        ("eta: {from: 0, to: 1, count: 3}", [0.0, 0.5, 1.0]),
        ("steps: {from: 1, to: 1e4, count: 5, spacing: log}", [1, 10, 100, 1000, 10000]),
        ("steps: {from: 1, to: 4, count: 7}", [1, 2, 3, 4]),
        ("steps: [1e3, 7]", [1000, 7]),
        ("fast: [true, false]", [True, False]),
        ("levels: [[1, 2.5], []]", [[1.0, 2.5], []]),
    ],
)
def test_an_axis_is_a_list_or_a_range(project: Project, entry: str, values: list[Any]) -> None:
    found = [next(iter(point.values())) for point in load(project, f"grid: {{{entry}}}").points]
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]


def test_parameters_that_share_a_key_go_together(project: Project) -> None:
    found = load(project, "grid:\n  steps, eta: [[1, 0.1], [10, 1]]\n  kind: [a, b]")
    assert [tuple(point.values()) for point in found.points] == [
        (1, 0.1, "a"), (1, 0.1, "b"), (10, 1.0, "a"), (10, 1.0, "b"),
    ]  # fmt: skip


def test_a_point_that_is_named_twice_is_there_once(project: Project) -> None:
    text = "grid: {steps: [1, 2, 1]}\nlist: [{steps: 2}, {steps: 3, eta: 0.1}]"
    found = load(project, text)
    assert found.points == ({"steps": 1}, {"steps": 2}, {"steps": 3, "eta": 0.1})
    assert found.varied == ("steps", "eta")


def test_a_sample_is_random_in_its_ranges_and_the_same_every_time(project: Project) -> None:
    text = (
        "sample: {count: %d, seed: 3, parameters: {steps: {from: 1, to: 1000, spacing: log},"
        " eta: {from: 1e-4, to: 1, spacing: log}, kind: [a, b]}}"
    )
    few, many = (load(project, text % count).points for count in (20, 60))
    assert many[:20] == few
    assert load(project, (text % 20).replace("seed: 3", "seed: 4")).points != few
    assert {point["kind"] for point in many} == {"a", "b"}
    assert all(type(p["steps"]) is int and 1 <= p["steps"] <= 1000 for p in many)
    assert all(1e-4 <= point["eta"] <= 1 for point in many)
    small = sum(point["eta"] < 1e-2 for point in many)
    assert 15 <= small <= 45  # half of a logarithmic range; next to none of a linear one


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("grid: {speed: [1]}", "grid.yaml, grid: no parameter speed; it has: steps, eta"),
        ("grid: {steps: [1, 1.5]}", "point 2: steps=1.5 (float) is not an int"),
        ("grid: {steps: [010]}", "steps='010' is not an int"),
        ("grid: {eta: [fast]}", "point 1: eta='fast' is not a float"),
        ("grid: {eta: [1, .inf]}", "point 2: eta=inf is not a finite number"),
        ("grid: {kind: [1]}", "kind=1 (int) is not a str"),
        ("grid: {fast: [1]}", "fast=1 (int) is not a bool"),
        ("grid: {fast: [no]}", "fast='no' is not a bool"),
        ("grid: {eta: 0.1}", "0.1 is neither a list of values nor a range"),
        ("grid: {eta: {from: 1, to: 2}}", "count=None is not a whole number from 2"),
        ("grid: {eta: {from: 2, to: 1, count: 3}}", "from=2 must be below to=1"),
        ("grid: {eta: {from: 0, to: 1, count: 3, spacing: log}}", "from=0 must be positive"),
        ("grid: {eta: {from: 1, to: 2, count: 3, by: 4}}", "a range takes from, to, count"),
        ("grid: {eta: {from: 1, to: 2, count: 3, spacing: geometric}}", "is not linear or log"),
        ("grid: {kind: {from: 1, to: 2, count: 3}}", "kind is a str, which has no range"),
        ("grid: {eta: {from: 0, to: 1, count: 9000}, steps: [1, 2]}", "18000 points; at most"),
        ("grid:\n  steps, eta: [[1]]", "it must be a list of lists of 2 values each"),
        ("fixed: {eta: 1}\ngrid: {eta: [1]}", "eta is both fixed and varied"),
        ("fixed: [eta]\ngrid: {steps: [1]}", "fixed must be a mapping"),
        ("fixed: {steps: x}\ngrid: {eta: [1]}", "fixed: steps='x' is not an int"),
        ("list: {steps: 1}", "it must be a list of mappings"),
        ("list: [{speed: 1}]", "no parameter speed"),
        ("sample: {count: 0, parameters: {steps: [1]}}", "count=0 is not a whole number"),
        ("sample: {count: 3}", "parameters must be a mapping"),
        ("sample: {count: 3, seed: x, parameters: {steps: [1]}}", "seed='x' is not a whole"),
        ("points: [1]", "has points; it takes question, chapter, fixed, grid"),
        ("", "it names no points: give one of grid, list, sample"),
        ("grid: {steps: [1]}\nplot: {x: speed}", "plot, x: no parameter speed"),
        ("grid: {steps: [1]}\nplot: {z: steps}", "it has z; it takes x, by, y"),
        ("grid: [", "line 2: while parsing"),
    ],
)
def test_what_does_not_fit_is_said_with_its_place(
    project: Project, text: str, complaint: str
) -> None:
    with pytest.raises(BookError) as error:
        load(project, text)
    assert complaint in str(error.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("grid: {steps: [1], 'steps, eta': [[5, 1.0]]}", "grid: steps stands on two axes"),
        ("grid: {'eta, eta': [[5, 1.0]]}", "grid: eta stands on two axes"),
        ("grid: {steps: [1]}\nplot: {x: kind}", "plot, x: kind is a str; an axis needs numbers"),
        ("grid: {steps: [1]}\nplot: {x: levels}", "plot, x: levels is a list of float"),
        ("grid: {steps: [1]}\nplot: {x: [steps]}", "no parameter"),
        ("sample: {count: 2, parameters: {steps: {from: 0, to: 1e30}}}", "steps: to=1000.* 2\\^53"),
        (
            "sample: {count: 2, parameters: {eta: {from: -1e308, to: 1e308}}}",
            "is wider than numbers",
        ),
        (f"grid: {{eta: [1{'0' * 400}]}}", "eta=1000.* is not a float"),
        ("grid: {steps: !!int abc}", "line 2: 'abc' cannot be read as int"),
        ("grid: {kind: !!timestamp 2020-99-99}", "line 2: a tag is not taken"),
        ("grid: " + "[" * 3000 + "]" * 3000, "line 2: nested more than"),
        ('grid: {kind: ["\\ud800"]}', "line 2: .* cannot be read as str"),
        ("fixed: &a {steps: 1}\ngrid: *a", "an alias"),
    ],
)
def test_a_grid_that_would_fail_later_is_refused_at_once(
    project: Project, text: str, complaint: str
) -> None:
    with pytest.raises(BookError, match=complaint):
        load(project, text)


def test_no_two_grids_write_into_one_directory(project: Project) -> None:
    names = []
    places = ("sweeps/a.yaml", "sweeps/a.yml", "sweeps/b/a.yaml", "a.yaml", "sweeps/points.yaml")
    for place in (*places, "sweeps/my grid.yaml"):
        path = project.root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("chapter: one\ngrid: {steps: [1]}")
        names.append(grid.load(project, path).name)
    assert names[0] == "a"
    assert names[-1] == "my grid"
    assert len({*names, "points"}) == len(names) + 1
    for odd in ("...yaml", "..yaml", "-a.yaml", "a\nb.yaml"):
        path = project.root / "sweeps" / odd
        path.write_text("chapter: one\ngrid: {steps: [1]}")
        with pytest.raises(BookError, match="a grid's name begins with a letter"):
            grid.load(project, path)


def test_a_chapter_has_to_be_there_and_to_have_parameters(project: Project) -> None:
    path = project.root / "grid.yaml"
    for text, complaint in (
        ("grid: {steps: [1]}", "chapter is missing"),
        ("chapter: gone\ngrid: {steps: [1]}", "CHAPTER=gone is not in _toc.yml"),
        ("chapter: intro\ngrid: {steps: [1]}", "has no parameters cell"),
        ("- 1", "is not a grid"),
    ):
        path.write_text(text)
        with pytest.raises(BookError, match=complaint):
            grid.load(project, path)
    with pytest.raises(BookError, match="does not exist"):
        grid.load(project, project.root / "other.yaml")


def test_the_grids_of_the_book_fit_their_chapters() -> None:
    project = Project(trial.ROOT)
    paths = sorted((trial.ROOT / "sweeps").glob("*.yaml"))
    assert len(paths) >= 5
    for path in paths:
        found = grid.load(project, path)
        assert len(found.points) > 1
        text = found.chapter.text
        for name in (name for group in found.plot.y for name in group):
            assert f'report("{name}"' in text or f'\n    "{name}",' in text, (path.name, name)
