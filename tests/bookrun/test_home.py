"""A user without ``HOME`` and without an entry in the list of users, as in many containers."""

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import trial
from bookrun.execution.kernel import settle_home
from bookrun.project import Project

#: What a chapter of the book does with a home: data are looked for, and a figure is drawn.
CELL = """\
import os
from localgd import datasets
from matplotlib import pyplot as plt
plt.subplots()
assert len(datasets.colon_cancer().features)
assert "HOME" in os.environ"""
GRID = "chapter: one\ngrid: {number: [1]}\n"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    text = trial.chapter_text("One", CELL, parameters="number = 1")
    made = trial.make_project(tmp_path_factory.mktemp("book"), {"one": text})
    (made.root / "grid.yaml").write_text(GRID)
    return made


@pytest.fixture(scope="module")
def stranger() -> list[str]:
    """The beginning of a command that runs under a number that no list of users knows."""
    numbers = set(range(54_321, 54_421)) - {entry.pw_uid for entry in pwd.getpwall()}
    user = min(numbers)
    command = ["unshare", "--user", f"--map-user={user}", f"--map-group={user}"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*command, "true"], check=False).returncode
    ):
        pytest.skip("another user needs unshare (util-linux 2.34) and namespaces of users")
    return command


@pytest.mark.parametrize(
    "words", [("chapter", "one"), ("build",), ("sweep", "grid.yaml")], ids=lambda words: words[0]
)
def test_a_command_needs_no_home(
    project: Project, stranger: list[str], words: Sequence[str]
) -> None:
    without = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "IPYTHONDIR", "MPLCONFIGDIR")
    result = subprocess.run(
        [*stranger, sys.executable, "-m", "bookrun", *words],
        cwd=project.root,
        env={name: value for name, value in os.environ.items() if name not in without},
        capture_output=True,
        text=True,
        check=False,
    )
    logs = "".join(path.read_text() for path in project.build.glob("logs/*.log"))
    assert result.returncode == 0, result.stdout + result.stderr + logs


def test_a_home_that_there_is_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    settle_home(tmp_path)
    assert os.environ["HOME"] == "/somewhere"
    monkeypatch.delenv("HOME")
    listed = pwd.struct_passwd(("one", "x", 1, 1, "", "/home/one", "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwuid", lambda _uid: listed)
    settle_home(tmp_path)
    assert "HOME" not in os.environ


def test_who_has_no_home_lives_where_it_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def unknown(_uid: int) -> None:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setenv("HOME", "/somewhere")  # put back after the test
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    settle_home(tmp_path)
    assert Path.home() == tmp_path
