"""The page of a sweep: what was asked, the small plots, the table with a link to each run."""

import html
import json
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bookrun.display.markup import number
from bookrun.files import write_atomic
from bookrun.project import Project
from bookrun.sweeps.plots import Panel, panels
from bookrun.sweeps.points import FAILED, OK, OUTSIDE
from bookrun.sweeps.results import Results
from bookrun.sweeps.task import library_digest

_HERE = Path(__file__).parent
_MARKS = {OK: "✓", OUTSIDE: "○", FAILED: "✗"}


def write(project: Project, results: Results, planned: int) -> None:
    """Write ``index.html`` beside the table."""
    write_atomic(results.page, page(project, results, planned))


def page(project: Project, results: Results, planned: int) -> str:
    """Return the page, whole in one file; ``planned`` is the number of points asked for."""
    grid = results.grid
    style, script = ((_HERE / f"page.{kind}").read_text("utf-8") for kind in ("css", "js"))
    parts = [
        f"<h1>{_text(grid.question)}</h1>",
        f'<p class="lead">{_lead(results, planned)}</p>',
        *_failures(results),
        *_gallery(panels(results)),
        *_table(results),
        f"<footer>{_footer(project, results)}</footer>",
    ]
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_text(grid.name)}: {_text(grid.question)}</title>\n"
        f"<style>\n{style}</style></head>\n"
        f"<body><main>\n{body}\n</main>\n<script>\n{script}</script></body></html>\n"
    )


def _lead(results: Results, planned: int) -> str:
    """Return what was run, and how it went."""
    grid, frame = results.grid, results.frame
    varied = ", ".join(f"<code>{_text(name)}</code>" for name in results.varied)
    words = [f"Chapter <code>{_text(grid.chapter.name)}</code> over {varied}."]
    if grid.fixed:
        fixed = ", ".join(
            f"<code>{_text(name)} = {_text(number(value))}</code>"
            for name, value in grid.fixed.items()
        )
        words.append(f"Fixed: {fixed}.")
    counts = {status: int((frame["status"] == status).sum()) for status in (OK, OUTSIDE, FAILED)}
    left = planned - len(frame)
    told = [f"{counts[OK]} of {planned} points ran with every check inside its bounds"]
    if counts[OUTSIDE]:
        told.append(
            f"{counts[OUTSIDE]} with a check outside (hollow in the plots; the bounds belong to "
            "the chapter's own parameters)"
        )
    if counts[FAILED]:
        told.append(f"{counts[FAILED]} failed")
    if left:
        told.append(f"{left} not run yet")
    words.append("; ".join(told) + ".")
    if frame["unchecked"].any():
        words.append("<strong>Ran on stand-in data</strong>, on which some checks mean nothing.")
    return " ".join(words)


def _failures(results: Results) -> Iterator[str]:
    if results.failed.empty:
        return
    yield '<section class="failed"><h2>Failed</h2><ul>'
    for row in results.failed.to_dict("records"):
        point = ", ".join(f"{name}={_shown(row[name])}" for name in results.varied)
        links = _links(row, partial=True)
        yield f"<li><strong>{_text(point)}</strong>: {_text(row['error'])} {links}</li>"
    yield "</ul></section>"


def _gallery(drawn: list[Panel]) -> Iterator[str]:
    if not drawn:
        return
    yield '<section class="panels" aria-label="Plots">'
    for panel in drawn:
        yield (
            f'<figure><img src="{panel.picture}" alt="{html.escape(panel.alt)}">'
            f"<figcaption>{_text(panel.heading)}</figcaption></figure>"
        )
    yield "</section>"


def _table(results: Results) -> Iterator[str]:
    """Yield a table of the parameters that vary and the reported numbers, else the checked ones."""
    shown = [*results.varied, *(results.numbers or results.checks)]
    heads = [*shown, "status", "seconds", "run"]
    yield '<div class="box" tabindex="0" role="region" aria-label="Results"><table>'
    cells = "".join(
        f'<th scope="col"><button type="button">{_text(name)}</button></th>' for name in heads[:-1]
    )
    yield f'<thead><tr>{cells}<th scope="col">run</th></tr></thead><tbody>'
    for row in results.frame.to_dict("records"):
        values = "".join(_cell(row[name]) for name in shown)
        status = row["status"]
        why = row["error"] if status == FAILED else row["outside"]
        note = f'<span class="why">{_text(why)}</span>' if why else ""
        again = f" (run {row['attempts']} times)" if row["attempts"] > 1 else ""
        yield (
            f'<tr class="{status}">{values}<td data-value="{status}">{_MARKS[status]} {status}'
            f"{again}{note}</td>{_cell(row['seconds'])}<td>{_links(row)}</td></tr>"
        )
    yield "</tbody></table></div>"


def _cell(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f'<td class="number" data-value="{value!r}">{_text(_shown(value))}</td>'
    return f'<td data-value="{html.escape(str(value))}">{_text(_shown(value))}</td>'


def _shown(value: Any) -> str:
    return "–" if isinstance(value, float) and value != value else number(value)


def _links(row: Mapping[str, Any], *, partial: bool = False) -> str:
    """Return the run as a page, as a notebook, and its traces."""
    words = {"page": "partial page" if partial else "page", "notebook": "notebook"}
    found = [
        f'<a href="{html.escape(row[key])}">{word}</a>' for key, word in words.items() if row[key]
    ]
    found += [
        f'<a href="{html.escape(path)}" download>{_text(Path(path).stem)}</a>'
        for path in filter(None, str(row["traces"]).split("; "))
    ]
    return " · ".join(found)


def _footer(project: Project, results: Results) -> str:
    path = results.grid.path.resolve()
    command = f"make sweep GRID={shlex.quote(project.shown(path))}"
    last = max(results.frame["executed"], default="")
    seconds = float(results.frame["seconds"].sum())
    return (
        '<p>The table as <a href="results.parquet">Parquet</a> and <a href="results.csv">CSV</a>, '
        f"with all parameters and all checks. Made by <code>{_text(command)}</code>, which goes on "
        f"where it stopped and repeats nothing. {seconds:.0f} seconds of runs in all"
        f"{f'; last run {_text(last)}' if last else ''}. Python {_text(project.python)}, lib/ "
        f"<code>{library_digest()[:12]}</code>, {_text(_data(results))}.</p>"
    )


def _data(results: Results) -> str:
    names = results.grid.chapter.data
    if not names:
        return "no data"
    from localgd import datasets

    kinds = {name: datasets.fingerprint(name) for name in names}
    return "data " + json.dumps({name: mark[:12] for name, mark in kinds.items()})[1:-1]


def _text(value: Any) -> str:
    return html.escape(str(value))
