"""What is wrong with data is one sentence, whoever asks for them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pooch
import pytest

import trial
from bookrun.cli import main
from bookrun.errors import BookError
from bookrun.execution.data import bring, data_errors
from bookrun.execution.schedule import stale_steps
from bookrun.project import Project
from bookrun.source.chapters import load_all
from localgd.datasets import download
from localgd.datasets.download import UnreachableError

PORTAL = b"<!DOCTYPE html><html><title>Welcome to our wifi</title></html>"
CHAPTER = trial.chapter_text("One", "1 + 1", extra="bookrun:\n  data: [colon-cancer]\n")


@pytest.fixture
def portal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without data, behind a portal that answers every address with its own page."""
    monkeypatch.delenv("LOCALGD_DATA", raising=False)
    monkeypatch.setattr(download, "cache_dir", lambda: tmp_path / "cache")

    def answer(self: Any, url: str, output_file: Any, *_: Any, **__: Any) -> None:
        output_file.write(PORTAL)

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", answer)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    made = trial.make_project(tmp_path / "book", {"intro": "# A", "one": CHAPTER})
    monkeypatch.chdir(made.root)
    return made


@pytest.mark.usefixtures("portal")
@pytest.mark.parametrize(
    "ask",
    [
        lambda project: bring(["colon-cancer"], "chapter one"),
        lambda project: stale_steps(project, load_all(project), "quick"),
    ],
    ids=["bring", "make book"],
)
def test_a_page_in_the_place_of_data_is_one_sentence(
    project: Project, ask: Callable[[Project], object]
) -> None:
    with pytest.raises(BookError, match=r"^chapter one: data set colon-cancer: .*colon") as raised:
        ask(project)
    assert "\n" not in str(raised.value)


@pytest.mark.usefixtures("portal", "project")
@pytest.mark.parametrize("command", ["fetch", "build"])
def test_the_commands_say_it_and_end(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command]) == 1
    said = capsys.readouterr().err
    assert "data set colon-cancer" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("error", [UnreachableError, ValueError, OSError])
def test_whatever_reading_raises_is_named(error: type[Exception]) -> None:
    with pytest.raises(BookError, match=r"^fig4a: it is so$"), data_errors("fig4a"):
        raise error("it is so")
