"""A chapter that does not run to its end is told of by the cell in which it ended."""

from pathlib import Path

import pytest

import trial
from bookrun.execution.notebook_worker import Account, Order, execute

KILL = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"


def executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> Account:
    monkeypatch.setenv("IPYTHONDIR", "")  # set for the kernel, and put back after the test
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    order = Order(
        chapter="one",
        text=text,
        parameters={"number": 4} if "number" in text else {},
        inputs={},
        cwd=str(tmp_path),
        output=str(tmp_path / "one.ipynb"),
        failed=str(tmp_path / "failed.ipynb"),
        account=str(tmp_path / "account.json"),
    )
    account = execute(order, scratch)
    assert not (tmp_path / "one.ipynb").exists()
    assert (tmp_path / "failed.ipynb").is_file()
    return account


@pytest.mark.parametrize("leave", ["import sys\nsys.exit(0)", "raise SystemExit"])
def test_a_chapter_that_leaves_early_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leave: str
) -> None:
    text = trial.chapter_text("One", "1 + 1", leave, "2 + 2")
    found = executed(tmp_path, monkeypatch, text)
    line = leave.partition("\n")[0]
    assert found == Account(2, line, "SystemExit: a chapter runs to its end")


@pytest.mark.parametrize(("cells", "number"), [((KILL, "1"), 2), (("1 + 1", KILL, "1"), 3)])
def test_a_kernel_that_dies_is_told_of_by_the_cell_that_it_ran(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cells: tuple[str, ...], number: int
) -> None:
    text = trial.chapter_text("One", *cells, parameters="number = 3")
    found = executed(tmp_path, monkeypatch, text)
    assert found.died
    assert (found.cell, found.first_line) == (number, "import os, signal")


def test_a_kernel_that_dies_in_the_first_cell_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = executed(tmp_path, monkeypatch, trial.chapter_text("One", KILL))
    assert (found.died, found.cell) == (True, 1)
