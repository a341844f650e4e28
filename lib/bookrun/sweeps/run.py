"""One sweep from its grid file to its page."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bookrun.display.markup import number
from bookrun.errors import BookError
from bookrun.execution.kernel import kernel_environment
from bookrun.execution.progress import progress
from bookrun.files import build_lock, clear_unfinished
from bookrun.outputs import PIPELINE
from bookrun.project import Project, cores
from bookrun.sweeps import grid as grids
from bookrun.sweeps import page, results
from bookrun.sweeps.cluster import connected, deliveries
from bookrun.sweeps.interruption import held_back
from bookrun.sweeps.points import (
    FAILED,
    OUTSIDE,
    Found,
    Point,
    bring_data,
    points_of,
    sweeps_directory,
)
from bookrun.sweeps.results import Results
from bookrun.sweeps.task import Assignment, library_digest


def sweep(
    path: Path | str,
    *,
    project: Project | None = None,
    jobs: int | None = None,
    scheduler: str | None = None,
    retry: bool = False,
    every: int = 1,
) -> Results:
    """Run the points of a grid file that were not run yet, and write the table and the page.

    ``every=k`` takes one point in k, the first among them, for a first look; the table and the
    page show all points that there are, the results returned those that were asked for.
    ``jobs`` is the number of chapters at once on this machine, its cores by default; ``scheduler``
    the address of a Dask scheduler to use instead. ``retry`` runs points again that failed.
    An interruption keeps what had ended, and the same call goes on from there.

    Raises ``BookError`` before anything runs for a grid that does not fit its chapter. Points that
    fail do not raise: they are in ``Results.failed``.
    """
    file = Path(path)
    project = project or Project(_root_of(file))
    grid = grids.load(project, file)
    bring_data(grid)
    points = points_of(project, grid)
    wanted = points[::every]
    directory = sweeps_directory(project) / grid.name
    with build_lock(directory):
        clear_unfinished(sweeps_directory(project))
        pending = [point for point in wanted if _to_run(point, retry)]
        try:
            if pending:
                _run(project, grid, pending, len(wanted), jobs, scheduler)
        finally:
            found = results.gather(grid, points, directory)
            results.write(found)
            page.write(project, found, len(points))
    return results.gather(grid, wanted, directory)


def planned(project: Project, path: Path, every: int = 1) -> str:
    """Return the points of a grid file, one a line, and which of them are there already."""
    grid = grids.load(project, path)
    lines = []
    for point in points_of(project, grid)[::every]:
        found = point.found()
        state = f"{found.status}, {found.seconds:.1f} s" if found else "to run"
        lines.append(f"{described(point, grid.varied)}: {state}")
    fixed = ", ".join(f"{name}={number(value)}" for name, value in grid.fixed.items())
    head = f"{len(lines)} points of chapter {grid.chapter.name}{f' with {fixed}' if fixed else ''}"
    return "\n".join([head, *(f"  {line}" for line in lines)])


def described(point: Point, varied: Sequence[str]) -> str:
    """Return a point in words: the parameters that vary."""
    return ", ".join(f"{name}={number(point.record.parameters[name])}" for name in varied)


def _root_of(file: Path) -> Path:
    """Return the repository that a grid file is in."""
    for parent in file.resolve().parents:
        if (parent / "_toc.yml").is_file():
            return parent
    raise BookError(f"{file} is not in a book: there is no _toc.yml above it")


def _to_run(point: Point, retry: bool) -> bool:
    found = point.found()
    return found is None or (retry and found.status == FAILED)


def workers(wanted: int | None, count: int) -> int:
    """Return how many chapters run at once, so that no core has two of them.

    Inside a chapter of the build that is as many as the build gave it threads.
    """
    own = os.environ.get("OMP_NUM_THREADS", "") if PIPELINE in os.environ else ""
    return max(1, min(wanted or int(own or cores()), count))


def _run(
    project: Project,
    grid: grids.Grid,
    pending: Sequence[Point],
    total: int,
    jobs: int | None,
    scheduler: str | None,
) -> None:

    count = workers(jobs, len(pending))
    by_id = {point.id: point for point in pending}
    code = library_digest()
    assignments = [
        Assignment(
            id=point.id,
            text=grid.chapter.text,
            values=dict(point.values),
            record=point.record.to_dict(),
            cwd=str(project.book),
            environment=kernel_environment(threads=1),  # the same sums for any number of jobs
            code=code,
        )
        for point in pending
    ]
    with (
        held_back() as pause,
        connected(scheduler, count) as client,
        _telling(grid, len(pending), total) as tell,
        contextlib.closing(deliveries(client, assignments, pause)) as delivered,
    ):
        for delivery in delivered:
            point = by_id[delivery.id]
            point.keep(delivery.found, delivery.files)
            tell(point, delivery.found)


@contextlib.contextmanager
def _telling(grid: grids.Grid, count: int, total: int) -> Iterator[Callable[[Point, Found], None]]:
    """Yield what reports a point that has ended."""
    tally = {FAILED: 0, OUTSIDE: 0}
    with progress(total, "point", sys.stderr, total - count) as say:

        def tell(point: Point, found: Found) -> None:
            if found.status in tally:
                tally[found.status] += 1
            say(
                f"{described(point, grid.varied)}: {_worded(found)}",
                ", ".join(f"{number} {status}" for status, number in tally.items() if number),
                dull=found.status != FAILED and found.attempts == 1,
            )

        yield tell


def _worded(found: Found) -> str:
    words = f"{found.status}, {found.seconds:.1f} s"
    if found.attempts > 1:
        words += f", run {found.attempts} times because its worker was killed"
    if found.error:
        place = f" in code cell {found.cell}, `{found.first_line}`" if found.first_line else ""
        words += f"{place}: {found.error}"
    return words
