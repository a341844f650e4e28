"""Sphinx extension: the ledger as a table, and its verdicts as badges beside the statements.

``{verdict}`lem1` `` is the badge of one row, linked to the row; ``{verdict-counts}`all` `` sums
the verdicts up (``{verdict-counts}`proved` `` counts one); the ``{ledger}`` directive is the
table. All are filled in from ``ledger.json`` in the source directory when pages are written, so a
new verdict needs no new reading of the chapters.
"""

import hashlib
import html
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole
from sphinx_proof.nodes import proof_node

from .markup import inline

logger = logging.getLogger(__name__)


class verdict_badge(nodes.Inline, nodes.Element):  # noqa: N801 - docutils names nodes so
    """Stands for the badge of a row."""


class verdict_counts(nodes.Inline, nodes.Element):  # noqa: N801
    """Stands for the number of verdicts."""


class ledger_table(nodes.General, nodes.Element):  # noqa: N801
    """Stands for the table."""


class VerdictRole(SphinxRole):
    """``{verdict}`id` ``."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Leave the place of the badge."""
        return [verdict_badge(claim=self.text.strip(), line=self.lineno)], []


class CountsRole(SphinxRole):
    """``{verdict-counts}`all` `` or ``{verdict-counts}`proved` ``."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Leave the place of the numbers."""
        return [verdict_counts(which=self.text.strip())], []


class LedgerDirective(SphinxDirective):
    """The whole table; a page that has it is where the badges lead."""

    def run(self) -> list[nodes.Node]:
        """Leave the place of the table."""
        pages(self.env).add(self.env.docname)
        return [ledger_table()]


def pages(env: BuildEnvironment) -> set[str]:
    """The pages that show the ledger."""
    found: set[str] = env.__dict__.setdefault("bookrun_ledger_pages", set())
    return found


def _ledger(app: Sphinx) -> dict[str, Any]:
    path = Path(app.srcdir) / "ledger.json"
    if not path.is_file():
        return {"rows": [], "counts": {}, "preview": True}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _note_verdicts(app: Sphinx, config: Any) -> None:
    """Make the verdicts part of the configuration: when they change, every page is rewritten."""
    content = json.dumps(_ledger(app), sort_keys=True)
    config.bookrun_verdicts = hashlib.sha256(content.encode()).hexdigest()


