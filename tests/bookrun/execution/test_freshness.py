"""A result is fresh exactly while nothing that it depends on has changed, and status says why."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import trial
from bookrun.errors import BookError
from bookrun.execution.freshness import differences, forget_strays, inputs_of, reasons
from bookrun.ledger import test_results
from bookrun.outputs import RUN
from bookrun.project import Project
from bookrun.source.chapters import load, load_all

TEXT = trial.chapter_text(
    "One",
    "from house import Door\nfrom house.hall import enter\nDoor()",
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
    inputs = inputs_of(again, chapter, profile, {**chapter.profile(profile), **values})
    return reasons(again, inputs)


def execute(project: Project, profile: str = "quick") -> None:
    """Leave a result, as the worker does."""
    chapter = load(project, "one")
    inputs = inputs_of(project, chapter, profile, chapter.profile(profile)).to_dict()
    path = project.executed(profile, "one")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"cells": [], "metadata": {RUN: {**inputs, "seconds": 1.0}}}))


def test_a_result_is_fresh_when_nothing_changed(project: Project) -> None:
    assert now(project) == ["never executed"]
    execute(project)
    assert now(project) == []


def edit_code(project: Project, _: pytest.MonkeyPatch) -> None:
    (project.book / "one.md").write_text(TEXT.replace("Door()", "Door"))


def edit_tags(project: Project, _: pytest.MonkeyPatch) -> None:
    text = TEXT.replace("from house", ":tags: [raises-exception]\n\nfrom house", 1)
    (project.book / "one.md").write_text(text)


def edit_room(project: Project, _: pytest.MonkeyPatch) -> None:
    (project.root / "lib" / "house" / "door.py").write_text("class Door: open = True\n")


def edit_what_a_room_imports(project: Project, _: pytest.MonkeyPatch) -> None:
    (project.root / "lib" / "house" / "wall.py").write_text("height = 2\n")


def add_data_to_the_package(project: Project, _: pytest.MonkeyPatch) -> None:
    (project.root / "lib" / "house" / "key.txt").write_text("key")


def edit_lock(project: Project, _: pytest.MonkeyPatch) -> None:
    (project.root / "requirements.lock").write_text("numpy==2\n")


def other_python(_: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.python_version", lambda: "3.99.0")


def other_data(_: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("localgd.datasets.fingerprint", lambda name: "stand-in")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (edit_code, "its code changed"),
        (edit_tags, "its code changed"),
        (edit_room, "house.door changed"),
        (edit_what_a_room_imports, "house.wall changed"),
        (add_data_to_the_package, "house changed"),
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


def edit_prose(project: Project) -> None:
    (project.book / "one.md").write_text(TEXT + "\nOne more word.\n")


def hide_a_cell(project: Project) -> None:
    text = TEXT.replace("from house", ":tags: [hide-input]\n\nfrom house", 1)
    (project.book / "one.md").write_text(text)


def edit_what_it_does_not_import(project: Project) -> None:
    (project.root / "lib" / "house" / "attic.py").write_text("dust = 1\n")


@pytest.mark.parametrize("change", [edit_prose, hide_a_cell, edit_what_it_does_not_import])
def test_what_no_number_depends_on_does_not_count(
    project: Project, change: Callable[[Project], None]
) -> None:
    edit_what_it_does_not_import(project)
    execute(project)
    (project.root / "lib" / "house" / "attic.py").write_text("")
    change(project)
    assert now(project) == []


@pytest.mark.parametrize(
    ("name", "quoted"),
    [
        ("book/assets/a.js", '"assets/a.js"'),
        ("recorded/a.json", '"../recorded/a.json"'),
        ("recorded/a.json", 'f"../recorded/{name}.json"'),
    ],
)
def test_a_file_that_the_chapter_reads_by_name_counts(
    project: Project, name: str, quoted: str
) -> None:
    path = project.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("one")
    (project.book / "one.md").write_text(TEXT + f"\n```{{code-cell}}\nopen({quoted})\n```\n")
    execute(project)
    assert now(project) == []
    path.write_text("two")
    assert now(project) == [f"{name} changed"]


def test_what_a_script_imports_that_the_chapter_reads_counts(project: Project) -> None:
    script = project.book / "assets" / "a.py"
    script.parent.mkdir()
    script.write_text("import house.attic\n")
    edit_what_it_does_not_import(project)
    (project.book / "one.md").write_text(TEXT + '\n```{code-cell}\nrun("assets/a.py")\n```\n')
    execute(project)
    (project.root / "lib" / "house" / "attic.py").write_text("dust = 2\n")
    assert now(project) == ["house.attic changed"]


def test_the_code_of_a_chapter_that_a_grid_runs_counts_for_the_one_that_sweeps(
    project: Project,
) -> None:
    grid = project.root / "sweeps" / "a.yaml"
    grid.parent.mkdir()
    grid.write_text("chapter: two\ngrid: {n: [1]}\n")
    other = project.book / "two.md"
    other.write_text(trial.chapter_text("Two", "import house.attic"))
    edit_what_it_does_not_import(project)
    toc = project.root / "_toc.yml"
    toc.write_text("format: jb-book\nroot: one\nchapters:\n  - file: two\n")
    (project.book / "one.md").write_text(TEXT + '\n```{code-cell}\nf("../sweeps/a.yaml")\n```\n')
    for path, told in (
        (grid, "sweeps/a.yaml"),
        (other, "book/two.md"),
        (project.root / "lib" / "house" / "attic.py", "house.attic"),
    ):
        execute(project)
        assert now(project) == []
        path.write_text(path.read_text().replace("1", "2").replace("import", "import re;import"))
        assert now(project) == [f"{told} changed"]


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


def test_a_result_that_lacks_a_component_is_not_fresh(project: Project) -> None:
    inputs = inputs_of(project, load(project, "one"), "quick", {}).to_dict()
    assert differences(inputs, inputs) == []
    for component in inputs:
        assert differences({k: v for k, v in inputs.items() if k != component}, inputs)


def test_data_that_do_not_exist_are_an_error(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(name: str) -> str:
        raise ValueError(f"{name!r} is not a data set")

    monkeypatch.setattr("localgd.datasets.fingerprint", unknown)
    with pytest.raises(
        BookError, match="chapter one: data set colon-cancer: 'colon-cancer' is not"
    ):
        now(project)


def test_results_of_chapters_that_left_the_book_are_forgotten(project: Project) -> None:
    execute(project)
    stray = project.executed("quick", "gone")
    stray.write_text("{}")
    forget_strays(project)
    assert not stray.exists()
    assert project.executed("quick", "one").exists()


def test_of_the_books_own_library_a_chapter_depends_on_what_it_imports(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("localgd.datasets.fingerprint", lambda name: f"hash of {name}")
    book = Project(trial.ROOT)
    behind = {
        chapter.name: set(inputs_of(book, chapter, "quick", {}).modules)
        for chapter in load_all(book)
        if chapter.code
    }
    behind |= {name: set(found["modules"]) for name, found in test_results.inputs(book).items()}
    assert {"intersection", "sweeps", "tests/theory/test_lem1.py"} <= set(behind)
    serving = {"bookrun.commands.serve", "bookrun.cli", "bookrun.site.sphinx_build"}
    assert [name for name, modules in behind.items() if modules & serving] == []
    sets = {name for name, modules in behind.items() if "localgd.geometry.sets" in modules}
    assert {"affine", "tests/theory/test_asm3.py"} <= sets
    assert "intersection" not in sets
    # by way of a chapter that it sweeps, and by a name that localgd hands out on first use
    assert {"sweeps", "linear"} <= sets
    executing = {"bookrun.execution.notebook_worker", "bookrun.execution.kernel"}
    assert all(executing <= modules for name, modules in behind.items() if "/" not in name)
