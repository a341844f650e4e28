"""Executes the book's chapters and keeps the claims ledger.

A chapter imports from here the few calls with which it shows what it found: :func:`check` for
a number and its bounds, :func:`figure` and :func:`table` for pictures and numbers,
:func:`banner` for the data it ran on. The rest of the package is the pipeline behind
``python -m bookrun``; nothing of it is imported by a chapter.
"""

from .checks import CheckFailed, check
from .display import FigureError, banner, figure
from .tables import table

__all__ = ["CheckFailed", "FigureError", "banner", "check", "figure", "table"]
