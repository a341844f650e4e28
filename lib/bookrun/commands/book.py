"""``make book``: execute what is stale, compute the verdicts, build the site."""

from pathlib import Path

from bookrun.errors import BookError
from bookrun.execution.freshness import forget_strays
from bookrun.execution.schedule import run_steps, stale_steps
from bookrun.files import build_lock, recover
from bookrun.ledger import claims, summary, test_results
from bookrun.ledger.consistency import mismatches
from bookrun.ledger.evidence import gather
from bookrun.outputs import read_notebook
from bookrun.project import Project
from bookrun.site import sources, sphinx_build
from bookrun.source.chapters import check_openings, load_all


def book(project: Project, profile: str, jobs: int | None) -> Path:
    """Bring the whole book up to date and return the path of its first page."""
    with build_lock(project.build):
        recover(project.html)
        chapters = load_all(project)
        check_openings(chapters)
        forget_strays(project)
        steps = stale_steps(project, chapters, profile)
        tests_why = test_results.stale(project)
        run_steps(project, steps, jobs, with_tests=bool(tests_why))
        notebooks = {c.name: project.executed(profile, c.name) for c in chapters if c.code}
        evidence = gather(project, notebooks)
        rows = claims.load(project)
        problems = mismatches(rows, evidence, project.shown(project.claims))
        if problems:
            raise BookError("\n".join(["the ledger and the book do not match:", *problems]))
        table = {**summary.summary(rows, evidence), "preview": False}
        pages = sources.sources(project, chapters, notebooks, table)
        if not sphinx_build.is_fresh(project, sphinx_build.fingerprint(project, pages)):
            sphinx_build.build(project, pages, {n: read_notebook(p) for n, p in notebooks.items()})
    return project.html / "index.html"
