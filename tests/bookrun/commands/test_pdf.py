"""The document that is printed: every page of the site, with names and links made good."""

import subprocess
import sys
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

import trial
from bookrun.commands import chromium, pdf
from bookrun.errors import BookError
from bookrun.project import Project

PAGE = """\
<!DOCTYPE html><html><head><title>{name}</title>
<link rel="stylesheet" href="_static/book.css">
<script src="_static/theme.js"></script>
<script>window.MathJax = {{}}</script><script src="_static/mathjax/tex-chtml.js"></script>
</head><body><nav>sidebar</nav><article class="bd-article">
<nav class="bookrun-take"><a href="notebooks/{name}.ipynb">notebook</a></nav>
<section id="top"><h1>On {name}<a class="headerlink" href="#top">#</a></h1>
<p id="claim" aria-labelledby="top claim">{text}</p></section></article></body></html>
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = trial.make_project(tmp_path, {"intro": "# A\n", "one": "# B\n"})
    made.html.mkdir(parents=True)
    texts = {
        "intro": '<a href="one.html#claim">there</a> <a href="one.html">one</a> '
        '<a href="#claim">here</a> <a href="https://example.org">out</a> '
        '<a href="data.csv">data</a>',
        "one": '<a href="intro.html#top">back</a>'
        '<div class="bookrun-explorer" id="e"><noscript><img src="a.png" alt="still"></noscript>'
        "</div><script>start()</script>",
    }
    for name, text in texts.items():
        (made.html / f"{name}.html").write_text(PAGE.format(name=name, text=text))
    return made


def test_every_link_of_the_book_leads_into_the_document(project: Project) -> None:
    soup = BeautifulSoup(pdf.compose(project), "html.parser")
    names = [str(tag["id"]) for tag in soup.find_all(id=True)]
    assert len(names) == len(set(names))
    links = {a.get_text(): a.get("href") for a in soup.select("article a")}
    assert links == {
        "there": "#one--claim",
        "one": "#one",
        "here": "#intro--claim",
        "out": "https://example.org",
        "data": None,
        "back": "#intro--top",
    }
    inside = {str(a["href"])[1:] for a in soup.select('a[href^="#"]')}
    assert inside <= set(names)
    paragraph = soup.find(id="one--claim")
    assert paragraph is not None
    assert paragraph["aria-labelledby"] == "one--top one--claim"


def test_the_chapters_stand_in_order_after_the_contents(project: Project) -> None:
    soup = BeautifulSoup(pdf.compose(project), "html.parser")
    assert [h.get_text() for h in soup.find_all("h1")] == ["On intro", "On one"]
    contents = [a.get_text("|") for a in soup.select(".book-contents a")]
    assert contents == ["On intro|000", "On one|000"]
    assert soup.title is not None
    assert "the executable edition" in soup.title.get_text()


def test_what_only_a_screen_can_use_is_left_out(project: Project) -> None:
    soup = BeautifulSoup(pdf.compose(project), "html.parser")
    assert not soup.select("article script, nav.bookrun-take, a.headerlink")
    assert "sidebar" not in soup.get_text()
    assert soup.select_one('article img[alt="still"]') is not None
    scripts = [str(tag.get("src", "")) for tag in soup.select("head script")]
    assert scripts == ["", "_static/mathjax/tex-chtml.js"]
    assert soup.select_one('head link[href="_static/book.css"]') is not None


def test_a_page_without_text_is_refused(project: Project) -> None:
    (project.html / "one.html").write_text("<html><body></body></html>")
    with pytest.raises(BookError, match=r"one\.html has no article"):
        pdf.compose(project)


def test_without_a_browser_it_says_what_to_install_and_builds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = trial.make_project(tmp_path, {"intro": "# A\n"})
    monkeypatch.setenv("CHROMIUM", "no-such-browser")
    assert chromium.chromium() is None
    result = subprocess.run(
        [sys.executable, "-m", "bookrun", "pdf"],
        cwd=project.root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (result.returncode, result.stdout) == (1, "")
    assert "no Chromium was found: install one" in result.stderr
    assert not project.html.exists()
