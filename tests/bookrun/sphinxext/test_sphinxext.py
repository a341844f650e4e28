"""The ledger in the pages: a book of three pages without code, made by Sphinx alone."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup

from bookrun.ledger.claims import Row
from bookrun.site.page_check import check_site
from findings import computed

CONF = """\
extensions = ["myst_parser", "sphinx_proof", "sphinx-mathjax-offline", "bookrun.sphinxext"]
myst_enable_extensions = ["dollarmath"]
html_theme = "basic"
html_copy_source = False
"""
INDEX = """\
# A book

1. {badge}`thm3` in running text.

Of all statements {verdict-counts}`badges`.

```{headlines}
```

```{toctree}
chapter
ledger
```
"""
CHAPTER = """\
# Chapter

```{prf:lemma} 1
:label: lem-1
:nonumber:
{verdict}`lem1` It decreases.
```

```{prf:theorem} 3
:label: thm-3
:nonumber:
As *here*, {verdict}`thm3` it is linear.
```

{verdict}`fig1` is drawn, and {verdict}`fig8` is not.
"""
LEDGER = """\
# The ledger

```{ledger}
```

```{errata}
```
"""
ROWS = [
    Row("lem1", "Lemma 1", "It decreases.", label="lem-1", tests=("tests/theory/test_lem1.py",)),
    Row(
        "thm3",
        "Theorem 3, $\\rho$ < 1",
        "It is linear.",
        label="thm-3",
        tests=("tests/theory/test_thm3.py",),
        uses=("lem1",),
        erratum={
            "printed": "$c^{-1}$",
            "counterexample": "Two lines.",
            "corrected": "$c^{-2}$",
            "headline": "It is $c^{-2}$.",
        },
    ),
    Row("fig1", "Figure 1", "They meet.", kind="figure", checks=("chapter",)),
    Row("fig8", "Figure 8", "It falls.", kind="figure"),
]
KINDS = {"lem1": "symbolic control", "thm3": "counterexample corrected control"}


def make(root: Path, table: dict[str, Any], **pages: str) -> tuple[Path, str]:
    """Build the book and return where its pages are, and what Sphinx complained of."""
    texts = {"index": INDEX, "chapter": CHAPTER, "ledger": LEDGER, **pages}
    for name, text in texts.items():
        (root / f"{name}.md").write_text(text)
    (root / "conf.py").write_text(CONF)
    (root / "ledger.json").write_text(json.dumps(table))
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-q", str(root), str(root / "html")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return root / "html", re.sub(r"\x1b\[[0-9;]*m", "", result.stderr)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, BeautifulSoup]:
    root = tmp_path_factory.mktemp("book")
    html, complaints = make(root, computed(ROWS, **KINDS))
    assert complaints == ""
    assert check_site(html) == []
    return {
        name: BeautifulSoup((html / f"{name}.html").read_text(), "html.parser")
        for name in ("index", "chapter", "ledger")
    }


def test_a_statement_has_its_badge_and_its_command(pages: dict[str, BeautifulSoup]) -> None:
    lemma, theorem = pages["chapter"].select("div.proof")
    verdict = lemma.select_one("p > span.bookrun-verdict.bookrun-opens")
    assert verdict.get_text(" ", strip=True) == "proved make test CLAIM=lem1"
    assert verdict.select_one("a")["href"] == "ledger.html#claim-lem1"
    assert verdict.select_one("code.bookrun-command").get_text() == "make test CLAIM=lem1"
    inside = theorem.select_one("p > span.bookrun-verdict")
    assert "bookrun-opens" not in inside["class"]
    assert inside.get_text(" ", strip=True) == "holds as corrected make test CLAIM=thm3"


def test_the_command_is_that_of_the_chapter_where_there_are_no_tests(
    pages: dict[str, BeautifulSoup],
) -> None:
    paragraph = pages["chapter"].select("section > p")[-1].get_text(" ", strip=True)
    assert "not checked here make chapter CHAPTER=chapter is drawn" in paragraph
    assert paragraph.endswith("not checked here is not.")


def test_verdicts_in_running_text_are_valid_there(pages: dict[str, BeautifulSoup]) -> None:
    for page in pages.values():
        for block in page.select("p"):
            assert {tag.name for tag in block.find_all(True)} <= {"a", "span", "code", "em"}


def test_a_badge_in_running_text_stands_alone(pages: dict[str, BeautifulSoup]) -> None:
    item = pages["index"].select_one("ol li")
    assert item.get_text(" ", strip=True) == "holds as corrected in running text."
    assert item.select_one("code") is None


def test_a_row_links_to_its_statement_its_evidence_and_its_erratum(
    pages: dict[str, BeautifulSoup],
) -> None:
    row = pages["ledger"].select_one("tr#claim-thm3")
    assert [a["href"] for a in row.select("a")] == [
        "chapter.html#thm-3", "#erratum-thm3", "#claim-lem1",
    ]  # fmt: skip
    text = row.get_text(" ", strip=True)
    assert "3 tests over 2 cases in tests/ theory/ test_thm3.py 1 negative control" in text
    assert row.select_one("code.bookrun-command").get_text() == "make test CLAIM=thm3"


def test_an_erratum_tells_what_is_printed_and_what_is_true(pages: dict[str, BeautifulSoup]) -> None:
    (section,) = pages["ledger"].select("section.bookrun-erratum")
    assert section["id"] == "erratum-thm3"
    terms = [dt.get_text() for dt in section.select("dt")]
    assert terms == ["Printed", "Smallest counterexample", "Corrected"]
    assert section.select_one("dd .math").get_text() == "\\(c^{-1}\\)"
    assert section.select_one(".bookrun-badge").get_text() == "holds as corrected"
    links = {a.get_text(): a["href"] for a in section.select(".bookrun-note a")}
    assert links == {
        "the statement": "chapter.html#thm-3", "its row in the ledger": "#claim-thm3",
    }  # fmt: skip


def test_the_headlines_are_the_errata_that_have_one(pages: dict[str, BeautifulSoup]) -> None:
    (item,) = pages["index"].select("ol.bookrun-headlines li")
    assert item.select_one(".bookrun-badge").get_text() == "holds as corrected"
    assert item.select("a")[1]["href"] == "chapter.html#thm-3"
    assert item.select("a")[2]["href"] == "ledger.html#erratum-thm3"
    assert item.get_text().endswith(". It is \\(c^{-2}\\). Erratum")


def test_the_counts_stand_there_as_badges(pages: dict[str, BeautifulSoup]) -> None:
    paragraph = next(p for p in pages["index"].select("p") if p.get_text().startswith("Of all"))
    found = [(badge["class"][1], badge.get_text()) for badge in paragraph.select(".bookrun-badge")]
    assert found == [
        ("bookrun-proved", "1 proved"),
        ("bookrun-holds-as-corrected", "1 holds as corrected"),
        ("bookrun-not-checked-here", "2 not checked here"),
    ]


def test_what_has_no_place_is_a_warning(tmp_path: Path) -> None:
    rows = [*ROWS[1:], Row("lem2", "Lemma 2", "It is.", label="lem-2")]
    rows.insert(0, Row("lem1", "Lemma 1", "It decreases.", label="lem-1"))
    text = CHAPTER.replace("{verdict}`lem1`", "{badge}`lem9`") + "\n{verdict-counts}`true`\n"
    _, complaints = make(tmp_path, computed(rows, **KINDS), chapter=text, ledger="# No ledger")
    for warning in (
        "ledger row lem2: the book has no label lem-2",
        "ledger row lem1: no page has {verdict}`lem1` beside the statement",
        "the ledger has errata, but no page has the {errata} directive",
        "verdict of lem9: there is no such row in the ledger",
        "verdict-counts: 'true' is not a verdict",
    ):
        assert warning in complaints


def test_a_preview_does_without_a_ledger(tmp_path: Path) -> None:
    table = {**computed(ROWS, **KINDS), "preview": True}
    html, complaints = make(tmp_path, table, ledger="# No ledger")
    assert complaints == ""
    page = BeautifulSoup((html / "chapter.html").read_text(), "html.parser")
    badge = page.select_one("span.bookrun-badge")
    assert (badge.get_text(), badge.find_parent("a")) == ("proved", None)
