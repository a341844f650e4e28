"""The ``{errata}`` and ``{headlines}`` directives: what the paper prints, and what is true."""

import html
from collections.abc import Sequence
from typing import Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from bookrun.display.markup import inline
from bookrun.sphinxext.badges import badge, basis_badge, command
from bookrun.sphinxext.references import Links, link, note

_PARTS = {
    "printed": "Printed",
    "counterexample": "Smallest counterexample",
    "assumption": "Assumed besides",
    "corrected": "Corrected",
    "survives": "What survives",
}


class Errata(nodes.General, nodes.Element):
    """Stands for the errata."""


class ErrataDirective(SphinxDirective):
    """A section for each row with an erratum."""

    def run(self) -> list[nodes.Node]:
        """Leave the place of the errata."""
        note(self.env, "errata")
        return [Errata()]


class Headlines(nodes.General, nodes.Element):
    """Stands for the errata that matter most."""


class HeadlinesDirective(SphinxDirective):
    """The errata that have a headline, a sentence or two each."""

    def run(self) -> list[nodes.Node]:
        """Leave the place of the headlines."""
        return [Headlines()]


def render_headlines(rows: Sequence[dict[str, Any]], links: Links) -> str:
    """Return the headlines as an HTML list, in the order of the ledger."""
    items = [_headline(row, links) for row in rows if "headline" in row["erratum"]]
    return f'<ol class="bookrun-headlines">{"".join(items)}</ol>' if items else ""


def _headline(row: dict[str, Any], links: Links) -> str:
    statement = links.printed(row["id"]) or links.statement(row["label"])
    place = link(statement, inline(row["place"]))
    address = links.erratum(row["id"])
    more = f" {link(address, 'Erratum')}" if address else ""
    text = inline(row["erratum"]["headline"])
    return f"<li>{badge(row, links)} <strong>{place}.</strong> {text}{more}</li>"


def _ours(row: dict[str, Any], links: Links) -> str:
    """Return how we know the corrected form, where there is one."""
    known = row["kind"] != "figure" and "corrected" in row["erratum"]
    return f"corrected form: {basis_badge(row, links)} " if known else ""


def render(rows: Sequence[dict[str, Any]], links: Links) -> str:
    """Return the errata as HTML, in the order of the ledger."""
    found = [_section(row, links) for row in rows if row["erratum"]]
    return "".join(found) or '<p class="bookrun-note">There are none.</p>'


def _section(row: dict[str, Any], links: Links) -> str:
    anchor = f"erratum-{html.escape(row['id'])}"
    parts = "".join(
        f"<dt>{name}</dt><dd>{inline(row['erratum'][key])}</dd>"
        for key, name in _PARTS.items()
        if key in row["erratum"]
    )
    statement = links.printed(row["id"]) or links.statement(row["label"])
    where = [link(statement, "the statement")] if statement else []
    where += [link(links.row(row["id"]), "its row in the ledger")] if links.row(row["id"]) else []
    see = f'<p class="bookrun-note">See {" and ".join(where)}.</p>' if where else ""
    return (
        f'<section class="bookrun-erratum" id="{anchor}">'
        f'<h3>{inline(row["place"])}<a class="headerlink" href="#{anchor}" '
        f'title="Link to this erratum">#</a></h3>'
        f'<p class="bookrun-verdict bookrun-opens">{badge(row, links)} '
        f"{_ours(row, links)}{command(row)}</p>"
        f"<dl>{parts}</dl>{see}</section>"
    )
