"""A book of a few lines, in a directory of its own, for the tests of the pipeline."""

import shutil
from pathlib import Path

from bookrun.project import Project
from bookrun.source.chapters import Chapter

ROOT = Path(__file__).resolve().parents[2]

HEADER = """\
---
{extra}jupytext:
  text_representation:
    extension: .md
    format_name: myst
    format_version: 0.13
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

"""

OPENING = """\
```{admonition} What this chapter establishes
:class: tip

* Little.
```
"""

#: Sphinx by itself, with our extension.
SPHINX_CONF = """\
extensions = ["myst_parser", "sphinx_proof", "sphinx-mathjax-offline", "bookrun.sphinxext"]
myst_enable_extensions = ["dollarmath"]
html_theme = "basic"
html_copy_source = False
"""

#: A library of four modules; its package hands out ``Door`` on first use, as ours do.
MODULES = {
    "__init__": """\
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from house.door import Door


def __getattr__(name):
    return getattr(import_module("house.door"), name)
""",
    "door": "class Door: ...\n",
    "hall": "def enter():\n    from house import wall\n\n    return wall\n",
    "wall": "height = 1\n",
}


def chapter_text(title: str, *cells: str, extra: str = "", parameters: str = "") -> str:
    """A chapter with these code cells, after its parameters cell where it has one."""
    text = HEADER.format(extra=extra) + f"# {title}\n\n{OPENING}"
    if parameters:
        text += f"\n```{{code-cell}} ipython3\n:tags: [parameters]\n\n{parameters}\n```\n"
    for cell in cells:
        text += f"\n```{{code-cell}} ipython3\n{cell}\n```\n"
    return text


def chapter(name: str = "one", **kwargs: str) -> Chapter:
    """A chapter in memory."""
    return Chapter(name, chapter_text(name, "1 + 1", **kwargs))


def make_project(root: Path, chapters: dict[str, str], claims: str = "") -> Project:
    """A repository with these chapters, the first of them the root, and the book's own look."""
    for folder in ("book", "lib"):
        (root / folder).mkdir(parents=True)
    names = list(chapters)
    toc = f"format: jb-book\nroot: {names[0]}\nchapters:\n"
    toc += "".join(f"  - file: {name}\n" for name in names[1:])
    (root / "_toc.yml").write_text(toc if names[1:] else toc.removesuffix("chapters:\n"))
    shutil.copy(ROOT / "_config.yml", root)
    shutil.copytree(ROOT / "book" / "_static", root / "book" / "_static")
    (root / "requirements.lock").write_text("numpy==1\n")
    for name, module in MODULES.items():
        path = root / "lib" / "house" / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(module)
    (root / "book" / "references.bib").write_text("")
    (root / "book" / "claims.yaml").write_text(claims)
    for name, text in chapters.items():
        (root / "book" / f"{name}.md").write_text(text)
    return Project(root)
