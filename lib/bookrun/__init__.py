"""Execute the book's chapters and keep the claims ledger.

A chapter imports from here, and from nothing below, what it needs besides `localgd`: the calls
that show what it found (`check`, `report`, `figure`, `table`, `banner`), the book's style and
colours, the curves that several chapters draw, the recorded experiments, and `sweep`, which runs a
chapter over a grid.  Names are loaded on first use: a command pays for nothing that it does not
use.  The rest of the package is the pipeline behind ``python -m bookrun``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bookrun.display.banner import banner
    from bookrun.display.checks import CheckFailed, check
    from bookrun.display.curves import band, columns, work
    from bookrun.display.figures import FigureError, figure
    from bookrun.display.reports import report
    from bookrun.display.style import (
        BLACK,
        BLUE,
        GREEN,
        GREY,
        ORANGE,
        PURPLE,
        RED,
        SKY,
        STEPS_STYLE,
        use_style,
    )
    from bookrun.display.tables import table
    from bookrun.experiments import records
    from bookrun.experiments.case import Case, carry_out, network_problem, training_data
    from bookrun.experiments.comparison import compare, replay, shifted
    from bookrun.experiments.families import tilted_subspaces
    from bookrun.experiments.figures import beginning
    from bookrun.experiments.replays import LOSS_TOLERANCE
    from bookrun.sweeps import sweep

_HOMES = {
    "banner": ("banner",),
    "checks": ("CheckFailed", "check"),
    "curves": ("band", "columns", "work"),
    "figures": ("FigureError", "figure"),
    "reports": ("report",),
    "style": (
        "BLACK",
        "BLUE",
        "GREEN",
        "GREY",
        "ORANGE",
        "PURPLE",
        "RED",
        "SKY",
        "STEPS_STYLE",
        "use_style",
    ),
    "tables": ("table",),
}
_MODULE = {name: f"bookrun.display.{home}" for home, names in _HOMES.items() for name in names} | {
    "Case": "bookrun.experiments.case",
    "LOSS_TOLERANCE": "bookrun.experiments.replays",
    "beginning": "bookrun.experiments.figures",
    "carry_out": "bookrun.experiments.case",
    "compare": "bookrun.experiments.comparison",
    "network_problem": "bookrun.experiments.case",
    "replay": "bookrun.experiments.comparison",
    "shifted": "bookrun.experiments.comparison",
    "sweep": "bookrun.sweeps",
    "tilted_subspaces": "bookrun.experiments.families",
    "training_data": "bookrun.experiments.case",
}

__all__ = [
    "BLACK",
    "BLUE",
    "GREEN",
    "GREY",
    "LOSS_TOLERANCE",
    "ORANGE",
    "PURPLE",
    "RED",
    "SKY",
    "STEPS_STYLE",
    "Case",
    "CheckFailed",
    "FigureError",
    "band",
    "banner",
    "beginning",
    "carry_out",
    "check",
    "columns",
    "compare",
    "figure",
    "network_problem",
    "records",
    "replay",
    "report",
    "shifted",
    "sweep",
    "table",
    "tilted_subspaces",
    "training_data",
    "use_style",
    "work",
]


def __getattr__(name: str) -> Any:
    """Load a public name from the module that defines it."""
    if name == "records":
        return import_module("bookrun.experiments.records")
    if name not in _MODULE:
        raise AttributeError(f"module 'bookrun' has no attribute {name!r}")
    value = getattr(import_module(_MODULE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *__all__})
