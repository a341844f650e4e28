"""Put new prose around old outputs, where the code of a chapter has not changed."""

import json
from pathlib import Path
from typing import Any

from bookrun.files import digest, write_atomic
from bookrun.outputs import RUN, read_notebook
from bookrun.source.chapters import Chapter


def renew_text(chapter: Chapter, path: Path) -> None:
    """Give the executed notebook at ``path`` the text that the chapter has now.

    Its code cells have to be those of the chapter, in number and order.
    """
    notebook = read_notebook(path) or {"metadata": {}}
    text = digest(chapter.text)
    if notebook["metadata"].get(RUN, {}).get("text", text) == text:
        return
    renewed = with_text(notebook, chapter.text)
    renewed["metadata"][RUN]["text"] = text
    write_atomic(path, json.dumps(renewed, indent=1, ensure_ascii=False) + "\n")


def with_text(notebook: dict[str, Any], text: str) -> dict[str, Any]:
    """Return the chapter ``text`` as a notebook, with the outputs of the executed ``notebook``."""
    import jupytext  # half a second, and only needed after an edit
    import nbformat

    fresh = json.loads(nbformat.writes(jupytext.reads(text, fmt="md:myst")))
    old = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    cells: list[dict[str, Any]] = []
    for cell in fresh["cells"]:
        while cell["cell_type"] == "code" and injected(old[0]):
            cells.append(old.pop(0))
        if cell["cell_type"] == "code":
            ran = old.pop(0)
            cell |= {name: ran[name] for name in ("outputs", "execution_count")}
        cells.append(cell)
    metadata = {**notebook["metadata"], **fresh["metadata"]}
    return {**notebook, "cells": cells + old, "metadata": metadata}


def injected(cell: dict[str, Any]) -> bool:
    """Return whether papermill made the cell, to set parameters."""
    return "injected-parameters" in cell["metadata"].get("tags", [])
