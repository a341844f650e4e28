"""``make status``: what the next build will execute, and why."""

import argparse

from bookrun.commands import add_profile
from bookrun.execution.freshness import inputs_of, reasons
from bookrun.ledger import test_results
from bookrun.project import Project
from bookrun.source.chapters import load_all


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the profile."""
    add_profile(parser)


def run(project: Project, options: argparse.Namespace) -> int:
    """Print a line for each chapter, and one for each module of claim tests that has to run."""
    states = []
    for chapter in load_all(project):
        values = chapter.profile(options.profile)
        inputs = inputs_of(project, chapter, options.profile, values)
        why = "; ".join(reasons(project, inputs)) if chapter.code else "text only"
        states.append((chapter.name, why or "fresh"))
    stale = test_results.stale(project)
    states += [("claim tests", f"{module}: {why}") for module, why in stale.items()]
    states += [] if stale else [("claim tests", "fresh")]
    width = max(len(name) for name, _ in states)
    for name, state in states:
        print(f"{name:{width}}  {state}")
    return 0
