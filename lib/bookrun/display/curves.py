"""Curves of several seeds: the median, and the range as a band, for live and recorded runs."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]


class Run(Protocol):
    """A run with a row a round: a ``localgd.Trace``, a recorded run."""

    @property
    def loss(self) -> Array:
        """f(x_n), shape (rows,)."""
        ...

    @property
    def local_steps(self) -> Array:
        """The steps of each node in round n, shape (rows, m)."""
        ...


def columns(runs: Sequence[Any], quantity: str | Callable[[Any], Array]) -> Array:
    """Return a column of several runs as (runs, rows), as many rows as the shortest of them has.

    ``quantity``: an attribute such as ``"loss"``, or a function of a run.
    """
    found = [getattr(r, quantity) if isinstance(quantity, str) else quantity(r) for r in runs]
    rows = min(map(len, found))
    return np.array([column[:rows] for column in found], float)


def band(
    ax: "Axes", runs: Sequence[Any], quantity: str | Callable[[Any], Array] = "loss", **style: Any
) -> None:
    """Draw the median of ``quantity`` over the runs against the round, and their range."""
    curves = columns(runs, quantity)
    rounds = np.arange(curves.shape[1])
    (line,) = ax.plot(rounds, np.median(curves, 0), **style)
    ax.fill_between(rounds, curves.min(0), curves.max(0), color=line.get_color(), alpha=0.2, lw=0)


def work(run: Run) -> Array:
    """Local steps up to x_n, those of the slowest node in each round, shape (rows,)."""
    total: Array = np.cumsum(run.local_steps.max(1))
    return total
