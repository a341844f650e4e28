"""The ``{paper-map}`` directive: section by section, the chapter and what came of the claims."""

import html
from typing import Any

from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from bookrun.display.markup import inline
from bookrun.sphinxext.badges import badge
from bookrun.sphinxext.references import Links, link

logger = logging.getLogger(__name__)


class PaperMap(nodes.General, nodes.Element):
    """Stands for the map."""


class PaperMapDirective(SphinxDirective):
    """A line a section: ``section | chapter | claims, with spaces between``."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Leave the place of the map."""
        lines = [
            [part.strip() for part in line.split("|")] for line in self.content if line.strip()
        ]
        if any(len(parts) != 3 for parts in lines):
            raise self.error("a line of the map is: section | chapter | claims")
        return [PaperMap(lines=lines)]


def fill_in(doctree: nodes.document, table: dict[str, Any], links: Links) -> None:
    """Draw the maps of a page."""
    rows = {row["id"]: row for row in table["rows"]}
    for place in list(doctree.findall(PaperMap)):
        claims = {claim for _, _, names in place["lines"] for claim in names.split()}
        for claim in sorted(claims - set(rows)):
            if not table["preview"]:
                logger.warning("paper-map: %s is no row", claim, location=links.docname)
        body = "".join(_line(parts, rows, links) for parts in place["lines"])
        head = "".join(
            f'<th scope="col">{name}</th>' for name in ("In the paper", "Here", "Verdict")
        )
        text = (
            '<div class="bookrun-table bookrun-map" role="region" tabindex="0" '
            'aria-label="The paper, section by section">'
            f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        )
        place.replace_self(nodes.raw("", text, format="html"))


def _line(parts: list[str], rows: dict[str, Any], links: Links) -> str:
    section, chapter, claims = parts
    name = links.app.env.titles.get(chapter)
    title = html.escape(name.astext() if name else chapter)
    verdicts = "".join(
        f"<div>{link(_place(rows[claim], links), inline(rows[claim]['place']))} "
        f"{badge(rows[claim], links)}</div>"
        for claim in claims.split()
        if claim in rows
    )
    return (
        f"<tr><td>{inline(section)}</td><td>{link(links.chapter(chapter), title)}</td>"
        f"<td>{verdicts}</td></tr>"
    )


def _place(row: dict[str, Any], links: Links) -> str:
    return links.printed(row["id"]) or links.statement(row["label"])
