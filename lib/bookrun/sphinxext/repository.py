"""A chapter away from its page: as a notebook to keep, and in a browser on someone's servers.

The one thing that has to be known for the latter is the repository, which stands in
``_config.yml`` and nowhere else; without it there are no launch links.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from bookrun.errors import BookError

_BINDER = "https://mybinder.org/v2"
_COLAB = "https://colab.research.google.com/github"
#: The branch from which a site on GitHub is served by convention; it carries the notebooks.
PAGES_BRANCH = "gh-pages"
#: JupyterLab opens Markdown as text unless it is told.
_VIEWER = "Jupytext Notebook"

#: What a notebook says first.
_NEEDS = """\
*To run this notebook you need the book's repository{place}, for its data, its records and its \
library: clone it, and type `make lab` there; or install it with `pip install .` in an environment \
of your own and open the notebook in `{folder}/`. The outputs are those of the built book.*"""

#: What a notebook runs first where nothing is installed.
_SETUP = """\
import sys

if "google.colab" in sys.modules:  # elsewhere: make env, make lab
    !git clone --quiet --depth 1 --branch {branch} {url} the-book
    %pip install --quiet ./the-book
    %cd the-book/{folder}"""


@dataclass(frozen=True)
class Repository:
    """The place where the sources of the book are published."""

    url: str
    branch: str = "main"
    folder: str = "book"

    @property
    def host(self) -> str:
        """Its server's name."""
        return urlsplit(self.url).hostname or ""

    @property
    def name(self) -> str:
        """Owner and name, as in ``owner/name``."""
        return urlsplit(self.url).path.strip("/").removesuffix(".git")

    def binder(self, chapter: str) -> str:
        """Return the address that opens a chapter in JupyterLab on Binder."""
        place = quote(f"lab/tree/{self.folder}/{chapter}.md?factory={quote(_VIEWER)}", safe="")
        branch = quote(self.branch, safe="")
        if self.host == "github.com":
            return f"{_BINDER}/gh/{self.name}/{branch}?urlpath={place}"
        provider, source = ("gl", self.name) if self.host == "gitlab.com" else ("git", self.url)
        return f"{_BINDER}/{provider}/{quote(source, safe='')}/{branch}?urlpath={place}"

    def colab(self, chapter: str) -> str:
        """Return the address that opens a chapter in Colab; empty where Colab cannot see it."""
        if self.host != "github.com":
            return ""
        return f"{_COLAB}/{self.name}/blob/{PAGES_BRANCH}/{notebook_path(chapter)}"


def repository(options: Mapping[str, Any]) -> Repository | None:
    """Return the repository that the theme's options name; ``None`` where they name none.

    Raises ``BookError`` for an address that a browser could not open.
    """
    url = str(options.get("repository_url") or "").rstrip("/")
    if not url:
        return None
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or parts.path.count("/") < 2:
        raise BookError(f"_config.yml, repository: url: {url} is not https://HOST/OWNER/NAME")
    branch = str(options.get("repository_branch") or "main")
    return Repository(url, branch, str(options.get("path_to_docs") or "book").strip("/"))


def notebook_path(chapter: str) -> str:
    """Return where in the site a chapter lies as a notebook."""
    return f"notebooks/{chapter}.ipynb"


def notebook(
    text: str, source: Repository | None, executed: Sequence[Mapping[str, Any]] = ()
) -> str:
    """Return a chapter as a notebook that says how to run it, the same bytes for the same input.

    ``executed``: "source" and "outputs" of the code cells that were run, in order.
    """
    import jupytext
    import nbformat

    content = jupytext.reads(text, fmt="md:myst")
    content.metadata.pop("jupytext", None)
    _show(content.cells, executed)
    folder = "book" if source is None else source.folder
    needs = _NEEDS.format(place="" if source is None else f", <{source.url}>", folder=folder)
    if source is not None:
        setup = _SETUP.format(branch=source.branch, url=source.url, folder=source.folder)
        content.cells.insert(0, nbformat.v4.new_code_cell(setup))
    content.cells.insert(0, nbformat.v4.new_markdown_cell(needs))
    for number, cell in enumerate(content.cells, start=1):
        cell["id"] = f"cell-{number}"
    return str(nbformat.writes(content)) + "\n"


def _show(cells: Sequence[Any], executed: Sequence[Mapping[str, Any]]) -> None:
    """Give the cells the outputs of those that were run; a run may have had cells of its own."""
    import nbformat

    left = iter(executed)
    for cell in cells:
        if cell.cell_type != "code":
            continue
        run = next((each for each in left if each["source"] == cell.source), None)
        if run is None:
            return
        cell.outputs = nbformat.from_dict(run["outputs"])
