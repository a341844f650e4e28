"""Chapters taken along: as notebooks from the built site, and to Binder and Colab."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import jupytext
import nbformat
import pytest
from bs4 import BeautifulSoup

import trial
from bookrun.errors import BookError
from bookrun.project import Project
from bookrun.site.page_check import check_site
from bookrun.source import yaml
from bookrun.sphinxext.repository import Repository, notebook, notebook_path, repository

PROJECT = Project(trial.ROOT)
GITHUB = Repository("https://github.com/someone/the-paper")
CONF = """\
extensions = ["myst_parser", "sphinx_proof", "sphinx-mathjax-offline", "bookrun.sphinxext"]
html_theme = "sphinx_book_theme"
html_theme_options = {options!r}
"""


def test_without_a_repository_there_is_nowhere_to_launch() -> None:
    assert repository({}) is None
    assert repository({"repository_url": ""}) is None


@pytest.mark.parametrize("url", ["github.com/a/b", "http://github.com/a/b", "https://github.com/a"])
def test_an_address_that_names_no_repository_is_refused(url: str) -> None:
    with pytest.raises(BookError, match=r"is not https://HOST/OWNER/NAME"):
        repository({"repository_url": url})


@pytest.mark.parametrize("chapter", PROJECT.toc)
def test_binder_opens_the_chapter_itself_as_a_notebook(chapter: str) -> None:
    address = urlsplit(GITHUB.binder(chapter))
    assert address.path == "/v2/gh/someone/the-paper/main"
    place = urlsplit(unquote(address.query.removeprefix("urlpath=")))
    assert place.path.startswith("lab/tree/")
    assert (trial.ROOT / place.path.removeprefix("lab/tree/")).is_file()
    assert unquote(place.query) == "factory=Jupytext Notebook"


def test_binder_knows_other_hosts() -> None:
    gitlab = Repository("https://gitlab.com/group/sub/paper", branch="feature/x")
    assert "/v2/gl/group%2Fsub%2Fpaper/feature%2Fx?urlpath=" in gitlab.binder("linear")
    other = Repository("https://git.example.org/group/paper")
    assert "/v2/git/https%3A%2F%2Fgit.example.org%2Fgroup%2Fpaper/main?" in other.binder("linear")
    assert other.colab("linear") == gitlab.colab("linear") == ""


def test_colab_opens_the_notebook_of_the_published_site() -> None:
    assert GITHUB.colab("linear") == (
        "https://colab.research.google.com/github/someone/the-paper/blob/gh-pages/"
        + notebook_path("linear")
    )


@pytest.mark.parametrize("chapter", PROJECT.toc)
def test_the_notebook_is_the_chapter_and_says_how_to_run_it(chapter: str) -> None:
    text = (PROJECT.book / f"{chapter}.md").read_text(encoding="utf-8")
    made = nbformat.reads(notebook(text, None), as_version=4)
    nbformat.validate(made)
    wanted = jupytext.reads(text, fmt="md:myst")
    assert "clone it, and type `make lab` there" in made.cells[0].source
    assert [c.source for c in made.cells[1:]] == [c.source for c in wanted.cells]
    assert not any(cell.get("outputs") for cell in made.cells)
    assert notebook(text, None) == notebook(text, None)


def test_in_colab_the_notebook_first_brings_what_it_needs() -> None:
    text = trial.chapter_text("One", "1 + 1")
    made = nbformat.reads(notebook(text, GITHUB), as_version=4)
    assert f"the book's repository, <{GITHUB.url}>," in made.cells[0].source
    first = made.cells[1].source
    assert "git clone" in first
    assert f"--branch main {GITHUB.url} the-book" in first
    assert "%pip install --quiet ./the-book\n" in first
    assert "%cd the-book/book" in first
    assert [c.source for c in made.cells[2:]] == [
        c.source for c in nbformat.reads(notebook(text, None), as_version=4).cells[1:]
    ]


def test_the_notebook_has_the_outputs_of_the_run() -> None:
    text = trial.chapter_text("One", "1 + 1", "2 + 2", parameters="n = 1")

    def run(source: str, *texts: str) -> dict[str, Any]:
        outputs = [{"output_type": "stream", "name": "stdout", "text": text} for text in texts]
        return {"source": source, "outputs": outputs}

    executed = [run("n = 1"), run("n = 3"), run("1 + 1", "2"), run("2 + 2", "4", "four")]
    made = nbformat.reads(notebook(text, None, executed), as_version=4)
    nbformat.validate(made)
    assert {c.source: [o.text for o in c.outputs] for c in made.cells if c.cell_type == "code"} == {
        "n = 1": [],
        "1 + 1": ["2"],
        "2 + 2": ["4", "four"],
    }


def built(root: Path, options: dict[str, str]) -> Path:
    """A site of one chapter and a page of text, with these options of the theme."""
    (root / "notebooks").mkdir(parents=True)
    (root / "conf.py").write_text(CONF.format(options=options))
    (root / "index.md").write_text("# A book\n\n```{toctree}\none\n```\n")
    (root / "one.md").write_text("# One\n\nWords.\n")
    (root / "notebooks" / "one.md").write_text(trial.chapter_text("One", "1 + 1"))
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html", str(root), str(root / "o")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return root / "o"


def ways(site: Path, page: str) -> dict[str, str]:
    """Where the line above a page's title leads."""
    soup = BeautifulSoup((site / f"{page}.html").read_text(encoding="utf-8"), "html.parser")
    return {a.get_text(): str(a["href"]) for a in soup.select(".bookrun-take a")}


def test_a_site_without_a_repository_offers_the_notebook_alone(tmp_path: Path) -> None:
    site = built(tmp_path, {})
    assert ways(site, "one") == {"Download this chapter as a notebook": "notebooks/one.ipynb"}
    assert ways(site, "index") == {}
    made = json.loads((site / "notebooks" / "one.ipynb").read_text())
    assert made["cells"][-1]["source"] == ["1 + 1"]
    assert check_site(site) == []


def test_one_setting_makes_every_launch_link(tmp_path: Path) -> None:
    site = built(tmp_path, {"repository_url": GITHUB.url, "path_to_docs": "book"})
    assert ways(site, "one") == {
        "Download this chapter as a notebook": "notebooks/one.ipynb",
        "Open it in Binder": GITHUB.binder("one"),
        "Open it in Colab": GITHUB.colab("one"),
    }
    assert "git clone" in (site / "notebooks" / "one.ipynb").read_text()


def test_the_repository_stands_in_one_place() -> None:
    config = yaml.read(trial.ROOT / "_config.yml", "_config.yml")
    assert set(config["repository"]) == {"url", "branch", "path_to_book"}
    assert not any(config["launch_buttons"].values())  # the theme's own would be wrong links
    url = config["repository"]["url"]
    if url:
        others = [*PROJECT.book.rglob("*.md"), *(trial.ROOT / "lib").rglob("*.py")]
        assert [path for path in others if url in path.read_text(encoding="utf-8")] == []