def _purge(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    pages(env).discard(docname)


def _place_of(env: BuildEnvironment, label: str) -> tuple[str, str] | None:
    """The page and the anchor of a label of the book: a theorem's, a section's, an equation's."""
    proofs = getattr(env, "proof_list", {})
    if label in proofs:
        return str(proofs[label]["docname"]), str(proofs[label]["ids"][0])
    standard = env.get_domain("std")
    found = getattr(standard, "anonlabels", {}).get(label.lower())
    if found:
        return str(found[0]), str(found[1])
    equations = getattr(env.get_domain("math"), "equations", {})
    if label in equations:
        return str(equations[label][0]), f"equation-{nodes.make_id(label)}"
    return None


def _check_labels(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Warn of rows without a place in the book, also when no page but the ledger changed."""
    table = _ledger(app)
    if table.get("preview"):
        return []
    for row in table["rows"]:
        if row["label"] and _place_of(env, row["label"]) is None:
            logger.warning("ledger row %s: the book has no label %s", row["id"], row["label"])
    return []


def _fill_in(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    table = _ledger(app)
    rows = {row["id"]: row for row in table["rows"]}
    for badge in list(doctree.findall(verdict_badge)):
        row = rows.get(badge["claim"])
        if row is None and not table.get("preview"):
            logger.warning(
                "verdict of %s: there is no such row in the ledger",
                badge["claim"],
                location=docname,
            )
        badge.replace_self(_raw(_badge(app, docname, badge["claim"], row)))
    for counts in list(doctree.findall(verdict_counts)):
        counts.replace_self(_raw(_counts(table["counts"], counts["which"], docname)))
    for proof in doctree.findall(proof_node):
        _set_off_opening(proof)
    for place in list(doctree.findall(ledger_table)):
        place.replace_self(_raw(_table(app, docname, table["rows"])))


def _set_off_opening(proof: nodes.Element) -> None:
    """Set the opening "Proof." in italics, as the theme leaves it plain text."""
    first = next((text for text in proof.findall(nodes.Text) if text.strip()), None)
    if first is None or not first.startswith("Proof. "):
        return
    parent, rest = first.parent, first.removeprefix("Proof. ")
    index = parent.index(first)
    opening = nodes.emphasis("", "Proof.", classes=["bookrun-proof"])
    parent[index : index + 1] = [opening, nodes.Text(" " + rest)]


def _raw(text: str) -> nodes.raw:
    return nodes.raw("", text, format="html")


def _badge(app: Sphinx, docname: str, claim: str, row: dict[str, Any] | None) -> str:
    word = row["verdict"] if row else "not checked here"
    text = row["text"] if row else word
    inner = (
        f'<span class="bookrun-badge bookrun-{word.replace(" ", "-")}">{html.escape(text)}</span>'
    )
    homes = sorted(pages(app.env))
    if not homes or row is None:
        return inner
    target = app.builder.get_relative_uri(docname, homes[0]) if homes[0] != docname else ""
    return (
        f'<a class="bookrun-badge-link" href="{target}#claim-{html.escape(claim)}" '
        f'title="{html.escape(row["place"])} in the ledger">{inner}</a>'
    )


def _counts(counts: dict[str, int], which: str, docname: str) -> str:
    if which == "all":
        return html.escape(", ".join(f"{count} {word}" for word, count in counts.items()) or "none")
    if which not in counts and which not in _words():
        logger.warning("verdict-counts: %r is not a verdict", which, location=docname)
    return str(counts.get(which, 0))


def _words() -> tuple[str, ...]:
    from .ledger import VERDICTS

    return VERDICTS


def _table(app: Sphinx, docname: str, rows: list[dict[str, Any]]) -> str:
    names = ("In the paper", "Statement", "Verdict and evidence")
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    body = "".join(_row(app, docname, row) for row in rows)
    return (
        '<div class="bookrun-table bookrun-ledger" role="region" tabindex="0" '
        f'aria-label="The claims ledger"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _row(app: Sphinx, docname: str, row: dict[str, Any]) -> str:
    place = _place_of(app.env, row["label"]) if row["label"] else None
    paper = html.escape(row["place"])
    if place:
        target = app.builder.get_relative_uri(docname, place[0]) if place[0] != docname else ""
        paper = f'<a href="{target}#{html.escape(place[1])}">{paper}</a>'
    badge = _badge_text(row)
    note = f'<div class="bookrun-note">{html.escape(row["note"])}</div>' if row["note"] else ""
    claim = html.escape(row["id"])
    return (
        f'<tr id="claim-{claim}"><td>{paper}<br><code>{claim}</code></td>'
        f"<td>{inline(row['statement'])}{''.join(_erratum(row['erratum']))}</td>"
        f"<td>{badge}{note}{''.join(_evidence(row))}</td></tr>"
    )


def _badge_text(row: dict[str, Any]) -> str:
    return (
        f'<span class="bookrun-badge bookrun-{row["verdict"].replace(" ", "-")}">'
        f"{html.escape(row['text'])}</span>"
    )


def _erratum(erratum: dict[str, str]) -> Iterator[str]:
    if not erratum:
        return
    yield '<details class="bookrun-erratum"><summary>Erratum</summary><dl>'
    for key in ("printed", "counterexample", "corrected", "survives"):
        if key in erratum:
            yield f"<dt>{key.capitalize()}</dt><dd>{inline(erratum[key])}</dd>"
    yield "</dl></details>"


def _evidence(row: dict[str, Any]) -> Iterator[str]:
    tests, checks = row["tests"], row["checks"]
    lines = []
    if checks["count"]:
        where = ", ".join(place.removeprefix("chapter ") for place in checks["where"])
        lines.append(f"{_plural(checks['count'], 'check')} in {html.escape(where)}")
    if tests["count"]:
        lines.append(f"{_plural(tests['count'], 'test')}, {_plural(tests['cases'], 'case')}")
    controls = tests["controls"] + checks["controls"]
    if controls:
        lines.append(_plural(controls, "negative control"))
    yield from (f'<div class="bookrun-note">{line}</div>' for line in lines)
    if tests["count"]:
        command = f"make test CLAIM={html.escape(row['id'])}"
        yield f'<div><code class="bookrun-command">{command}</code></div>'


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_config_value("bookrun_verdicts", "", "html")
    app.set_html_assets_policy("always")  # tables and checks may be a page's only mathematics
    app.add_node(verdict_badge)
    app.add_node(verdict_counts)
    app.add_node(ledger_table)
    app.add_role("verdict", VerdictRole())
    app.add_role("verdict-counts", CountsRole())
    app.add_directive("ledger", LedgerDirective)
    app.connect("config-inited", _note_verdicts)
    app.connect("env-purge-doc", _purge)
    app.connect("env-updated", _check_labels)
    app.connect("doctree-resolved", _fill_in)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
