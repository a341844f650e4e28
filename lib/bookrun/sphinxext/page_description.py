"""Describe a page for search engines and for who shares a link to it."""

import html
import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

_LONGEST = 200


def add(
    _app: Sphinx, _page: str, _template: str, context: dict[str, Any], tree: nodes.document | None
) -> None:
    """Add the description to a page's head: what it establishes, or else its first paragraph."""
    text = _first_words(tree) if tree is not None else ""
    if text:
        tag = f'<meta name="description" content="{html.escape(text, quote=True)}">'
        context["metatags"] = f"{context.get('metatags') or ''}\n{tag}"


def _first_words(tree: nodes.document) -> str:
    """Return the first paragraph without its mathematics and badges, cut at a word."""
    for paragraph in tree.findall(nodes.paragraph):
        parts = [
            node.astext()
            for node in paragraph.findall(nodes.Text)
            if not isinstance(node.parent, nodes.math | nodes.raw)
        ]
        text = re.sub(r"\s+", " ", "".join(parts)).strip()
        if len(text) > 40:
            return text if len(text) <= _LONGEST else text[:_LONGEST].rsplit(" ", 1)[0] + " …"
    return ""
