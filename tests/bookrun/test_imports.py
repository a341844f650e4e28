"""What a code imports is found without running it: lazily, by re-export, and through packages."""

from pathlib import Path

import pytest

import trial
from bookrun.imports import Library


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return trial.make_project(tmp_path, {"intro": "# A"}).library


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import numpy", set()),
        ("import house", {"house"}),
        ("from house.wall import height", {"house", "house.wall"}),
        ("from house import wall", {"house", "house.wall"}),
        ("import house.wall as w", {"house", "house.wall"}),
        ("def f():\n    import house.wall", {"house", "house.wall"}),
        ("from house import hall", {"house", "house.hall", "house.wall"}),
        ("from house import Door", {"house", "house.door"}),
        ("from house import Door as D", {"house", "house.door"}),
        ("from house import *", {"house", "house.door"}),
        ("import house\nhouse.Door()", {"house", "house.door"}),
        ("import house as h\nh.Door()", {"house", "house.door"}),
        ("import house\ngetattr(house, name)", {"house", "house.door"}),
        ("import house.wall\nhouse.Door()", {"house", "house.wall", "house.door"}),
        ("%matplotlib inline\nimport house.wall", {"house", "house.wall"}),
        ("import typing\nif typing.TYPE_CHECKING:\n    import house.wall", set()),
        ("this is no Python", {"house", "house.wall", "house.hall", "house.door"}),
    ],
)
def test_what_a_code_imports(library: Library, code: str, found: set[str]) -> None:
    assert library.imported(code) == found


def test_a_module_is_known_by_its_file_and_a_package_by_its_data_too(library: Library) -> None:
    before = library.fingerprints(["house", "house.wall"])
    (library.root / "house" / "wall.py").write_text("height = 2\n")
    (library.root / "house" / "templates").mkdir()
    (library.root / "house" / "templates" / "page.html").write_text("<p>")
    after = Library(library.root).fingerprints(["house", "house.wall"])
    assert all(before[name] != after[name] for name in before)


def test_the_books_own_library_resolves_as_it_runs() -> None:
    library = Library(trial.ROOT / "lib")
    sets = "localgd.geometry.sets"
    assert sets in library.imported("from localgd import Ball")
    assert sets in library.imported("from localgd import LeastSquares")  # imports it itself
    assert sets not in library.imported("from localgd import run")
    assert "bookrun.commands.serve" not in library.imported("import bookrun\nbookrun.check()")
    assert "bookrun.sweeps.run" in library.imported("from bookrun import sweep")
