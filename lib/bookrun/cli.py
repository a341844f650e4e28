"""The command line: ``python -m bookrun COMMAND``; ``--help`` lists them."""

import argparse
import errno
import signal
import sys
from importlib import import_module
from pathlib import Path
from types import FrameType

from bookrun.errors import BookError
from bookrun.execution.kernel import settle_environment, settle_home
from bookrun.project import Project

#: Each command's module under ``bookrun.commands``, and what it does. A module has ``arguments``,
#: which adds its own to a parser, and ``run``, which returns the exit status; only the one that is
#: asked for is imported.
COMMANDS = {
    "build": ("book", "execute what is stale and build the site"),
    "chapter": ("chapter", "execute one chapter and render its page"),
    "sweep": ("sweep", "run a chapter over a grid of its parameters"),
    "status": ("status", "say for each chapter whether it is fresh, and if not, why"),
    "claims": ("claims", "print the claims ledger"),
    "pdf": ("pdf", "bring the site up to date and print it as one PDF"),
    "serve": ("serve", "serve the site on this machine and rebuild it on every save"),
    "lab": ("lab", "open the chapters in JupyterLab"),
    "fetch": ("fetch", "bring the chapters' data into the cache"),
    "record": ("record", "run a network figure and write recorded/FIGURE.json"),
    "mutate": ("mutate", "change each claim's formula and see its verdict turn"),
    "record-real": ("record_real", "keep what the built book found on the real data"),
    "record-check": ("record_check", "run the beginnings of records again"),
}

#: What a disk says on which nothing can be written: a checkout of somebody else's, a full one.
_NO_PLACE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)
_GOES = "; what is generated goes into build/ beside the sources"


def main(arguments: list[str] | None = None) -> int:
    """Carry out one command; what the user got wrong is a sentence on stderr and status 1."""
    given = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(prog="bookrun", description=__doc__)
    parsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (module, meaning) in COMMANDS.items():
        added = parsers.add_parser(name, help=meaning, description=meaning)
        if given[:1] == [name]:
            command = import_module(f"bookrun.commands.{module}")
            command.arguments(added)
            added.set_defaults(run=command.run)
    options = parser.parse_args(given)
    project = Project(Path.cwd())
    settle_home(project.build / "home")
    settle_environment()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return int(options.run(project, options))
    except BookError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        if error.errno not in _NO_PLACE or not error.filename:
            raise
        print(f"{error.filename} cannot be written: {error.strerror}{_GOES}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted: what had finished is kept.", file=sys.stderr)
        return 130


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
