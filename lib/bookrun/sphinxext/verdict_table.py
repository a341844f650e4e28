"""The ``{ledger}`` directive: every row with its verdict and the evidence behind it."""

import html
from collections.abc import Iterator, Sequence
from typing import Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from bookrun.display.markup import inline
from bookrun.sphinxext.badges import badge, command
from bookrun.sphinxext.references import Links, link, note


class LedgerTable(nodes.General, nodes.Element):
    """Stands for the table."""


class LedgerDirective(SphinxDirective):
    """The whole table; a page that has it is where the badges lead."""

    def run(self) -> list[nodes.Node]:
        """Leave the place of the table."""
        note(self.env, "ledger")
        return [LedgerTable()]


def render(rows: Sequence[dict[str, Any]], links: Links) -> str:
    """The table as HTML, in a box of its own that scrolls."""
    names = ("In the paper", "Statement", "Verdict and evidence")
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    body = "".join(_row(row, links) for row in rows)
    return (
        '<div class="bookrun-table bookrun-ledger" role="region" tabindex="0" '
        f'aria-label="The claims ledger"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _row(row: dict[str, Any], links: Links) -> str:
    claim = html.escape(row["id"])
    place = link(links.statement(row["label"]), inline(row["place"]))
    below = [text for text in (_erratum(row, links), _uses(row, links)) if text]
    return (
        f'<tr id="claim-{claim}"><td>{place}<br><code>{claim}</code></td>'
        f"<td>{inline(row['statement'])}{_note(' · '.join(below))}</td>"
        f"<td>{badge(row)}{''.join(_note(line) for line in _evidence(row, links))}"
        f"<div>{command(row)}</div></td></tr>"
    )


def _note(text: str) -> str:
    return f'<div class="bookrun-note">{text}</div>' if text else ""


def _erratum(row: dict[str, Any], links: Links) -> str:
    return link(links.erratum(row["id"]), "erratum") if row["erratum"] else ""


def _uses(row: dict[str, Any], links: Links) -> str:
    used = ", ".join(link(links.row(claim), html.escape(claim)) for claim in row["uses"])
    return f"rests on {used}" if used else ""


def _evidence(row: dict[str, Any], links: Links) -> Iterator[str]:
    if row["note"]:
        yield html.escape(row["note"])
    tests, checks = row["tests"], row["checks"]
    if checks["count"]:
        chapters = [place.removeprefix("chapter ") for place in checks["where"]]
        where = ", ".join(link(links.chapter(name), html.escape(name)) for name in chapters)
        yield f"{_plural(checks['count'], 'check')} in {where}"
    if tests["count"]:
        files = dict.fromkeys(place.partition("::")[0] for place in tests["where"])
        where = ", ".join(f"<code>{_path(file)}</code>" for file in files)
        over = f" over {_plural(tests['cases'], 'case')}" if tests["cases"] else ""
        yield f"{_plural(tests['count'], 'test')}{over} in {where}"
    controls = tests["controls"] + checks["controls"]
    if controls:
        yield _plural(controls, "negative control")


def _path(file: str) -> str:
    """A file's name that may be broken after a slash."""
    return html.escape(file).replace("/", "/<wbr>")


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
