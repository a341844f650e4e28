"""The table of a sweep: one row a point, as Parquet and as CSV.

Columns, in order: ``point``; the chapter's parameters, those that vary first; the numbers that the
chapter reported, then those that it checked, by their names; ``status`` and, where a check lies
outside its bounds, its name in ``outside``; ``unchecked``, the number of checks that stand-in data
left open; ``error``; ``seconds``, ``attempts``, ``executed``; and ``notebook``, ``page`` and
``traces``, relative to the table. A name that is taken gets "(number)" or "(check)" behind it.
"""

import io
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bookrun.display.markup import number
from bookrun.files import write_atomic
from bookrun.outputs import CHECK, NUMBER
from bookrun.sweeps.grid import Grid
from bookrun.sweeps.points import FAILED, OUTSIDE, Found, Point

if TYPE_CHECKING:
    from pandas import DataFrame, Series

_OWN = ("point", "status", "outside", "unchecked", "error", "seconds", "attempts", "executed")
_LINKS = ("notebook", "page", "traces")


@dataclass(frozen=True)
class Results:
    """The outcome of a sweep: its table, and where the table and the page are."""

    grid: Grid
    frame: "DataFrame"
    directory: Path
    numbers: tuple[str, ...]  # the columns that the chapter reported
    checks: tuple[str, ...]  # the columns that it checked
    varied: tuple[str, ...]

    @property
    def failed(self) -> "DataFrame":
        """The points whose chapter raised an error or whose process died."""
        return self.frame[self.frame["status"] == FAILED]

    @property
    def outside(self) -> "DataFrame":
        """The points with a check outside its bounds."""
        return self.frame[self.frame["status"] == OUTSIDE]

    @property
    def summary(self) -> str:
        """Return how many points ended how, and the ones that failed by name."""
        counts = self.frame["status"].value_counts()
        words = [f"{count} {status}" for status, count in counts.items()]
        lines = [f"{len(self.frame)} points: {', '.join(words) or 'none'}"]
        for row in self.failed.to_dict("records"):
            point = ", ".join(f"{name}={number(row[name])}" for name in self.varied)
            path = os.path.relpath(self.directory / row["notebook"])
            where = f"\n    partial notebook: {path}"
            lines.append(f"  failed: {point}: {row['error']}{where if row['notebook'] else ''}")
        return "\n".join(lines)

    @property
    def page(self) -> Path:
        """The page."""
        return self.directory / "index.html"


def gather(grid: Grid, points: Sequence[Point], directory: Path) -> Results:
    """Return the table of the points that were run, sorted by the parameters that vary."""
    import pandas as pd

    varied = grid.varied
    parameters = [*varied, *(name for name in grid.chapter.parameters if name not in varied)]
    ran = [(point, found) for point in points if (found := point.found()) is not None]
    taken = {*_OWN, *_LINKS, *parameters}
    numbers = _columns([list(found.numbers) for _, found in ran], taken, NUMBER)
    checked = [_checked(found) for _, found in ran]
    checks = _columns([list(values) for values in checked], {*taken, *numbers.values()}, CHECK)
    rows = []
    for (point, found), values in zip(ran, checked, strict=True):
        row: dict[str, Any] = {"point": point.id}
        row |= {name: _plain(point.record.parameters[name]) for name in parameters}
        row |= {column: _float(found.numbers.get(name)) for name, column in numbers.items()}
        row |= {column: _float(values.get(name)) for name, column in checks.items()}
        row |= _outcome(point, found, directory)
        rows.append(row)
    columns = ["point", *parameters, *numbers.values(), *checks.values(), *_OWN[1:], *_LINKS]
    frame = pd.DataFrame(rows, columns=columns)
    measured = [*numbers.values(), *checks.values()]
    frame[measured] = frame[measured].astype("float64")
    frame = frame.sort_values(list(varied), kind="stable", ignore_index=True)
    for name in parameters:
        frame[name] = _storable(frame[name])
    return Results(grid, frame, directory, tuple(numbers.values()), tuple(checks.values()), varied)


def write(results: Results) -> None:
    """Write ``results.parquet`` and ``results.csv``."""
    stream = io.BytesIO()
    results.frame.to_parquet(stream, index=False)
    write_atomic(results.directory / "results.parquet", stream.getvalue())
    write_atomic(results.directory / "results.csv", results.frame.to_csv(index=False))


def _outcome(point: Point, found: Found, directory: Path) -> dict[str, Any]:
    outside = [check["name"] for check in found.checks if check["outcome"] == "failed"]
    return {
        "status": found.status,
        "outside": "; ".join(outside),
        "unchecked": sum(check["outcome"] == "not checked" for check in found.checks),
        "error": found.error,
        "seconds": found.seconds,
        "attempts": found.attempts,
        "executed": found.executed,
        "notebook": _link(point.notebook, directory),
        "page": _link(point.page, directory),
        "traces": "; ".join(
            _link(point.directory / file, directory) for file in found.traces.values()
        ),
    }


def _link(path: Path, directory: Path) -> str:
    return Path(os.path.relpath(path, directory)).as_posix() if path.is_file() else ""


def _checked(found: Found) -> dict[str, Any]:
    """Return the checked values by name; of a name that comes again, the last."""
    return {check["name"]: check["value"] for check in found.checks}


def _columns(names: Sequence[Sequence[str]], taken: set[str], suffix: str) -> dict[str, str]:
    """Return the column of each name, in the order in which the chapter gave them."""
    columns: dict[str, str] = {}
    for name in dict.fromkeys(name for one in names for name in one):
        column = f"{name} ({suffix})" if name in taken else name
        while column in taken or column in columns.values():
            column += "′"
        columns[name] = column
    return columns


def _plain(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list) else value


def _storable(column: "Series[Any]") -> "Series[Any]":
    """Return the column as text where it holds a whole number that no table has a type for."""
    large = (isinstance(v, int) and not -(2**63) <= v < 2**63 for v in column)
    return column.map(str) if any(large) else column


def _float(value: Any) -> float:
    """Return the value of a cell; what was reported beyond all floats is infinite."""
    if value is None:
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
