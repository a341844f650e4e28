"""``make chapter``: one chapter, with other parameters perhaps, and its page in seconds."""

import argparse
import json
import shlex
from pathlib import Path
from typing import Any

from bookrun import real_run
from bookrun.commands import add_profile
from bookrun.errors import BookError
from bookrun.execution.freshness import inputs_of, reasons
from bookrun.execution.prose import renew_text
from bookrun.execution.schedule import Step, run_steps
from bookrun.files import build_lock, write_if_changed
from bookrun.ledger import claims, proofs, summary
from bookrun.ledger.evidence import gather
from bookrun.ledger.values import values as computed_values
from bookrun.outputs import read_notebook
from bookrun.project import Project
from bookrun.site import page_check, sources, sphinx_build
from bookrun.source.chapters import check_profile, load_all, pick
from bookrun.source.parameters import assignments, overrides


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the chapter's name, the profile and other parameters."""
    parser.add_argument("name", metavar="CHAPTER")
    parser.add_argument("--params", default="", help='for example "rounds=500 eta=1e-3"')
    add_profile(parser)


def run(project: Project, options: argparse.Namespace) -> int:
    """Execute the chapter and print the path of its page."""
    check_profile(options.profile)
    print(chapter(project, options.name, options.profile, assignments(_words(options.params))))
    return 0


def _words(text: str) -> list[str]:
    """Split at blanks that are not quoted. Raises ``BookError`` for a quotation without an end."""
    try:
        return shlex.split(text)
    except ValueError:
        raise BookError(
            f"PARAMS={text}: a quotation has no end; a value with a quotation mark in it stands "
            "between two of the other kind, as in PARAMS='name=\"it's\"'"
        ) from None


def chapter(project: Project, name: str, profile: str, given: dict[str, str]) -> Path:
    """Execute one chapter and render its page under ``build/chapter/``; the site is not touched.

    With the profile's own parameters the result is shared with the book; with others it lives
    beside the page. Links to other chapters stay text in such a page.
    """
    wanted = pick(project, name)
    values: dict[str, Any] = {
        **wanted.profile(profile),
        **overrides(wanted.parameters, given, f"chapter {wanted.name}"),
    }
    ordinary = values == wanted.profile(profile)
    home = project.build / "chapter" / wanted.name
    output = project.executed(profile, wanted.name) if ordinary else home / f"{wanted.name}.ipynb"
    with build_lock(project.build):
        inputs = inputs_of(project, wanted, profile, values)
        if wanted.code and (not ordinary or reasons(project, inputs)):
            run_steps(project, [Step(wanted, inputs, values, output)], 1)
        elif wanted.code:
            renew_text(wanted, output)
        chapters = load_all(project)
        notebooks = {c.name: project.executed(profile, c.name) for c in chapters if c.code}
        if wanted.code:
            notebooks[wanted.name] = output
        found = summary.summary(
            claims.load(project),
            gather(project, notebooks),
            proofs.steps(chapter.text for chapter in chapters),
            real_run.load(project.recorded("real-run")),
        )
        mine = {wanted.name: output} if wanted.code else {}
        table = {**found, "preview": True, "values": computed_values(notebooks)}
        sphinx_build.lay_out(home / "src", sources.sources(project, [wanted], mine, table))
        toc = home / "_toc.yml"
        write_if_changed(toc, json.dumps({"format": "jb-book", "root": wanted.name}))
        ended = sphinx_build.run_sphinx(project, home / "src", toc, home, strict=False)
        if ended.status != 0:
            complaints = sphinx_build.complaints_in(project.log("preview"), home / "src")
            raise BookError("\n".join(["the preview was not built:", *complaints]))
        problems = page_check.check_notebooks({n: read_notebook(p) for n, p in mine.items()})
        if problems:
            raise BookError("\n".join(problems))
    return home / "_build" / "html" / f"{wanted.name}.html"
