"""A point of a sweep: what it depends on, and the directory that keeps what it found.

A point is known by a digest of all that its run depends on: the chapter's text, the library, the
lock file, Python, the data and every parameter. So two grids that ask for the same point share it,
a sweep that was interrupted finds what it had finished, and an edit makes the point anew.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from bookrun.execution.data import bring
from bookrun.execution.freshness import Inputs, inputs_of
from bookrun.files import digest, write_atomic
from bookrun.outputs import CHECK, NUMBER, TRACE, outputs
from bookrun.project import Project
from bookrun.sweeps.grid import POINTS, Grid

OK = "ok"
OUTSIDE = "outside"  # a check lies outside its bounds
FAILED = "failed"  # the chapter raised an error, or its process died

_RECORD = "record.json"


@dataclass(frozen=True)
class Found:
    """The outcome of a point's run, kept beside its notebook."""

    status: str
    seconds: float
    attempts: int = 1  # 2 where the first one's process was killed
    error: str = ""
    cell: int = 0
    first_line: str = ""
    numbers: dict[str, Any] = field(default_factory=dict)
    checks: list[dict[str, Any]] = field(default_factory=list)
    traces: dict[str, str] = field(default_factory=dict)  # name to file
    executed: str = ""


@dataclass(frozen=True)
class Point:
    """One setting of a chapter's parameters."""

    record: Inputs
    values: Mapping[str, Any]  # those that depart from the parameters cell
    home: Path  # build/sweeps/points/CHAPTER

    @cached_property
    def id(self) -> str:
        """The digest of all that the run depends on, short."""
        return digest(json.dumps(self.record.to_dict(), sort_keys=True))[:16]

    @property
    def directory(self) -> Path:
        """Return where its notebook, its traces and its record are kept."""
        return self.home / self.id

    @property
    def notebook(self) -> Path:
        """The executed notebook, partial where the run failed."""
        return self.directory / f"{self.record.chapter}.ipynb"

    @property
    def page(self) -> Path:
        """The executed notebook as a page."""
        return self.directory / f"{self.record.chapter}.html"

    @property
    def log(self) -> Path:
        """Return what the run wrote besides its notebook."""
        return self.directory / "log.txt"

    def found(self) -> Found | None:
        """Return what the last run found; ``None`` where there was none, or it was cut short."""
        try:
            content = json.loads((self.directory / _RECORD).read_text(encoding="utf-8"))
            return Found(**content["found"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def forget(self) -> None:
        """Remove what is kept of the point."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def keep(self, found: Found, files: Mapping[str, bytes]) -> None:
        """Write the files, and last the record: a point without one was never run."""
        self.forget()
        for name, content in files.items():
            write_atomic(self.directory / name, content)
        record = {"point": self.record.to_dict(), "found": asdict(found)}
        write_atomic(self.directory / _RECORD, json.dumps(record, indent=1))


def points_of(project: Project, grid: Grid) -> list[Point]:
    """Return the points of a grid, in order."""
    record = inputs_of(project, grid.chapter, "sweep", {})
    defaults = record.parameters
    home = sweeps_directory(project) / POINTS / grid.chapter.name
    found = []
    for varied in grid.points:
        values = {**grid.fixed, **varied}
        one = replace(record, parameters={**defaults, **values})
        found.append(Point(one, values, home))
    return list({point.id: point for point in found}.values())


def sweeps_directory(project: Project) -> Path:
    """Return everything that sweeps generate."""
    return project.build / "sweeps"


def bring_data(grid: Grid) -> None:
    """Fetch the chapter's data before any point starts. Raises ``BookError``."""
    bring(grid.chapter.data, f"chapter {grid.chapter.name}")


def harvest(notebook: Mapping[str, Any], seconds: float, attempts: int, **failure: Any) -> Found:
    """Return what an executed notebook reported and checked, as it is kept."""
    content = dict(notebook)
    numbers: dict[str, Any] = {}
    for _, record in outputs(content, NUMBER):
        numbers[_unused(record["name"], numbers)] = record["value"]
    traces: dict[str, str] = {}
    for _, record in outputs(content, TRACE):
        traces[_unused(record["name"], traces)] = record["file"]
    checks = [record for _, record in outputs(content, CHECK)]
    outside = any(record["outcome"] == "failed" for record in checks)
    return Found(
        status=FAILED if failure.get("error") else OUTSIDE if outside else OK,
        seconds=round(seconds, 3),
        attempts=attempts,
        numbers=numbers,
        checks=checks,
        traces=traces,
        executed=datetime.now(UTC).isoformat(timespec="seconds"),
        **failure,
    )


def _unused(name: str, taken: Mapping[str, Any]) -> str:
    """``name``, with a number behind it where a loop reports it again."""
    count, found = 1, name
    while found in taken:
        count += 1
        found = f"{name} ({count})"
    return found
