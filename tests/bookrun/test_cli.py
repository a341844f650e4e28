"""What a command says where it cannot begin, and in which letters."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import trial

COMMANDS = [
    ("build",),
    ("chapter", "one"),
    ("sweep", "sweeps/trial.yaml"),
    ("lab", "--", "--no-browser"),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    text = trial.chapter_text("One", "number", parameters="number = 3")
    project = trial.make_project(tmp_path_factory.mktemp("book"), {"intro": "# A", "one": text})
    (project.root / "sweeps").mkdir()
    (project.root / "sweeps" / "trial.yaml").write_text(
        "question: −x ≤ η?\nchapter: one\ngrid: {number: [-1, 2]}\n"
    )
    return project.root


@pytest.fixture
def read_only(root: Path) -> Iterator[Path]:
    """The book where nothing can be written, root's powers laid down where root tests."""
    root.chmod(0o555)
    yield root
    root.chmod(0o755)


def said(root: Path, *words: str, **environment: str) -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-m", "bookrun", *words]
    if os.geteuid() == 0:
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            pytest.skip("root can write everywhere, and there is no setpriv to lay that down")
        command = [setpriv, "--bounding-set=-all", "--inh-caps=-all", *command]
    return subprocess.run(
        command, cwd=root, capture_output=True, check=False, env={**os.environ, **environment}
    )


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_a_checkout_that_cannot_be_written_is_said_in_a_sentence(
    read_only: Path, words: tuple[str, ...]
) -> None:
    result = said(read_only, *words)
    assert result.returncode == 1
    assert result.stderr.decode() == (
        f"{read_only}/build cannot be written: Permission denied; what is generated goes into "
        "build/ beside the sources\n"
    )


@pytest.mark.parametrize("letters", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_every_terminal_is_written_to(root: Path, letters: str) -> None:
    result = said(
        root, "sweep", "sweeps/trial.yaml", "--dry-run", PYTHONIOENCODING=letters, LC_ALL="C"
    )
    assert (result.returncode, result.stderr) == (0, b"")
    minus = "−" if letters == "utf-8" else "\\u2212"
    assert f"number={minus}1: to run" in result.stdout.decode(letters)
