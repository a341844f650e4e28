"""The source directory that Sphinx reads, made from the executed notebooks."""

import copy
import json
import re
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

from bookrun.errors import BookError
from bookrun.outputs import FIGURE, RUN, read_notebook
from bookrun.project import Project
from bookrun.site.folding import fold
from bookrun.source.chapters import Chapter

#: Notebook metadata that is the pipeline's and Jupyter's business, not the page's.
_PRIVATE = {"bookrun", RUN, "papermill", "jupytext", "language_info"}


def page(notebook: dict[str, Any]) -> dict[str, Any]:
    """Return the notebook as Sphinx is to see it: captions, and nothing that varies by run."""
    content = copy.deepcopy(notebook)
    content["metadata"] = {
        key: value for key, value in content["metadata"].items() if key not in _PRIVATE
    }
    cells = [piece for cell in content["cells"] for piece in _pieces(cell)]
    for cell in cells:
        fold(cell)
    for number, cell in enumerate(cells, start=1):
        cell["id"] = f"cell-{number}"
        for key in ("papermill", "execution"):
            cell["metadata"].pop(key, None)
    content["cells"] = cells
    return content


def _pieces(cell: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Split a cell that shows a figure among other outputs: MyST-NB captions all or none."""
    found = cell.get("outputs") or []
    groups: list[list[dict[str, Any]]] = []
    figures: list[dict[str, Any] | None] = []
    for output in found:
        record = (output.get("metadata") or {}).get("bookrun", {}).get(FIGURE)
        if record is not None or not groups or figures[-1] is not None:
            groups.append([output])
            figures.append(record)
        else:
            groups[-1].append(output)
    if not any(figures):
        yield cell
        return
    for number, (outputs, record) in enumerate(zip(groups, figures, strict=True)):
        piece = {**cell, "metadata": copy.deepcopy(cell["metadata"]), "outputs": outputs}
        if number > 0:
            tags = piece["metadata"].get("tags", [])
            piece["metadata"]["tags"] = [*tags, "remove-input"]
        if record is not None:
            piece["metadata"]["mystnb"] = {
                **piece["metadata"].get("mystnb", {}),
                "figure": {"name": record["label"], "caption": record["caption"]},
                "image": {"alt": record["alt"]},
            }
        yield piece


def sources(
    project: Project, chapters: list[Chapter], notebooks: dict[str, Path], ledger: dict[str, Any]
) -> dict[str, bytes]:
    """Return every file of the source directory, by its name there.

    ``notebooks`` gives the executed notebook of each chapter that has code; the others are text,
    and their text is the page.
    """
    found: dict[str, bytes] = {}
    for chapter in chapters:
        if chapter.name in notebooks:
            notebook = read_notebook(notebooks[chapter.name])
            if notebook is None:
                raise BookError(f"{project.shown(notebooks[chapter.name])} cannot be read")
            content = page(notebook)
            for cell in content["cells"]:
                if cell["cell_type"] == "markdown":
                    cell["source"] = _links("".join(cell["source"]), notebooks)
            found[f"{chapter.name}.ipynb"] = _dump(content)
            # to be taken along
            found[f"notebooks/{chapter.name}.md"] = chapter.text.encode()
            found[f"notebooks/{chapter.name}.json"] = _dump(shown(notebook))
        else:
            found[f"{chapter.name}.md"] = _links(chapter.text, notebooks).encode()
    bibliography = project.book / "references.bib"
    if bibliography.is_file():
        found["references.bib"] = bibliography.read_bytes()
    for folder in ("assets", "_static"):
        for path in sorted((project.book / folder).rglob("*")):
            if path.is_file():
                found[path.relative_to(project.book).as_posix()] = path.read_bytes()
    found["ledger.json"] = _dump(ledger)
    return found


def shown(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the source and the outputs of each code cell, without what is for the pipeline."""
    return [
        {
            "source": "".join(cell["source"]),
            "outputs": [
                {**output, "metadata": {}} if "metadata" in output else output
                for output in cell["outputs"]
            ],
        }
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
    ]


def _links(text: str, notebooks: Container[str]) -> str:
    """Chapters link to each other as they lie in ``book/``; here those with code are notebooks."""

    def follow(match: re.Match[str]) -> str:
        name = match[1].removeprefix("./")
        return f"]({name}.ipynb{match[2]}" if name in notebooks else match[0]

    return re.sub(r"\]\(((?:\./)?[\w-]+)\.md([)#])", follow, text)


def _dump(content: Any) -> bytes:
    return json.dumps(content, indent=1, ensure_ascii=False).encode()
