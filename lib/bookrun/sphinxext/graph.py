"""The ``{claims-graph}`` directive: which statement rests on which, drawn and as a list."""

import html
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from ..layers import Box, Point, draw
from ..markup import inline, plain
from .badges import badge, word_class
from .places import Links, link

_MARGIN = 3.0  # room for the outline of a node that has the focus
_ARROW = 7.0
_PADDING = 9.0
_LINE = 15.0
_LETTER = {"bookrun-id": 8.3, "bookrun-word": 6.3}  # the common width of one, on the wide side
_FULL = 15  # letters after which a line of text is broken, where it can be

Row = dict[str, Any]


class ClaimsGraph(nodes.General, nodes.Element):
    """Stands for the graph."""


class ClaimsGraphDirective(SphinxDirective):
    """The graph of ``uses``."""

    def run(self) -> list[nodes.Node]:
        """Leave the place of the graph."""
        return [ClaimsGraph()]


def render(rows: Sequence[Row], links: Links) -> str:
    """The drawing, the rows that it leaves out, and the same as a list, as HTML."""
    used = {claim for row in rows for claim in row["uses"]}
    joined = [row for row in rows if row["uses"] or row["id"] in used]
    alone = [row for row in rows if not row["uses"] and row["id"] not in used]
    found = []
    if joined:
        found += [_drawing(joined, links), _list(joined, links)]
    if alone:
        names = "".join(f"<li>{_name(row['id'], links)} {badge(row)}</li>" for row in alone)
        opening = "Not joined to any other" if joined else "No row rests on another"
        found.append(f'<p>{opening}:</p><ul class="bookrun-alone">{names}</ul>')
    return "".join(found)


def _drawing(rows: Sequence[Row], links: Links) -> str:
    uses = {row["id"]: row["uses"] for row in rows}
    drawing = draw(uses, {row["id"]: _size(row) for row in rows})
    width, height = drawing.width + 2 * _MARGIN, drawing.height + 2 * _MARGIN
    size = f"{width:.0f} {height:.0f}"
    lines = "".join(_line(points) for points in drawing.lines.values())
    boxes = "".join(_node(row, drawing.boxes[row["id"]], links) for row in rows)
    return (
        '<div class="bookrun-graph" role="region" tabindex="0" '
        'aria-label="Which statement rests on which">'
        f'<svg xmlns="http://www.w3.org/2000/svg" role="group" '
        f'aria-label="Graph of the statements; the same edges stand in the list below" '
        f'style="--natural: {width:.0f}px" viewBox="{-_MARGIN:g} {-_MARGIN:g} {size}">'
        f'<g class="bookrun-lines" aria-hidden="true">{lines}</g>{boxes}</svg></div>'
    )


def _text(row: Row) -> list[tuple[str, str]]:
    """The lines of text in a node, each after its CSS class."""
    return [
        (kind, line)
        for kind, text in (("bookrun-id", row["id"]), ("bookrun-word", row["verdict"]))
        for line in _broken(text)
    ]


def _broken(text: str) -> list[str]:
    """``text`` in two lines where it is long, broken where both are shortest."""
    breaks = [place.end() for place in re.finditer("[ -]", text)]
    if len(text) <= _FULL or not breaks:
        return [text]
    at = min(breaks, key=lambda place: (max(place, len(text) - place), -place))
    return [text[:at].strip(), text[at:]]


def _size(row: Row) -> tuple[float, float]:
    """Room for the text of a node."""
    text = _text(row)
    width = max(_LETTER[kind] * len(line) for kind, line in text)
    return round(width + 2 * _PADDING), _LINE * len(text) + _PADDING


def _line(points: Sequence[Point]) -> str:
    """A line that leaves and arrives level, with an arrowhead at what rests on the other."""
    *rest, (x, y) = points
    stops = [*rest, (x - _ARROW, y)]
    path = f"M{stops[0][0]:.1f} {stops[0][1]:.1f}"
    for (x0, y0), (x1, y1) in pairwise(stops):
        half = (x0 + x1) / 2
        bend = f"C{half:.1f} {y0:.1f} {half:.1f} {y1:.1f} {x1:.1f} {y1:.1f}"
        path += f"H{x1:.1f}" if y0 == y1 else bend
    head = f"M{x:.1f} {y:.1f}l{-_ARROW:g} -4v8z"
    return f'<path class="bookrun-line" d="{path}"/><path class="bookrun-head" d="{head}"/>'


def _node(row: Row, box: Box, links: Links) -> str:
    middle = box.x + box.width / 2
    below = f"; rests on {', '.join(row['uses'])}" if row["uses"] else ""
    # the name begins with the text that is seen, as one who speaks it expects
    detail = row["text"].removeprefix(row["verdict"])
    says = html.escape(f"{row['id']} {row['verdict']}{detail}, {plain(row['place'])}{below}")
    lines = " ".join(
        f'<text class="{kind}" x="{middle:.1f}" y="{box.y + _PADDING + _LINE * (k + 0.55):.1f}">'
        f"{html.escape(line)}</text>"
        for k, (kind, line) in enumerate(_text(row))
    )
    inner = (
        f"<title>{says}</title>"
        f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" '
        f'height="{box.height:.1f}" rx="7"/>{lines}'
    )
    kind = f'class="bookrun-node {word_class(row["verdict"])}"'
    address = links.row(row["id"])
    if not address:
        return f"<g {kind}>{inner}</g>"
    return f'<a {kind} href="{address}" aria-label="{says}">{inner}</a>'


def _list(rows: Sequence[Row], links: Links) -> str:
    items = "".join(f"<li>{sentence}</li>" for sentence in _sentences(rows, links))
    return (
        '<details class="bookrun-edges"><summary>The same as a list</summary>'
        f"<ul>{items}</ul></details>"
    )


def _sentences(rows: Sequence[Row], links: Links) -> Iterator[str]:
    for row in rows:
        below = ", ".join(_name(claim, links) for claim in row["uses"])
        says = f"rests on {below}" if below else "rests on no other"
        where = f"{inline(row['place'])}; {html.escape(row['text'])}"
        yield f"{_name(row['id'], links)} ({where}) {says}"


def _name(claim: str, links: Links) -> str:
    return link(links.row(claim), html.escape(claim))
