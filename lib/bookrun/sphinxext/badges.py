"""Verdicts in running text: the badges of a row, the command beside them, and how many there are.

Two badges answer two questions: what became of the paper's statement, and how we know what the
book states. A statement of the book that replaces one of the paper carries the second alone; the
first stands with the printed words (:mod:`bookrun.sphinxext.printed`).
"""

import html
from typing import Any

from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole

from bookrun.ledger.basis import NOTHING, PROOF
from bookrun.ledger.verdicts import OURS, REFUTED, UNCHECKED, VERDICTS, css_class
from bookrun.sphinxext.references import Links, note

logger = logging.getLogger(__name__)


class VerdictBadge(nodes.Inline, nodes.Element):
    """Stands for the badges of a row, with or without its command."""


class VerdictCounts(nodes.Inline, nodes.Element):
    """Stands for the number of verdicts."""


class VerdictRole(SphinxRole):
    """``{verdict}`id` ``: the badges beside a statement, and the command that checks it."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Leave the place of the badges."""
        claim = self.text.strip()
        note(self.env, f"verdict {claim}")
        return [VerdictBadge(claim=claim, command=True)], []


class BadgeRole(SphinxRole):
    """``{badge}`id` ``: the badge alone, what became of the paper's statement."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Leave the place of the badge."""
        return [VerdictBadge(claim=self.text.strip(), command=False)], []


class CountsRole(SphinxRole):
    """``{verdict-counts}`all` ``: in words; ``figures``, ``badges``, or the number of a verdict."""

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
        place.replace_self(nodes.raw("", _beside(place, row, links), format="html"))
    for place in list(doctree.findall(VerdictCounts)):
        text = _counts(table["counts"], place["which"], links)
        place.replace_self(nodes.raw("", text, format="html"))


def _beside(place: nodes.Element, row: dict[str, Any] | None, links: Links) -> str:
    if not place["command"] or row is None:
        return badge(row, links)
    opens = " bookrun-opens" if _opens_paragraph(place) else ""
    parts = [both(row, links), command(row)]
    return f'<span class="bookrun-verdict{opens}">{" ".join(filter(None, parts))}</span>'


def _opens_paragraph(place: nodes.Element) -> bool:
    """Return whether a badge opens its paragraph: it then gets a line of its own."""
    parent = place.parent
    before = parent[: parent.index(place)]
    return isinstance(parent, nodes.paragraph) and not any(n.astext().strip() for n in before)


def badge(row: dict[str, Any] | None, links: Links | None = None) -> str:
    """Return what became of the paper's statement; of a statement of ours, how we know it."""
    if row is not None and row["verdict"] == OURS:
        return basis_badge(row, links)
    word = row["verdict"] if row else UNCHECKED
    return _badge(word, css_class(word), row, links)


def basis_badge(row: dict[str, Any], links: Links | None = None) -> str:
    """Return how we know what the book states."""
    known = row["basis"]
    if known["word"] == NOTHING:
        return _badge(UNCHECKED, css_class(UNCHECKED), row, links)
    proved = " bookrun-by-proof" if known["word"] == PROOF else ""
    return _badge(known["text"], f"bookrun-basis{proved}", row, links)


def both(row: dict[str, Any], links: Links | None = None) -> str:
    """Return the badges beside a statement: of a refuted row, how we know ours alone."""
    word = row["verdict"]
    if row["kind"] == "figure" or word == UNCHECKED:
        return badge(row, links)
    if word == OURS or word in REFUTED:
        return basis_badge(row, links)
    return f"{badge(row, links)} {basis_badge(row, links)}"


def _badge(text: str, kind: str, row: dict[str, Any] | None, links: Links | None) -> str:
    inner = f'<span class="bookrun-badge {kind}">{html.escape(text)}</span>'
    address = links.row(row["id"]) if row and links else ""
    if not row or not address:
        return inner
    return (
        f'<a class="bookrun-badge-link" href="{address}" '
        f'title="{html.escape(row["id"])} in the ledger">{inner}</a>'
    )


def command(row: dict[str, Any]) -> str:
    """Return the command of a row: a click selects the whole of it."""
    if not row["command"]:
        return ""
    return f'<code class="bookrun-command">{html.escape(row["command"])}</code>'


def _counts(counts: dict[str, int], which: str, links: Links) -> str:
    if which == "figures":
        counts = {word: n for word, n in counts.items() if word.startswith("figure ")}
        texts = [f"{n} {'is' if n == 1 else 'are'} {word[7:]}" for word, n in counts.items()]
        return ", ".join(texts) or "none is checked here"
    if which == "all":
        return html.escape("; ".join(f"{count} {word}" for word, count in counts.items()) or "none")
    if which == "badges":
        return " ".join(
            f'<span class="bookrun-badge {css_class(word)}">{count} {html.escape(word)}</span>'
            for word, count in counts.items()
        )
    if which not in VERDICTS:
        logger.warning("verdict-counts: %r is not a verdict", which, location=links.docname)
    return str(counts.get(which, 0))
