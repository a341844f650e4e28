"""The ``{ledger}`` directive: a row a statement, as the paper has them, with its verdict."""

import html
from collections.abc import Iterator, Sequence
from typing import Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from bookrun.display.markup import inline
from bookrun.ledger.verdicts import CORRECTED, FALSE, FURTHER, OURS, UNCHECKED
from bookrun.sphinxext.badges import badge, basis_badge, command
from bookrun.sphinxext.references import Links, link, note

#: The filter: its buttons, and which rows each of them leaves.
_GROUPS = {
    "all": "All",
    "false": "False or corrected",
    "figures": "Figures",
    "open": "Not checked",
    "ours": "Ours",
}


class LedgerTable(nodes.General, nodes.Element):
    """Stands for the table."""


class LedgerDirective(SphinxDirective):
    """The whole table; a page that has it is where the badges lead."""

    def run(self) -> list[nodes.Node]:
        """Leave the place of the table."""
        note(self.env, "ledger")
        return [LedgerTable()]


def render(rows: Sequence[dict[str, Any]], links: Links) -> str:
    """Return the table as HTML, in a box of its own that scrolls, with its filter."""
    names = ("In the paper", "Statement, in our words", "What we found")
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    body = "".join(_row(row, links) for row in rows)
    buttons = "".join(
        f'<button type="button" data-group="{group}" aria-pressed="{str(group == "all").lower()}">'
        f"{name}</button>"
        for group, name in _GROUPS.items()
    )
    return (
        '<div class="bookrun-filter" role="group" aria-label="Which rows are shown" hidden>'
        f"{buttons}</div>"
        '<div class="bookrun-table bookrun-ledger" role="region" tabindex="0" '
        f'aria-label="The claims ledger"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
        '<p class="bookrun-note">The same for programs: '
        '<a href="ledger.json" download>ledger.json</a>.</p>'
    )


def groups(row: dict[str, Any]) -> list[str]:
    """Return the groups of the filter that a row belongs to, besides all."""
    found = {
        "false": row["verdict"] in (CORRECTED, FALSE, FURTHER),
        "figures": row["kind"] == "figure",
        "open": row["verdict"] == UNCHECKED,
        "ours": row["kind"] == "ours",
    }
    return [name for name, inside in found.items() if inside]


def _row(row: dict[str, Any], links: Links) -> str:
    claim = html.escape(row["id"])
    statement = links.printed(row["id"]) or links.statement(row["label"])
    place = link(statement, inline(row["place"]))
    lines = "".join(_note(line) for line in _details(row, links))
    return (
        f'<tr id="claim-{claim}" data-groups="{" ".join(groups(row))}">'
        f"<td>{place}</td><td>{inline(row['statement'])}</td>"
        f"<td>{_badges(row)}<details><summary>Evidence</summary>"
        f"{lines}<div>{command(row)}</div></details></td></tr>"
    )


def _badges(row: dict[str, Any]) -> str:
    """Return what became of the paper's words, and how we know what the book states."""
    if row["kind"] == "figure" or row["verdict"] in (OURS, UNCHECKED):
        return badge(row)
    return f"{badge(row)} {basis_badge(row)}"


def _note(text: str) -> str:
    return f'<div class="bookrun-note">{text}</div>' if text else ""


def _details(row: dict[str, Any], links: Links) -> Iterator[str]:
    yield f"<code>{html.escape(row['id'])}</code>"
    if row["note"]:
        yield html.escape(row["note"])
    if row["erratum"]:
        yield link(links.erratum(row["id"]), "erratum")
    used = ", ".join(link(links.row(claim), html.escape(claim)) for claim in row["uses"])
    if used:
        yield f"rests on {used}"
    machine = [step["name"] for step in row["basis"]["steps"] if step["machine"]]
    if machine:
        yield f"steps that a machine checked: {html.escape(', '.join(machine))}"
    yield from _evidence(row, links)


def _evidence(row: dict[str, Any], links: Links) -> Iterator[str]:
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
    """Return a file's name that may be broken after a slash."""
    return html.escape(file).replace("/", "/<wbr>")


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
