"""``make claims``: the claims ledger with its computed verdicts."""

import argparse

from bookrun import real_run
from bookrun.commands import add_profile
from bookrun.errors import BookError
from bookrun.ledger import claims, summary
from bookrun.ledger.consistency import mismatches
from bookrun.ledger.evidence import gather
from bookrun.ledger.proofs import steps
from bookrun.project import Project
from bookrun.source.chapters import check_profile, load_all


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the profile."""
    add_profile(parser)


def run(project: Project, options: argparse.Namespace) -> int:
    """Print the ledger.  Raises ``BookError`` where it and the evidence do not match."""
    check_profile(options.profile)
    chapters = load_all(project)
    notebooks = {c.name: project.executed(options.profile, c.name) for c in chapters if c.code}
    rows = claims.load(project)
    evidence = gather(project, notebooks)
    named = steps(chapter.text for chapter in chapters)
    known = real_run.load(project.recorded("real-run"))
    print(summary.printed(summary.summary(rows, evidence, named, known)))
    problems = mismatches(rows, evidence, project.shown(project.claims), named)
    if problems:
        raise BookError("\n".join(["", "the ledger and the evidence do not match:", *problems]))
    return 0
