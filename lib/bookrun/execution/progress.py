"""Tell how far many pieces of work are: with a bar on a terminal, with plain lines in a log."""

import contextlib
import sys
from collections.abc import Iterator
from typing import Protocol, TextIO


class Say(Protocol):
    """A call for each piece that has ended."""

    def __call__(self, line: str, note: str = "", *, dull: bool = False) -> None:
        """Tell of it in a ``line``, and beside the bar in a ``note`` how the whole stands.

        A ``dull`` line is for the log alone.
        """


@contextlib.contextmanager
def progress(total: int, unit: str, log: TextIO, done: int = 0) -> Iterator[Say]:
    """Yield what reports that one of ``total`` pieces has ended, of which ``done`` were before."""
    from tqdm import tqdm

    terminal = sys.stderr.isatty()
    with tqdm(total=total, initial=done, unit=unit, leave=False, disable=not terminal) as bar:

        def say(line: str, note: str = "", *, dull: bool = False) -> None:
            if not terminal:
                print(line, file=log, flush=True)
            elif not dull:
                bar.write(line, file=log)
            bar.set_postfix_str(note, refresh=False)
            bar.update()

        yield say
