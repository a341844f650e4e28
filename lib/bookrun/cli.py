"""The command line: ``python -m bookrun COMMAND``, where no command lists them."""

import argparse
import asyncio
import shlex
import shutil
import signal
import sys
from pathlib import Path
from types import FrameType

from bookrun.commands import book, lab
from bookrun.commands.chapter import chapter as run_chapter
from bookrun.commands.chromium import ADVICE, chromium
from bookrun.errors import BookError
from bookrun.execution.freshness import reasons, record_for
from bookrun.execution.kernel import settle_environment
from bookrun.files import build_lock
from bookrun.ledger import claims, summary, test_results
from bookrun.ledger.consistency import mismatches
from bookrun.ledger.evidence import gather
from bookrun.project import Project
from bookrun.source.chapters import QUICK, check_profile, load_all
from bookrun.source.parameters import assignments


def main(arguments: list[str] | None = None) -> int:
    """Carry out one command; what the user got wrong is a sentence on stderr and status 1."""
    options = _parser().parse_args(arguments)
    project = Project(Path.cwd())
    settle_environment()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        status: int = options.command(project, options)
        return status
    except BookError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted: what had finished is kept.", file=sys.stderr)
        return 130


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bookrun", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, function: object, meaning: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=meaning, description=meaning)
        added.set_defaults(command=function)
        return added

    for name, function, meaning in (
        ("build", _build, "execute what is stale and build the site"),
        ("chapter", _chapter, "execute one chapter and render its page"),
        ("status", _status, "say for each chapter whether it is fresh, and if not, why"),
        ("claims", _claims, "print the claims ledger"),
        ("pdf", _pdf, "bring the site up to date and print it as one PDF"),
        ("serve", _serve, "serve the site on this machine and rebuild it on every save"),
    ):
        added = command(name, function, meaning)
        added.add_argument("--profile", default=QUICK, help="quick (default) or paper")
        if name in ("build", "serve", "pdf"):
            added.add_argument("--jobs", type=_jobs, help="how many chapters at once")
        if name == "serve":
            added.add_argument("--port", type=int, default=8000)
        if name == "chapter":
            added.add_argument("name", metavar="CHAPTER")
            added.add_argument("--params", default="", help='for example "rounds=500 eta=1e-3"')
    sweep = command("sweep", _sweep, "run a chapter over a grid of its parameters")
    sweep.add_argument("grid", metavar="FILE", help="the grid, for example sweeps/tstar.yaml")
    sweep.add_argument("--dry-run", action="store_true", help="print the points, run nothing")
    sweep.add_argument("--jobs", type=_jobs, help="how many chapters at once (default: cores)")
    sweep.add_argument("--every", type=_jobs, default=1, metavar="K", help="one point in K only")
    sweep.add_argument("--scheduler", metavar="ADDRESS", help="a Dask scheduler to run on")
    sweep.add_argument("--retry", action="store_true", help="run points again that failed")
    laboratory = command("lab", _lab, "open the chapters in JupyterLab")
    laboratory.add_argument(
        "arguments", nargs="*", help="for JupyterLab, after --: -- --no-browser"
    )
    command("fetch", _fetch, "bring the chapters' data into the cache")
    recorder = command("record", _record, "run a network figure and write recorded/FIGURE.json")
    recorder.add_argument("figure", metavar="FIGURE")
    recorder.add_argument("--scale", default="paper", help="paper (default) or cpu")
    recorder.add_argument("--engine", default="auto", help="localgd's engine; auto by default")
    recorder.add_argument("--device", default="auto", help="auto (default), cpu or cuda")
    recorder.add_argument("--jobs", type=_jobs, default=1, help="cases at once, one thread each")
    recorder.add_argument("--commit", help="of the tree, where it has no repository")
    recorder.add_argument("--only", default="", metavar="PATTERN", help="cases with it in the name")
    recorder.add_argument("--again", action="store_true", help="take nothing over")
    checker = command("record-check", _record_check, "run the beginnings of records again")
    checker.add_argument("figures", metavar="FIGURE", nargs="*", help="all unless named")
    checker.add_argument("--steps", type=int, default=50, help="local steps a run, 50 by default")
    command("clean", _clean, "remove everything generated")
    return parser


