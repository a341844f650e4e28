"""Tables of numbers that stay readable on a page of any width."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

from bookrun.display.markup import inline, number, show

Rows = Sequence[Mapping[str, Any]]


def table(
    rows: Any,
    *,
    caption: str = "",
    headings: Mapping[str, str] | None = None,
    formats: Mapping[str, str] | None = None,
) -> None:
    """Show rows (a pandas frame or a sequence of mappings) as a table in a box that scrolls.

    ``headings`` gives a column another heading, ``formats`` a format specification such as
    ``".2e"``; both by column name. Headings, text cells and the caption may hold ``$…$`` and
    backticks. A frame's index is not shown.
    """
    records: Rows = rows.to_dict("records") if hasattr(rows, "to_dict") else list(rows)
    if not records:
        raise ValueError("a table needs at least one row")
    columns = list(records[0])
    for option, given in (("headings", headings), ("formats", formats)):
        unknown = sorted(set(given or {}) - set(columns))
        if unknown:
            raise ValueError(f"{option} names {', '.join(unknown)}; the columns are {columns}")
    names = {**{c: str(c) for c in columns}, **(headings or {})}
    cells = [[_cell(row[c], (formats or {}).get(c, "")) for c in columns] for row in records]
    plain = [[names[c] for c in columns], *[[text for text, _ in row] for row in cells]]
    label = html.escape(caption or ", ".join(names.values()), quote=True)
    head = "".join(
        f'<th scope="col"{_right(cells, k)}>{inline(names[c])}</th>' for k, c in enumerate(columns)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="bookrun-number">{text}</td>' if numeric else f"<td>{inline(text)}</td>"
            for text, numeric in row
        )
        + "</tr>"
        for row in cells
    )
    title = f"<caption>{inline(caption)}</caption>" if caption else ""
    page = (
        f'<div class="bookrun-table" role="region" tabindex="0" aria-label="{label}">'
        f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
    show(page, _aligned(plain))


def _cell(value: Any, spec: str) -> tuple[str, bool]:
    plain = value.item() if hasattr(value, "item") else value
    if plain is None:
        return "–", False
    numeric = isinstance(plain, int | float) and not isinstance(plain, bool)
    if spec and numeric:
        return format(plain, spec).replace("-", "−"), True
    return number(plain), numeric


def _right(cells: list[list[tuple[str, bool]]], column: int) -> str:
    return ' class="bookrun-number"' if any(row[column][1] for row in cells) else ""


def _aligned(rows: list[list[str]]) -> str:
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return "\n".join(
        "  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True))
        for row in rows
    )
