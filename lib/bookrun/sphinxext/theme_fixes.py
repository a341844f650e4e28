"""Small faults of the tools that make the pages, mended where the pages pass through."""

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config

_TEMPLATES = Path(__file__).parent / "templates"
#: Roles and names that say something else than what stands there.
_SAYS_OTHERWISE = (
    ' aria-label="Toggle hidden content"',  # on the button "Show code cell source"
    ' role="list"',  # on a bibliography, whose entries are no list's
)
#: sphinx-proof names a statement and its title alike, and all proofs; a name is given once.
_NAMES_OFTEN = re.compile(r'(?<=<p class="admonition-title") id="[^"]*"| id="proof(?:-content)?"')
#: The search finds pages opened from the disk as well, but cannot fetch them to quote from them.
QUOTE_NOT_FROM_DISK = (
    'if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;'
)


#: The paper's section at the end of a title, as in "Linear convergence (§2.2, Theorem 3)".
_SECTION = re.compile(r"\s*\((?:§|Appendix )(?:[^()]|\([^()]*\))*\)$")


def shorten_chapter_links(_app: Sphinx, tree: nodes.document, _page: str) -> None:
    """Leave the paper's section out where a sentence names a chapter by its title."""
    for name in tree.findall(
        lambda node: "doc" in getattr(node, "attributes", {}).get("classes", [])
    ):
        for text in list(name.findall(nodes.Text)):
            text.parent.replace(text, nodes.Text(_SECTION.sub("", text.astext())))


def order_search(app: Sphinx, config: Config) -> None:
    """Let the book's own script order what a search finds, where there is one."""
    script = Path(app.srcdir) / "_static" / "search_scorer.js"
    if script.is_file():
        config.html_search_scorer = str(script)


def use_templates(_app: Sphinx, config: Config) -> None:
    """Put our templates before the theme's of the same name."""
    config.templates_path.insert(0, str(_TEMPLATES))


def page(
    _app: Sphinx, _page: str, _template: str, context: dict[str, Any], _tree: nodes.document | None
) -> None:
    """Mend one page before it is written."""
    # sphinx-thebe's scripts come twice, though it is off, and the second time is an error
    context["script_files"] = [
        script
        for script in context.get("script_files", [])
        if "thebe" not in f"{script} {getattr(script, 'attributes', {}).get('body', '')}".lower()
    ]
    if "body" in context:
        body = context["body"]
        for words in _SAYS_OTHERWISE:
            body = body.replace(words, "")
        context["body"] = _NAMES_OFTEN.sub("", body)
