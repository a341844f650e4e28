"""The line above a chapter's title: the chapter as a notebook, in Binder, in Colab."""

import html
import json
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

from bookrun.files import write_if_changed
from bookrun.sphinxext.repository import Repository, notebook, notebook_path, repository

#: In the source directory: the chapters as their authors wrote them.
FOLDER = "notebooks"


def _repository(app: Sphinx) -> Repository | None:
    return repository(app.config.html_theme_options)


def add_line(
    app: Sphinx, page: str, _template: str, context: dict[str, Any], _tree: nodes.document | None
) -> None:
    """Put the line into a chapter's page."""
    if "body" not in context or not (Path(app.srcdir) / FOLDER / f"{page}.md").is_file():
        return
    address = context["pathto"](notebook_path(page), 1)
    ways = [f'<a href="{html.escape(address)}" download>Download this chapter as a notebook</a>']
    source = _repository(app)
    if source is not None:
        launch = {"Binder": source.binder(page), "Colab": source.colab(page)}
        ways += [
            f'<a href="{html.escape(url)}">Open it in {name}</a>'
            for name, url in launch.items()
            if url
        ]
    line = f'<nav class="bookrun-take" aria-label="This chapter elsewhere">{" ".join(ways)}</nav>'
    context["body"] = line + context["body"]


def write_notebooks(app: Sphinx, error: Exception | None) -> None:
    """Write the notebooks that the lines lead to."""
    if error is not None:
        return
    source = _repository(app)
    for path in sorted((Path(app.srcdir) / FOLDER).glob("*.md")):
        beside = path.with_suffix(".json")
        executed = json.loads(beside.read_text(encoding="utf-8")) if beside.is_file() else []
        content = notebook(path.read_text(encoding="utf-8"), source, executed)
        write_if_changed(Path(app.outdir) / notebook_path(path.stem), content)
