"""Verdicts in running text: the badge of a row, the command beside it, and how many there are."""

import html
from typing import Any

from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole

from bookrun.ledger.verdicts import UNCHECKED, VERDICTS
from bookrun.sphinxext.references import Links, note

logger = logging.getLogger(__name__)


class VerdictBadge(nodes.Inline, nodes.Element):
    """Stands for the badge of a row, with or without its command."""


class VerdictCounts(nodes.Inline, nodes.Element):
    """Stands for the number of verdicts."""


class VerdictRole(SphinxRole):
    """``{verdict}`id` ``: the badge beside a statement, and the command that checks it."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Leave the place of the badge."""
        claim = self.text.strip()
        note(self.env, f"verdict {claim}")
        return [VerdictBadge(claim=claim, command=True)], []


class BadgeRole(SphinxRole):
    """``{badge}`id` ``: the badge alone."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Leave the place of the badge."""
        return [VerdictBadge(claim=self.text.strip(), command=False)], []


class CountsRole(SphinxRole):
    """``{verdict-counts}`all` ``, in words; ``badges``, as badges; or the number of one verdict."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Leave the place of the numbers."""
        return [VerdictCounts(which=self.text.strip())], []


def fill_in(doctree: nodes.document, table: dict[str, Any], links: Links) -> None:
    """Put the verdicts of a page in their places."""
    rows = {row["id"]: row for row in table["rows"]}
    for place in list(doctree.findall(VerdictBadge)):
        row = rows.get(place["claim"])
        if row is None and not table["preview"]:
            logger.warning(
                "verdict of %s: there is no such row in the ledger",
                place["claim"],
                location=links.docname,
            )
        text = badge(row, links)
        if place["command"] and row and row["command"]:
            opens = " bookrun-opens" if _opens_paragraph(place) else ""
            text = f'<span class="bookrun-verdict{opens}">{text} {command(row)}</span>'
        place.replace_self(nodes.raw("", text, format="html"))
    for place in list(doctree.findall(VerdictCounts)):
        text = _counts(table["counts"], place["which"], links)
        place.replace_self(nodes.raw("", text, format="html"))


def _opens_paragraph(place: nodes.Element) -> bool:
    """Whether a badge comes before all else in its paragraph: it then gets a line of its own."""
    parent = place.parent
    before = parent[: parent.index(place)]
    return isinstance(parent, nodes.paragraph) and not any(n.astext().strip() for n in before)


def word_class(word: str) -> str:
    """The CSS class that gives a verdict its colours."""
    return f"bookrun-{word.replace(' ', '-')}"


def badge(row: dict[str, Any] | None, links: Links | None = None) -> str:
    """The badge of a row, linked to the row where links are given and the ledger is in the book."""
    word = row["verdict"] if row else UNCHECKED
    text = html.escape(row["text"] if row else word)
    inner = f'<span class="bookrun-badge {word_class(word)}">{text}</span>'
    address = links.row(row["id"]) if row and links else ""
    if not row or not address:
        return inner
    return (
        f'<a class="bookrun-badge-link" href="{address}" '
        f'title="{html.escape(row["id"])} in the ledger">{inner}</a>'
    )


def command(row: dict[str, Any]) -> str:
    """The command of a row: a click selects the whole of it."""
    if not row["command"]:
        return ""
    return f'<code class="bookrun-command">{html.escape(row["command"])}</code>'


def _counts(counts: dict[str, int], which: str, links: Links) -> str:
    if which == "all":
        return html.escape(", ".join(f"{count} {word}" for word, count in counts.items()) or "none")
    if which == "badges":
        return " ".join(
            f'<span class="bookrun-badge {word_class(word)}">{count} {html.escape(word)}</span>'
            for word, count in counts.items()
        )
    if which not in VERDICTS:
        logger.warning("verdict-counts: %r is not a verdict", which, location=links.docname)
    return str(counts.get(which, 0))
