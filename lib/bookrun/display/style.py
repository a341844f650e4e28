"""One matplotlib style for every figure of the book.

The same quantity has the same colour everywhere.  The colours are Okabe and Ito's, which
stay apart in every common form of colour-blindness, and each comes with its own marker and
dash so that they stay apart in greyscale.
"""

from __future__ import annotations

import math
from typing import Any

from cycler import cycler
from matplotlib import style

BLACK = "#000000"
ORANGE = "#E69F00"
SKY = "#56B4E9"
GREEN = "#009E73"
BLUE = "#0072B2"
RED = "#D55E00"
PURPLE = "#CC79A7"
GREY = "#777777"

#: The line of each number of local steps T; `math.inf` also stands for the threshold rule.
STEPS_STYLE: dict[float, dict[str, Any]] = {
    1: {"color": BLUE, "linestyle": "-"},
    10: {"color": ORANGE, "linestyle": "--"},
    100: {"color": GREEN, "linestyle": "-."},
    1000: {"color": PURPLE, "linestyle": (0, (5, 1, 1, 1, 1, 1))},
    math.inf: {"color": RED, "linestyle": ":"},
}

STYLE: dict[str, Any] = {
    "axes.grid": True,
    "axes.prop_cycle": cycler(color=[BLUE, ORANGE, GREEN, RED, PURPLE, SKY, BLACK]),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.axisbelow": True,
    "figure.constrained_layout.use": True,
    "figure.figsize": (6.4, 3.8),
    "figure.dpi": 100,
    "font.size": 10.5,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "mathtext.fontset": "cm",
    "svg.fonttype": "path",
}


def use_style() -> None:
    """Make the book's style the current one."""
    style.use(STYLE)
