"""Figures and banners: what a chapter shows of its runs and of the data behind them."""

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bookrun import real_run
from bookrun.display import real_lines
from bookrun.display.checks import DataSource
from bookrun.outputs import FIGURE, PIPELINE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_last_cell: list[int] = []


class FigureError(ValueError):
    """A figure that a page could not show or a reader could not use."""


def figure(
    fig: "Figure",
    *,
    label: str,
    caption: str,
    alt: str,
    sources: Sequence[DataSource] = (),
    real: str | Path | None = None,
) -> None:
    """Show a matplotlib figure as a numbered, captioned, sharp picture, and close it.

    ``label`` is what ``{numref}`` refers to, ``caption`` is MyST Markdown and may be computed,
    ``alt`` says in words what the picture shows. Where one of ``sources`` is a stand-in, the
    caption ends with a sentence that says so. One figure a cell: a second raises ``FigureError``.
    ``real`` names the file of `bookrun.real_run`: there the lines with a label are kept by ``make
    record-real``, and on a stand-in they are drawn beside this figure's own.
    """
    for name, text in (("label", label), ("caption", caption), ("alt", alt)):
        if not text.strip():
            raise FigureError(f"figure {label!r}: its {name} is empty")
    _only_one(label)
    stand_ins = [source for source in sources if source.kind != "real"]
    caption = " ".join(caption.split())
    if stand_ins:
        names = ", ".join(dict.fromkeys(str(getattr(s, "name", "data")) for s in stand_ins))
        caption += f" **Drawn from stand-in data, not from the real {names}.**"
    record: dict[str, Any] = {"label": label, "alt": " ".join(alt.split())}
    if real is not None and stand_ins:
        caption += _beside(fig, label, real_run.load(Path(real)))
    elif real is not None:
        record["lines"] = real_lines.taken(fig)
        record["data"] = {k: v for s in sources for k, v in getattr(s, "sha256", {}).items()}
    record["caption"] = caption
    picture = svg(fig, label)
    _close(fig)

    from IPython.display import Markdown, display

    display(
        {"image/svg+xml": picture, "text/plain": f"Figure {label}: {record['alt']}"},
        raw=True,
        metadata={"bookrun": {FIGURE: record}},
    )
    if PIPELINE not in os.environ:
        display(Markdown(f"*Figure* (`{label}`). {caption}"))


def _beside(fig: "Figure", label: str, known: real_run.RealRun | None) -> str:
    """Draw the lines of the run on the real data, and return the sentence on them."""
    lines = known.figures.get(label) if known else None
    if known is None or not lines:
        return ""
    real_lines.draw(fig, lines)
    return f" Grey, dotted: the same on the real data, recorded {known.when}, not run again here."


def _only_one(label: str) -> None:
    from IPython.core.getipython import get_ipython

    shell: Any = get_ipython()
    if shell is None:
        return
    if _last_cell == [shell.execution_count]:
        raise FigureError(f"figure {label!r} is the second one in its cell: give it its own cell")
    _last_cell[:] = [shell.execution_count]


def svg(fig: "Figure", label: str) -> str:
    """Return the picture, the same bytes for the same drawing: fixed ids, no date."""
    import matplotlib as mpl

    stream = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "path", "svg.hashsalt": label}):
        fig.savefig(
            stream, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None}
        )
    return stream.getvalue()


def _close(fig: "Figure") -> None:
    from matplotlib import pyplot as plt

    plt.close(fig)
