"""Numbers and traces that a chapter hands out, for the page and for a sweep's table."""

import html
import itertools
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from bookrun.display.markup import inline, number, show
from bookrun.outputs import NUMBER, TRACE

#: Set in the kernels of a sweep: the directory that keeps the traces of a point.
TRACES = "BOOKRUN_TRACES"


@runtime_checkable
class Saved(Protocol):
    """A thing that can write itself into a file, as a ``localgd.Trace`` can."""

    def save(self, path: Path) -> None:
        """Write to ``path``."""
        ...

    def __len__(self) -> int:
        """Return the number of rows."""
        ...


def report(name: str, value: Any) -> None:
    """Hand out ``value``, a number or a trace, under ``name``.

    A number (a bool too, NumPy's and torch's scalars included) is shown in the page and travels in
    the executed notebook, where checks do; in a sweep it is a column of the table. It has no
    bounds: :func:`bookrun.check` is for a number that must lie somewhere, and the table has those
    as well. A trace is kept beside the notebook of a sweep's point, and nowhere else.

    Raises ``TypeError`` for anything else, and ``ValueError`` for an empty name.
    """
    if not name.strip():
        raise ValueError("report: a number without a name cannot be found in a table")
    plain = value.item() if hasattr(value, "item") and getattr(value, "ndim", 0) == 0 else value
    if isinstance(plain, bool | int | float):
        kept = plain if math.isfinite(plain) else str(plain)
        _show(name, number(plain), {NUMBER: {"name": name, "value": kept}})
    elif isinstance(value, Saved):
        _keep(name, value)
    else:
        raise TypeError(f"report {name!r}: {value!r} is neither a number nor a trace")


def _keep(name: str, trace: Saved) -> None:
    directory = os.environ.get(TRACES)
    if not directory:
        return
    stem = re.sub(r"[^\w.-]+", "-", name).strip("-.") or "trace"
    taken = {path.name.casefold() for path in Path(directory).iterdir()}
    file = next(file for file in _files(stem) if file.casefold() not in taken)
    trace.save(Path(directory) / file)
    _show(name, f"{len(trace)} rows", {TRACE: {"name": name, "file": file}})


def _files(stem: str) -> Iterator[str]:
    """Yield names of files for traces whose names have the same letters and digits."""
    yield f"{stem}.npz"
    for k in itertools.count(2):
        yield f"{stem}-{k}.npz"


def _show(name: str, shown: str, record: dict[str, Any]) -> None:
    page = (
        '<div class="bookrun-check bookrun-reported">'
        f'<span class="bookrun-name">{inline(name)}</span> '
        f'<span class="bookrun-value">{html.escape(shown)}</span></div>'
    )
    show(page, f"{name}: {shown}", record)
