"""The ``{printed}`` directive: a statement as the paper prints it, with what became of it."""

from typing import Any, ClassVar

from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from bookrun.display.markup import inline
from bookrun.sphinxext.badges import badge
from bookrun.sphinxext.references import Links, link, note, printed_anchor

logger = logging.getLogger(__name__)


class Printed(nodes.General, nodes.Element):
    """Stands for the block; what it contains is the statement."""


class PrintedDirective(SphinxDirective):
    """The printed statement of a row, in a block of its own before ours.

    The content is the statement in our words, and the text after the block refutes it; without
    content the block shows what the row's erratum says on both.
    """

    has_content = True
    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {}

    def run(self) -> list[nodes.Node]:
        """Leave the place of the block, with the statement in it."""
        claim = self.arguments[0].strip()
        note(self.env, f"printed {claim}")
        return [Printed("", *self.parse_content_to_nodes(), claim=claim)]


def fill_in(doctree: nodes.document, table: dict[str, Any], links: Links) -> None:
    """Make the blocks of a page."""
    rows = {row["id"]: row for row in table["rows"]}
    for place in list(doctree.findall(Printed)):
        row = rows.get(place["claim"])
        if row is None:
            if not table["preview"]:
                logger.warning(
                    "printed %s: there is no such row in the ledger",
                    place["claim"],
                    location=links.docname,
                )
            place.replace_self(place.children)
            continue
        place.replace_self(_block(place, row, links))


def _block(place: nodes.Element, row: dict[str, Any], links: Links) -> nodes.Element:
    head = (
        f'<p class="bookrun-printed-title"><strong>{inline(row["place"])}, as printed</strong> '
        f"{badge(row, links)}</p>"
    )
    body = place.children or [_html(f"<p>{inline(row['erratum'].get('printed', ''))}</p>")]
    block = nodes.container("", _html(head), *body, classes=["bookrun-printed"])
    block["ids"] = [printed_anchor(row["id"])]
    more = link(links.erratum(row["id"]), "Erratum")
    why = "" if place.children else row["erratum"].get("counterexample", "")
    if why:
        more = f"<em>Why not.</em> {inline(why)} {more}"
    block += _html(f"<p>{more}</p>")
    return block


def _html(text: str) -> nodes.raw:
    return nodes.raw("", text, format="html")