def _jobs(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 1 on")
    return int(text)


def _build(project: Project, options: argparse.Namespace) -> int:
    check_profile(options.profile)
    print(book.book(project, options.profile, options.jobs))
    return 0


def _pdf(project: Project, options: argparse.Namespace) -> int:
    check_profile(options.profile)
    found = chromium()
    if found is None:
        raise BookError(f"the PDF is printed by Chromium, and {ADVICE}")
    book.book(project, options.profile, options.jobs)
    from bookrun.commands import pdf  # imports an HTML parser: only where it is needed

    print(pdf.write(project, found))
    return 0


def _chapter(project: Project, options: argparse.Namespace) -> int:
    check_profile(options.profile)
    given = assignments(shlex.split(options.params))
    print(run_chapter(project, options.name, options.profile, given))
    return 0


def _sweep(project: Project, options: argparse.Namespace) -> int:
    """Status 1 when a point failed: the others have run all the same."""
    from bookrun import sweeps  # what it needs is heavy, and only it needs it

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


def _status(project: Project, options: argparse.Namespace) -> int:
    chapters = load_all(project)
    width = max(len("claim tests"), *(len(chapter.name) for chapter in chapters))
    for chapter in chapters:
        values = chapter.profile(options.profile)
        if not chapter.code:
            state = "text only"
        else:
            record = record_for(project, chapter, options.profile, values)
            state = "; ".join(reasons(project, record)) or "fresh"
        print(f"{chapter.name:{width}}  {state}")
    print(f"{'claim tests':{width}}  {test_results.stale(project) or 'fresh'}")
    return 0


def _claims(project: Project, options: argparse.Namespace) -> int:
    check_profile(options.profile)
    names = [chapter.name for chapter in load_all(project) if chapter.code]
    notebooks = {name: project.executed(options.profile, name) for name in names}
    rows = claims.load(project)
    evidence = gather(project, notebooks)
    print(summary.printed(summary.summary(rows, evidence)))
    problems = mismatches(rows, evidence, project.shown(project.claims))
    if problems:
        raise BookError("\n".join(["", "the ledger and the evidence do not match:", *problems]))
    return 0


def _lab(project: Project, options: argparse.Namespace) -> int:
    lab.start(project, options.arguments)
    return 0


def _fetch(project: Project, _options: argparse.Namespace) -> int:
    names = dict.fromkeys(name for chapter in load_all(project) for name in chapter.data)
    from localgd import datasets

    for name in names:
        try:
            datasets.prefetch(name)
            print(f"{name}: {datasets.fingerprint(name)}")
        except ValueError as error:
            raise BookError(str(error)) from None
    return 0


def _record(project: Project, options: argparse.Namespace) -> int:
    from bookrun.commands import record  # brings PyTorch

    means = record.Means(options.engine, options.device, options.jobs, options.commit, options.only)
    path = record.record(project, options.figure, options.scale, means, again=options.again)
    if path is not None:
        print(project.shown(path))
    return 0


def _record_check(project: Project, options: argparse.Namespace) -> int:
    from bookrun.commands import record_check  # brings PyTorch

    problems = record_check.check(project, options.figures, options.steps)
    if problems:
        raise BookError("\n".join(["", "records that do not hold:", *problems]))
    return 0


def _clean(project: Project, _options: argparse.Namespace) -> int:
    if project.build.is_dir():
        with build_lock(project.build):
            shutil.rmtree(project.build)
    return 0


def _serve(project: Project, options: argparse.Namespace) -> int:
    check_profile(options.profile)
    from bookrun.commands.serve import serve  # imports a server: only where it is needed

    asyncio.run(serve(project, options.profile, options.jobs, options.port))
    return 0
