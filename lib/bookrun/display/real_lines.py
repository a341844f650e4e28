"""Take the named lines of a figure, and draw those of the run on the real data beside its own."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from bookrun.display.style import GREY
from bookrun.real_run import Line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: No more points of a line are kept: the ends, and others spread evenly by number.
MOST_POINTS = 150


def taken(fig: "Figure") -> list[Line]:
    """Return the lines with a label, thinned, to five digits."""
    found: list[Line] = []
    for panel, ax in enumerate(fig.axes):
        for line in ax.get_lines():
            label = str(line.get_label())
            if label.startswith("_") or line.get_transform() != ax.transData:
                continue
            x, y = (np.asarray(values, float) for values in (line.get_xdata(), line.get_ydata()))
            shown = np.unique(np.linspace(0, len(x) - 1, MOST_POINTS).round().astype(int))
            points = [[float(f"{v:.5g}") for v in values[shown]] for values in (x, y)]
            found.append({"panel": panel, "label": label, "x": points[0], "y": points[1]})
    return found


def draw(fig: "Figure", lines: Sequence[Line]) -> None:
    """Draw the lines in grey, each in its panel, under those that are there."""
    axes = fig.axes
    for line in lines:
        if line["panel"] >= len(axes):
            continue
        ax = axes[line["panel"]]
        ax.plot(line["x"], line["y"], color=GREY, lw=0.9, ls=(0, (1, 1)), zorder=0.5)
