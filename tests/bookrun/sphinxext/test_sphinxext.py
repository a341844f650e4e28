"""The ledger in the pages: a book of three pages without code, made by Sphinx alone."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup

import trial
from bookrun.ledger.claims import Row
from bookrun.ledger.proofs import steps as named
from bookrun.site.page_check import check_site
from findings import computed

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

```{prf:proof}
{step}`lem1 expand` The square has three terms. {step}`lem1 average` Add them up.
```

```{printed} thm3
Always $\\rho=c^{-1}$.
```

```{prf:theorem} 3
:label: thm-3
:nonumber:
As *here*, {verdict}`thm3` it is linear.
```

The lead is {value}`chapter:lead`, or {value}`chapter:the lead | .1f`.

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
    Row(
        "lem1",
        "Lemma 1",
        "It decreases.",
        label="lem-1",
        tests=("tests/theory/test_lem1.py",),
        steps={"expand": ("test_symbolic",)},
    ),
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
LEAD = {"name": "the $lead$", "value": -1.23456, "low": -2, "high": None, "outcome": "passed"}
VALUES = {"lead": LEAD, "the lead": LEAD}
KINDS = {"lem1": "symbolic control", "thm3": "counterexample corrected control"}


def make(root: Path, table: dict[str, Any], **pages: str) -> tuple[Path, str]:
    """Build the book and return where its pages are, and what Sphinx complained of."""
    texts = {"index": INDEX, "chapter": CHAPTER, "ledger": LEDGER, **pages}
    for name, text in texts.items():
        (root / f"{name}.md").write_text(text)
    (root / "conf.py").write_text(trial.SPHINX_CONF)
    (root / "ledger.json").write_text(json.dumps(table))
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-q", str(root), str(root / "html")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return root / "html", re.sub(r"\x1b\[[0-9;]*m", "", result.stderr)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, BeautifulSoup]:
    root = tmp_path_factory.mktemp("book")
    table = {**computed(ROWS, steps=named([CHAPTER]), **KINDS), "values": {"chapter": VALUES}}
    html, complaints = make(root, table)
    assert complaints == ""
    assert check_site(html) == []
    return {
        name: BeautifulSoup((html / f"{name}.html").read_text(), "html.parser")
        for name in ("index", "chapter", "ledger")
    }


def test_a_statement_has_its_badge_and_its_command(pages: dict[str, BeautifulSoup]) -> None:
    lemma, _, theorem = pages["chapter"].select("div.proof")
    verdict = lemma.select_one("p > span.bookrun-verdict.bookrun-opens")
    assert verdict.get_text(" ", strip=True) == (
        "holds proof in the text, 1 of 2 steps by machine make test CLAIM=lem1"
    )
    assert verdict.select_one("a")["href"] == "ledger.html#claim-lem1"
    assert verdict.select_one("code.bookrun-command").get_text() == "make test CLAIM=lem1"
    inside = theorem.select_one("p > span.bookrun-verdict")
    assert "bookrun-opens" not in inside["class"]
    assert inside.get_text(" ", strip=True) == "numerical, 1 case make test CLAIM=thm3"


def test_what_is_printed_stands_before_ours_with_its_own_verdict(
    pages: dict[str, BeautifulSoup],
) -> None:
    (block,) = pages["chapter"].select("div.bookrun-printed")
    assert block["id"] == "printed-thm3"
    assert (
        block.select_one("p")
        .get_text(" ", strip=True)
        .endswith("as printed false as printed, corrected")
    )
    assert "bookrun-false-as-printed-corrected" in block.select_one(".bookrun-badge")["class"]
    assert [p.get_text() for p in block.select("p")][1:] == [
        "Always \\(\\rho=c^{-1}\\).", "Erratum",
    ]  # fmt: skip
    assert block.find_next("div", class_="proof")["id"] == "thm-3"


def test_a_step_of_a_proof_says_whether_a_machine_checked_it(
    pages: dict[str, BeautifulSoup],
) -> None:
    found = [span.get_text() for span in pages["chapter"].select("span.bookrun-step")]
    assert found == ["expand ✓", "average"]


def test_the_command_is_that_of_the_chapter_where_there_are_no_tests(
    pages: dict[str, BeautifulSoup],
) -> None:
    paragraph = pages["chapter"].select("section > p")[-1].get_text(" ", strip=True)
    assert "not checked here make chapter CHAPTER=chapter is drawn" in paragraph
    assert paragraph.endswith("not checked here is not.")


def test_verdicts_in_running_text_are_valid_there(pages: dict[str, BeautifulSoup]) -> None:
    for page in pages.values():
        for block in page.select("p"):
            assert {tag.name for tag in block.find_all(True)} <= {
                "a",
                "span",
                "code",
                "em",
                "strong",
            }


def test_a_badge_in_running_text_stands_alone(pages: dict[str, BeautifulSoup]) -> None:
    item = pages["index"].select_one("ol li")
    assert item.get_text(" ", strip=True) == "false as printed, corrected in running text."
    assert item.select_one("code") is None


def test_a_row_links_to_its_statement_its_evidence_and_its_erratum(
    pages: dict[str, BeautifulSoup],
) -> None:
    row = pages["ledger"].select_one("tr#claim-thm3")
    assert [a["href"] for a in row.select("a")] == [
        "chapter.html#printed-thm3", "#erratum-thm3", "#claim-lem1",
    ]  # fmt: skip
    assert row["data-groups"] == "false"
    text = row.select_one("details").get_text(" ", strip=True)
    assert "3 tests over 2 cases in tests/ theory/ test_thm3.py 1 negative control" in text
    assert row.select_one("code.bookrun-command").get_text() == "make test CLAIM=thm3"


def test_an_erratum_tells_what_is_printed_and_what_is_true(pages: dict[str, BeautifulSoup]) -> None:
    (section,) = pages["ledger"].select("section.bookrun-erratum")
    assert section["id"] == "erratum-thm3"
    terms = [dt.get_text() for dt in section.select("dt")]
    assert terms == ["Printed", "Smallest counterexample", "Corrected"]
    assert section.select_one("dd .math").get_text() == "\\(c^{-1}\\)"
    assert section.select_one(".bookrun-badge").get_text() == "false as printed, corrected"
    links = {a.get_text(): a["href"] for a in section.select(".bookrun-note a")}
    assert links == {
        "the statement": "chapter.html#printed-thm3", "its row in the ledger": "#claim-thm3",
    }  # fmt: skip


def test_the_ledger_lies_beside_the_pages_for_programs(pages: dict[str, BeautifulSoup]) -> None:
    assert pages["ledger"].select_one("a[download]")["href"] == "ledger.json"


def test_a_number_in_a_sentence_is_the_one_computed(pages: dict[str, BeautifulSoup]) -> None:
    numbers = pages["chapter"].select("span.bookrun-number")
    assert [number.get_text() for number in numbers] == ["−1.23", "−1.2"]
    assert numbers[0]["title"] == "the lead: −1.23456, ≥ −2 ✓"


def test_a_proof_is_folded_the_first_is_open(pages: dict[str, BeautifulSoup]) -> None:
    (fold,) = pages["chapter"].select("details.bookrun-proof-fold")
    assert fold.has_attr("open")
    assert fold.select_one("summary").get_text() == "Proof in 2 steps"
    assert fold.select_one("div.proof").get_text(" ", strip=True).startswith("expand ✓ The square")


def test_the_headlines_are_the_errata_that_have_one(pages: dict[str, BeautifulSoup]) -> None:
    (item,) = pages["index"].select("ol.bookrun-headlines li")
    assert item.select_one(".bookrun-badge").get_text() == "false as printed, corrected"
    assert item.select("a")[1]["href"] == "chapter.html#printed-thm3"
    assert item.select("a")[2]["href"] == "ledger.html#erratum-thm3"
    assert item.get_text().endswith(". It is \\(c^{-2}\\). Erratum")


def test_the_counts_stand_there_as_badges(pages: dict[str, BeautifulSoup]) -> None:
    paragraph = next(p for p in pages["index"].select("p") if p.get_text().startswith("Of all"))
    found = [(badge["class"][1], badge.get_text()) for badge in paragraph.select(".bookrun-badge")]
    assert found == [
        ("bookrun-holds", "1 holds"),
        ("bookrun-false-as-printed-corrected", "1 false as printed, corrected"),
        ("bookrun-not-checked-here", "2 not checked here"),
    ]


def test_what_has_no_place_is_a_warning(tmp_path: Path) -> None:
    rows = [*ROWS[1:], Row("lem2", "Lemma 2", "It is.", label="lem-2")]
    rows.insert(0, Row("lem1", "Lemma 1", "It decreases.", label="lem-1"))
    text = CHAPTER.replace("{verdict}`lem1`", "{badge}`lem9`")
    text = text.replace("{printed} thm3", "{note}") + "\n{verdict-counts}`true`\n"
    _, complaints = make(tmp_path, computed(rows, **KINDS), chapter=text, ledger="# No ledger")
    for warning in (
        "ledger row lem2: the book has no label lem-2",
        "ledger row lem1: no page has {verdict}`lem1` beside the statement",
        "ledger row thm3: no page has {printed} thm3 before the corrected statement",
        "the ledger has errata, but no page has the {errata} directive",
        "verdict of lem9: there is no such row in the ledger",
        "value of chapter:lead: no check or report of that name",
        "verdict-counts: 'true' is not a verdict",
    ):
        assert warning in complaints


def test_a_preview_does_without_a_ledger(tmp_path: Path) -> None:
    table = {**computed(ROWS, **KINDS), "preview": True}
    html, complaints = make(tmp_path, table, ledger="# No ledger")
    assert complaints == ""
    page = BeautifulSoup((html / "chapter.html").read_text(), "html.parser")
    badge = page.select_one("span.bookrun-badge")
    assert (badge.get_text(), badge.find_parent("a")) == ("holds", None)
