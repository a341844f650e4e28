"""Executed notebooks become pages: figures get their captions, links their targets."""

import json
from pathlib import Path
from typing import Any

import trial
from bookrun.outputs import RUN
from bookrun.site.sources import page, sources
from bookrun.site.sphinx_build import lay_out
from bookrun.source.chapters import load_all


def output(text: str, figure: dict[str, str] | None = None) -> dict[str, Any]:
    metadata = {"bookrun": {"figure": figure}} if figure else {}
    return {"output_type": "display_data", "data": {"text/plain": text}, "metadata": metadata}


def notebook(*outputs: dict[str, Any], tags: tuple[str, ...] = ()) -> dict[str, Any]:
    cell = {
        "cell_type": "code",
        "id": "random",
        "source": "draw()",
        "execution_count": 1,
        "metadata": {"tags": list(tags), "papermill": {"duration": 1}, "execution": {}},
        "outputs": list(outputs),
    }
    text = {"cell_type": "markdown", "id": "x", "source": ["See [it](two.md#a)."], "metadata": {}}
    kernel = {"kernelspec": {"name": "python3"}, RUN: {"code": "x"}, "papermill": {}}
    return {"cells": [text, cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}


FIGURE = {"label": "fig2a", "caption": "A $\\rho$.", "alt": "a line"}


def test_a_figure_moves_into_the_cells_metadata() -> None:
    _, cell = page(notebook(output("a", FIGURE), tags=("hide-input",)))["cells"]
    assert cell["metadata"] == {
        "tags": ["hide-input"],
        "mystnb": {
            "figure": {"name": "fig2a", "caption": "A $\\rho$."},
            "image": {"alt": "a line"},
        },
    }


def test_a_figure_among_other_outputs_gets_a_cell_of_its_own() -> None:
    given = notebook(output("before"), output("a", FIGURE), output("after"), output("last"))
    _, *cells = page(given)["cells"]
    texts = [[o["data"]["text/plain"] for o in cell["outputs"]] for cell in cells]
    assert texts == [["before"], ["a"], ["after", "last"]]
    settings = [cell["metadata"].get("mystnb", {}) for cell in cells]
    assert ["figure" in found for found in settings] == [False, True, False]
    tags = [cell["metadata"]["tags"] for cell in cells]
    assert tags == [["hide-input"], ["remove-input"], ["remove-input"]]


def test_nothing_that_varies_by_run_reaches_the_page() -> None:
    made = page(notebook(output("a")))
    assert made["metadata"] == {"kernelspec": {"name": "python3"}}
    assert [cell["id"] for cell in made["cells"]] == ["cell-1", "cell-2"]
    assert set(made["cells"][1]["metadata"]) == {"tags", "mystnb"}


def test_links_between_chapters_lead_to_the_page_that_is_there(tmp_path: Path) -> None:
    text = "# One\n\n[two](two.md#a), [three](three.md), [out](https://example.org/two.md)\n"
    chapters = {"one": text, "two": trial.chapter_text("Two", "1"), "three": "# Three"}
    project = trial.make_project(tmp_path, chapters)
    executed = project.executed("quick", "two")
    executed.parent.mkdir(parents=True)
    executed.write_text(json.dumps(notebook(output("a"))))
    made = sources(project, load_all(project), {"two": executed}, {"rows": []})
    assert set(made) >= {"one.md", "two.ipynb", "three.md", "ledger.json", "_static/book.css"}
    assert made["one.md"].decode() == text.replace("(two.md#a)", "(two.ipynb#a)")
    assert b"[it](two.ipynb#a)" in made["two.ipynb"]


def test_the_source_directory_holds_exactly_the_sources(tmp_path: Path) -> None:
    lay_out(tmp_path, {"a.md": b"1", "assets/b.png": b"2"})
    before = (tmp_path / "a.md").stat().st_mtime_ns
    lay_out(tmp_path, {"a.md": b"1", "c.md": b"3"})
    assert {p.name for p in tmp_path.rglob("*") if p.is_file()} == {"a.md", "c.md"}
    assert (tmp_path / "a.md").stat().st_mtime_ns == before
