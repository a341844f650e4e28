"""The small plots of a sweep's page: one number a panel, against a parameter that varies."""

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bookrun.display.figures import svg
from bookrun.sweeps.grid import Plot
from bookrun.sweeps.points import OUTSIDE
from bookrun.sweeps.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

#: A range of values that spans more than this factor is drawn on a logarithmic axis.
_WIDE = 30
_MOST_LINES = 8
_MOST_PANELS = 24
_MARKERS = "os^Dv<>P"
_DASHES = ("-", "--", "-.", ":")


@dataclass(frozen=True)
class Panel:
    """A small plot: its heading, what one sees in words, and the picture as a data address."""

    heading: str
    alt: str
    picture: str


def panels(results: Results) -> list[Panel]:
    """Return the panels that the grid file asks for, or one for each reported number."""
    frame = results.frame
    known = {*results.numbers, *results.checks}
    plot = results.grid.plot
    groups = [tuple(name for name in group if name in known) for group in plot.y]
    groups = [group for group in groups if group] or [(name,) for name in results.numbers]
    numeric = [name for name in results.varied if _is_numeric(frame[name])]
    drawable = not plot.x or frame[plot.x].dtype.kind in "if"  # numbers beyond 64 bits are text
    if frame.empty or not groups or not (plot.x or numeric) or not drawable:
        return []
    axes = [plot.x] if plot.x else _axes(frame, numeric)
    return [_panel(results, x, _by(results, plot, x), group) for group in groups for x in axes][
        :_MOST_PANELS
    ]


def _is_numeric(column: Any) -> bool:
    return column.dtype.kind in "if" and column.nunique() > 1


def _axes(frame: "DataFrame", numeric: Sequence[str]) -> list[str]:
    """Return what to draw against: a grid's finest parameter, each parameter of a random sample."""
    counts = {name: int(frame[name].nunique()) for name in numeric}
    scattered = [name for name in numeric if counts[name] > 0.8 * len(frame)]
    if len(scattered) > 1:
        return scattered
    return [max(numeric, key=lambda name: counts[name])]


def _by(results: Results, plot: Plot, x: str) -> str:
    """Return the parameter that has a line for each value; empty where none has few enough."""
    if plot.by and plot.by != x:
        return plot.by
    others = [name for name in results.varied if name != x]
    fitting = [name for name in others if 1 < results.frame[name].nunique() <= _MOST_LINES]
    return fitting[0] if fitting else ""


def _panel(results: Results, x: str, by: str, group: tuple[str, ...]) -> Panel:
    from matplotlib import pyplot as plt
    from matplotlib import style

    from bookrun.display.style import STYLE

    with style.context(STYLE):
        fig, ax = plt.subplots(figsize=(4.6, 3.2))
        _draw(ax, results, x, by, group)
        picture = base64.b64encode(svg(fig, "sweep").encode()).decode()
        plt.close(fig)
    names = " and ".join(group)
    return Panel(
        f"{names} against {x}",
        _alt(results.frame, x, by, group),
        f"data:image/svg+xml;base64,{picture}",
    )


def _draw(ax: "Axes", results: Results, x: str, by: str, group: tuple[str, ...]) -> None:
    from matplotlib import colormaps

    frame = results.frame
    levels = list(dict.fromkeys(frame[by].sort_values())) if by else [None]
    connected = len(frame[x].unique()) * max(1, len(levels)) <= 1.5 * len(frame) + 2
    shades = colormaps["viridis"].resampled(len(levels) + 1)
    for i, level in enumerate(levels):
        part = frame[frame[by] == level] if by else frame
        for k, name in enumerate(group):
            rows = part.dropna(subset=[name]).sort_values(x)
            colour = shades(i) if by else f"C{k}"
            label = ", ".join(
                [*([f"{by} = {_short(level)}"] if by else []), *([name] if len(group) > 1 else [])]
            )
            line = _DASHES[k % len(_DASHES)] if connected and len(rows) > 1 else ""
            ax.plot(rows[x], rows[name], line, color=colour, lw=1.4, label=label or None)
            for status, face in ((True, "white"), (False, colour)):
                dots = rows[(rows["status"] == OUTSIDE) == status]
                ax.plot(
                    dots[x], dots[name], _MARKERS[(i if by else k) % len(_MARKERS)], ms=4,
                    color=colour, markerfacecolor=face,
                )  # fmt: skip
    ax.set(xlabel=_text(x), ylabel=_text(group[0] if len(group) == 1 else ""))
    ax.set_xscale("log" if _is_wide([frame[x]]) else "linear")
    ax.set_yscale("log" if _is_wide([frame[name] for name in group]) else "linear")
    handles = [line for line in ax.lines if not str(line.get_label()).startswith("_")]
    if 1 < len(handles) <= 2 * _MOST_LINES:
        ax.legend(fontsize=7, handlelength=1.6, ncols=1 + (len(handles) > 5))


def _is_wide(columns: Sequence[Any]) -> bool:
    values = [v for column in columns for v in column if math.isfinite(v)]
    return bool(values) and min(values) > 0 and max(values) > _WIDE * min(values)


def _alt(frame: "DataFrame", x: str, by: str, group: tuple[str, ...]) -> str:
    parts = []
    for name in group:
        rows = frame.dropna(subset=[name])
        if rows.empty:
            parts.append(f"{name}: no values")
            continue
        low, high = rows.loc[rows[name].idxmin()], rows.loc[rows[name].idxmax()]
        parts.append(
            f"{name} from {_short(low[name])} at {_where(low, x, by)} "
            f"to {_short(high[name])} at {_where(high, x, by)}"
        )
    lines = f", a line for each {by}" if by else ""
    return f"Plot against {x}{lines}. {'; '.join(parts)}."


def _where(row: Any, x: str, by: str) -> str:
    return ", ".join(f"{name} = {_short(row[name])}" for name in (x, by) if name)


def _short(value: Any) -> str:
    return format(value, ".4g") if isinstance(value, float) else str(value)


def _text(name: str) -> str:
    return name.replace("_", r"\_") if "$" in name else name
