"""CONTRIBUTING.md, followed to the letter: a new chapter, its claim, its check."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from jupytext.sync_contentsmanager import TextFileContentsManager

import trial
from bookrun.project import Project

TEXT = (trial.ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
#: What the page says to type, by the file that it goes into.
TYPED = {
    match["file"]: match["text"]
    for match in re.finditer(
        r"^(?P<fence>`{3,})\w+ (?P<file>\S+)\n(?P<text>.*?)^(?P=fence)$", TEXT, re.M | re.S
    )
}
CHAPTER = "book/halving.md"
LEDGER = trial.chapter_text("The ledger") + "\n```{ledger}\n```\n"


def follow(root: Path, *, leave_out: str = "") -> Project:
    """A book of two pages, and what CONTRIBUTING says to type, but for one of the files."""
    project = trial.make_project(root, {"intro": "# A book\n", "ledger": LEDGER})
    for name, text in TYPED.items():
        if name != leave_out:
            path = root / name
            before = path.read_text(encoding="utf-8") if path.exists() else ""
            path.write_text(before + text, encoding="utf-8")
    return Project(project.root)


def bookrun(project: Project, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "bookrun", *arguments]
    return subprocess.run(command, cwd=project.root, capture_output=True, text=True, check=False)


def test_it_names_the_three_files() -> None:
    assert set(TYPED) == {CHAPTER, "_toc.yml", "book/claims.yaml"}


def test_what_it_shows_becomes_a_chapter_with_a_verdict(tmp_path: Path) -> None:
    project = follow(tmp_path / "book")
    look = bookrun(project, "chapter", "halving")
    assert look.returncode == 0, look.stderr
    assert Path(look.stdout.splitlines()[-1]).is_file()
    result = bookrun(project, "build")
    assert result.returncode == 0, result.stderr
    page = BeautifulSoup((project.html / "halving.html").read_text(), "html.parser")
    assert page.select_one("#lem-halving .bookrun-badge").get_text() == "verified (1 case)"
    assert len(page.select(".bookrun-check")) == 2
    row = BeautifulSoup((project.html / "ledger.html").read_text(), "html.parser").select_one(
        "#claim-halving"
    )
    assert row.select_one("a")["href"] == "halving.html#lem-halving"
    assert (project.html / "notebooks" / "halving.ipynb").is_file()


def test_jupyterlab_leaves_the_chapter_as_it_is_typed(tmp_path: Path) -> None:
    shutil.copy(trial.ROOT / "jupytext.toml", tmp_path)
    (tmp_path / "book").mkdir()
    (tmp_path / CHAPTER).write_text(TYPED[CHAPTER], encoding="utf-8")
    manager = TextFileContentsManager(root_dir=str(tmp_path))
    content = manager.get(CHAPTER, type="notebook")["content"]
    manager.save({"type": "notebook", "format": "json", "content": content}, CHAPTER)
    assert (tmp_path / CHAPTER).read_text(encoding="utf-8") == TYPED[CHAPTER]


@pytest.mark.parametrize(
    ("leave_out", "complaint"),
    [
        ("book/claims.yaml", "claim halving is no row of book/claims.yaml"),
        (CHAPTER, "_toc.yml names chapter halving, but book/halving.md does not exist"),
    ],
)
def test_a_step_left_out_is_named(tmp_path: Path, leave_out: str, complaint: str) -> None:
    result = bookrun(follow(tmp_path / "book", leave_out=leave_out), "build")
    assert result.returncode == 1
    assert complaint in result.stderr


def test_the_places_that_it_names_are_there() -> None:
    named = re.findall(r"`((?:localgd|bookrun|execution|site|commands)/[\w/]*(?:\.py)?)`", TEXT)
    assert len(named) >= 14
    for name in named:
        home = trial.ROOT / "lib" / name
        assert home.exists() or (trial.ROOT / "lib" / "bookrun" / name).exists(), name
