"""Sphinx extension: the claims ledger in the pages.

=============================  ====================================================================
``{verdict}`lem1` ``           the badges of a row, and the command that makes its evidence again;
                               they stand beside each statement of the book
``{printed} lem5``             a statement as the paper prints it, where it is false, with its badge
``{step}`lem1 expand` ``       a step of a proof, and whether a machine has checked it
``{badge}`lem1` ``             what became of the paper's statement, for running text
``{value}`deep:lead` ``        the number that a check or a report computed, with its bounds
``{verdict-counts}`all` ``     how many rows have each verdict (``badges``: as badges; ``holds``:
                               how many have this one)
``{ledger}``                   the table of all rows, where the badges lead
``{errata}``                   the corrections, each with its counterexample
``{paper-map}``                section by section, the chapter and the verdicts
``{headlines}``                those that matter most, a sentence or two each
=============================  ====================================================================

Above each chapter's title stands where else it can be had
(:mod:`bookrun.sphinxext.notebook_links`).

The verdicts are filled in from ``ledger.json`` in the source directory when pages are written,
so a new verdict needs no new reading of the chapters.
"""

import json
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

from bookrun.files import digest, digest_files
from bookrun.sphinxext import (
    badges,
    errata,
    ledger_file,
    notebook_links,
    page_description,
    paper_map,
    printed,
    proof_folds,
    proof_steps,
    solutions,
    theme_fixes,
    values,
    verdict_table,
)
from bookrun.sphinxext.references import Links, forget, ledger, position, shown_on

_PARTS = (
    (verdict_table.LedgerTable, verdict_table.render),
    (errata.Errata, errata.render),
    (errata.Headlines, errata.render_headlines),
)

logger = logging.getLogger(__name__)


def _note_what_all_pages_show(app: Sphinx, config: Any) -> None:
    """Make verdicts and style part of the configuration, so that every page is written with them.

    Sphinx itself looks at the pages alone, and would leave an old style sheet where it is.
    """
    config.exclude_patterns.append(f"{notebook_links.FOLDER}/*")
    config.bookrun_verdicts = digest(json.dumps(ledger(app), sort_keys=True))
    static = Path(app.srcdir) / "_static"
    config.bookrun_style = digest_files(static, filter(Path.is_file, static.rglob("*")))


def _forget_page(_app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    forget(env, docname)


def _check_places(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Warn of rows without their place in the book, also when no page but the ledger changed."""
    found = ledger(app)
    if found["preview"]:
        return []
    for row in found["rows"]:
        claim, label = row["id"], row["label"]
        if label and position(env, label) is None:
            logger.warning("ledger row %s: the book has no label %s", claim, label)
        elif label and not shown_on(env, f"verdict {claim}"):
            logger.warning(
                "ledger row %s: no page has {verdict}`%s` beside the statement", claim, claim
            )
        if row["erratum"] and row["kind"] != "figure" and not shown_on(env, f"printed {claim}"):
            logger.warning(
                "ledger row %s: no page has {printed} %s before the corrected statement",
                claim,
                claim,
            )
    if any(row["erratum"] for row in found["rows"]) and not shown_on(env, "errata"):
        logger.warning("the ledger has errata, but no page has the {errata} directive")
    return []


def _fill_in(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    found = ledger(app)
    links = Links(app, docname)
    printed.fill_in(doctree, found, links)
    badges.fill_in(doctree, found, links)
    proof_steps.fill_in(doctree, found)
    values.fill_in(doctree, found, links)
    paper_map.fill_in(doctree, found, links)
    for kind, render in _PARTS:
        for place in list(doctree.findall(kind)):
            place.replace_self(nodes.raw("", render(found["rows"], links), format="html"))
    proof_folds.fold(doctree)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_config_value("bookrun_verdicts", "", "html")
    app.add_config_value("bookrun_style", "", "html")
    app.set_html_assets_policy("always")  # tables and checks may be a page's only mathematics
    places = (
        badges.VerdictBadge,
        badges.VerdictCounts,
        printed.Printed,
        proof_steps.ProofStep,
        values.Value,
        paper_map.PaperMap,
    )
    for node in (*places, *(kind for kind, _ in _PARTS)):
        app.add_node(node)
    app.add_role("verdict", badges.VerdictRole())
    app.add_role("badge", badges.BadgeRole())
    app.add_role("verdict-counts", badges.CountsRole())
    app.add_role("step", proof_steps.StepRole())
    app.add_role("value", values.ValueRole())
    app.add_directive("printed", printed.PrintedDirective)
    app.add_directive("solution", solutions.SolutionDirective)
    app.add_directive("paper-map", paper_map.PaperMapDirective)
    app.add_directive("ledger", verdict_table.LedgerDirective)
    app.add_directive("errata", errata.ErrataDirective)
    app.add_directive("headlines", errata.HeadlinesDirective)
    app.add_js_file(
        None, body=theme_fixes.QUOTE_NOT_FROM_DISK, priority=300
    )  # after the options' own
    app.connect("config-inited", _note_what_all_pages_show)
    app.connect("config-inited", theme_fixes.use_templates, priority=900)  # after the theme's
    app.connect("config-inited", theme_fixes.order_search)
    app.connect("env-purge-doc", _forget_page)
    app.connect("env-updated", _check_places)
    app.connect("doctree-resolved", _fill_in)
    app.connect("doctree-resolved", theme_fixes.shorten_chapter_links)
    app.connect("html-page-context", theme_fixes.page)
    app.connect("html-page-context", page_description.add)
    app.connect("html-page-context", notebook_links.add_line)
    app.connect("build-finished", notebook_links.write_notebooks)
    app.connect("build-finished", ledger_file.write)
    return {"version": "2", "parallel_read_safe": False, "parallel_write_safe": True}
