"""``make sweep``: a chapter over a grid of its parameters."""

import argparse
from pathlib import Path

from bookrun import sweeps
from bookrun.commands import add_jobs, count
from bookrun.project import Project


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the grid, which of its points, and where they run."""
    parser.add_argument("grid", metavar="FILE", help="the grid, for example sweeps/tstar.yaml")
    parser.add_argument("--dry-run", action="store_true", help="print the points, run nothing")
    add_jobs(parser)
    parser.add_argument("--every", type=count, default=1, metavar="K", help="one point in K only")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="a Dask scheduler to run on")
    parser.add_argument("--retry", action="store_true", help="run points again that failed")


def run(project: Project, options: argparse.Namespace) -> int:
    """Run the grid's points; status 1 when one failed: the others have run all the same."""
    path = Path(options.grid)
    if options.dry_run:
        print(sweeps.planned(project, path, options.every))
        return 0
    found = sweeps.sweep(
        path,
        project=project,
        jobs=options.jobs,
        scheduler=options.scheduler,
        retry=options.retry,
        every=options.every,
    )
    print(found.summary)
    print(found.page)
    return 1 if len(found.failed) else 0
