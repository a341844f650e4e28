"""Runs a chapter over a grid of its parameters: ``python -m bookrun sweep FILE``.

:func:`sweep` is the whole of it. ``grid`` reads and checks the file, ``points`` keeps what was
found, ``cluster`` and ``task`` run the points with Dask, ``results`` makes the table, ``page`` and
``panels`` the page.
"""

from bookrun.sweeps.results import Results
from bookrun.sweeps.run import planned, sweep

__all__ = ["Results", "planned", "sweep"]
