"""``make fetch``: the data that the chapters read, into the cache."""

import argparse

from bookrun.execution.data import bring
from bookrun.project import Project
from bookrun.source.chapters import load_all


def arguments(_parser: argparse.ArgumentParser) -> None:
    """Add nothing."""


def run(project: Project, _options: argparse.Namespace) -> int:
    """Bring each data set that a chapter names, and print what is here of it."""
    names = dict.fromkeys(name for chapter in load_all(project) for name in chapter.data)
    for name in names:
        (found,) = bring([name], "make fetch").values()
        print(f"{name}: {found}")
    return 0
