"""``make chapter``: one chapter, with other parameters perhaps, and its page in seconds."""

import json
from pathlib import Path
from typing import Any

from bookrun.errors import BookError
from bookrun.execution.freshness import reasons, record_for
from bookrun.execution.schedule import Step, run_steps
from bookrun.files import build_lock, write_if_changed
from bookrun.ledger import claims, summary
from bookrun.ledger.evidence import gather
from bookrun.outputs import read_notebook
from bookrun.project import Project
from bookrun.site import page_check, sources, sphinx_build
from bookrun.source.chapters import load_all, pick
from bookrun.source.parameters import overrides


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
        record = record_for(project, wanted, profile, values)
        if wanted.code and (not ordinary or reasons(project, record)):
            run_steps(project, [Step(wanted, record, values, output)], 1, with_tests=False)
        notebooks = {c.name: project.executed(profile, c.name) for c in load_all(project) if c.code}
        if wanted.code:
            notebooks[wanted.name] = output
        found = summary.summary(claims.load(project), gather(project, notebooks))
        mine = {wanted.name: output} if wanted.code else {}
        table = {**found, "preview": True}
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
