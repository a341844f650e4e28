"""A result is fresh exactly while nothing that it depends on has changed, and status says why."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import trial
from bookrun.errors import BookError
from bookrun.execution.freshness import differences, forget_strays, reasons, record_for
from bookrun.outputs import RECORD
from bookrun.project import Project
from bookrun.source.chapters import load

TEXT = trial.chapter_text(
    "One",
    "rounds",
    extra="bookrun:\n  data: [colon-cancer]\n  profiles:\n    paper: {rounds: 9}\n",
    parameters="rounds = 2000",
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setattr("localgd.datasets.fingerprint", lambda name: f"hash of {name}")
    return trial.make_project(tmp_path, {"one": TEXT})


def now(project: Project, profile: str = "quick", **values: int) -> list[str]:
    """The reasons as a new process would find them."""
    again = Project(project.root)
    chapter = load(again, "one")
    record = record_for(again, chapter, profile, {**chapter.profile(profile), **values})
    return reasons(again, record)


def execute(project: Project, profile: str = "quick") -> None:
    """Leave a result, as the worker does."""
    chapter = load(project, "one")
    record = record_for(project, chapter, profile, chapter.profile(profile)).to_dict()
    path = project.executed(profile, "one")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"cells": [], "metadata": {RECORD: {**record, "seconds": 1.0}}}))


def test_a_result_is_fresh_when_nothing_changed(project: Project) -> None:
    assert now(project) == ["never executed"]
    execute(project)
    assert now(project) == []


def edit_text(project: Project, _: pytest.MonkeyPatch) -> None:
    (project.book / "one.md").write_text(TEXT + "\nOne more word.\n")


def edit_lib(project: Project, _: pytest.MonkeyPatch) -> None:
    (project.root / "lib" / "module.py").write_text("x = 2\n")


def add_to_lib(project: Project, _: pytest.MonkeyPatch) -> None:
    (project.root / "lib" / "other.py").write_text("")


def edit_lock(project: Project, _: pytest.MonkeyPatch) -> None:
    (project.root / "requirements.lock").write_text("numpy==2\n")


def other_python(_: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.python_version", lambda: "3.99.0")


def other_data(_: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("localgd.datasets.fingerprint", lambda name: "stand-in")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (edit_text, "its text changed"),
        (edit_lib, "lib/ changed"),
        (add_to_lib, "lib/ changed"),
        (edit_lock, "requirements.lock changed"),
        (other_python, "Python changed: "),
        (other_data, "data: colon-cancer changed"),
    ],
)
def test_each_component_that_changes_is_named(
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Project, pytest.MonkeyPatch], None],
    why: str,
) -> None:
    execute(project)
    change(project, monkeypatch)
    (found,) = now(project)
    assert found.startswith(why)


@pytest.mark.parametrize("name", ["book/assets/a.js", "recorded/a.json"])
def test_a_file_that_the_chapter_reads_by_name_belongs_to_its_text(
    project: Project, name: str
) -> None:
    path = project.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("one")
    quoted = name.removeprefix("book/") if name.startswith("book") else f"../{name}"
    (project.book / "one.md").write_text(TEXT + f'\n```{{code-cell}}\nopen("{quoted}")\n```\n')
    execute(project)
    assert now(project) == []
    path.write_text("two")
    assert now(project) == ["its text changed"]


def test_a_chapter_that_a_grid_runs_belongs_to_the_text_of_the_one_that_sweeps(
    project: Project,
) -> None:
    grid = project.root / "sweeps" / "a.yaml"
    grid.parent.mkdir()
    grid.write_text("chapter: two\ngrid: {n: [1]}\n")
    other = project.book / "two.md"
    other.write_text("one text")
    (project.book / "one.md").write_text(TEXT + '\n```{code-cell}\nf("../sweeps/a.yaml")\n```\n')
    for path in (grid, other):
        execute(project)
        assert now(project) == []
        path.write_text(path.read_text() + "# more\n")
        assert now(project) == ["its text changed"]


def test_changed_parameters_are_shown_with_both_values(project: Project) -> None:
    execute(project)
    assert now(project, rounds=500) == ["parameters changed: rounds 2000 → 500"]


def test_profiles_have_results_of_their_own(project: Project) -> None:
    execute(project)
    assert now(project, "paper") == ["never executed"]
    execute(project, "paper")
    assert now(project, "paper") == []
    assert now(project) == []


def test_a_failed_run_is_pointed_at(project: Project) -> None:
    project.failed("one").parent.mkdir(parents=True)
    project.failed("one").write_text("{}")
    assert now(project) == ["never executed", "last run failed: see build/failed/one.ipynb"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"metadata": {}}'])
def test_a_damaged_result_is_not_fresh(project: Project, content: str) -> None:
    path = project.executed("quick", "one")
    path.parent.mkdir(parents=True)
    path.write_text(content)
    assert now(project) != []


def test_a_record_that_lacks_a_component_is_not_fresh(project: Project) -> None:
    record = record_for(project, load(project, "one"), "quick", {}).to_dict()
    assert differences(record, record) == []
    for component in record:
        assert differences({k: v for k, v in record.items() if k != component}, record)


def test_data_that_do_not_exist_are_an_error(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(name: str) -> str:
        raise ValueError(f"{name!r} is not a data set")

    monkeypatch.setattr("localgd.datasets.fingerprint", unknown)
    with pytest.raises(BookError, match="chapter one: its header's data: 'colon-cancer' is not"):
        now(project)


def test_results_of_chapters_that_left_the_book_are_forgotten(project: Project) -> None:
    execute(project)
    stray = project.executed("quick", "gone")
    stray.write_text("{}")
    forget_strays(project)
    assert not stray.exists()
    assert project.executed("quick", "one").exists()
