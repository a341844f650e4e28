"""Executes the book's chapters and keeps the claims ledger.

A chapter imports from here the few calls with which it shows what it found: :func:`check` for
a number and its bounds, :func:`report` for one without bounds and for a trace, :func:`figure` and
:func:`table` for pictures and tables, :func:`banner` for the data it ran on. The rest of the
package is the pipeline behind ``python -m bookrun``; a chapter imports nothing of it but
:func:`bookrun.sweeps.sweep`, which runs a chapter over a grid.
"""

from .checks import CheckFailed, check
from .display import FigureError, banner, figure
from .reports import report
from .tables import table

__all__ = ["CheckFailed", "FigureError", "banner", "check", "figure", "report", "table"]
