"""The data sets of chapters: on this machine before anything starts, and what is wrong with them.

Whatever reads data for a user goes through here, so that a bad file, or a page of a portal in the
place of a download, is one sentence.
"""

import contextlib
from collections.abc import Iterable, Iterator

from bookrun.errors import BookError


@contextlib.contextmanager
def data_errors(whose: str) -> Iterator[None]:
    """Turn what reading or fetching data raises into a ``BookError`` that begins with ``whose``."""
    from localgd.datasets.download import UnreachableError  # costs a third of a second

    try:
        yield
    except (UnreachableError, ValueError, OSError) as error:
        raise BookError(f"{whose}: {error}") from None


def bring(names: Iterable[str], whose: str) -> dict[str, str]:
    """Fetch the data sets that can be had and are not here; return what is here of each.

    Raises ``BookError`` for a name that is none, and for a file or a download that is not the
    data set's.
    """
    return _each(names, whose, fetch=True)


def at_hand(names: Iterable[str], whose: str) -> dict[str, str]:
    """Return what is here of each data set, by the hash of its files; fetch nothing.

    Raises ``BookError`` for a name that is none.
    """
    return _each(names, whose, fetch=False)


def _each(names: Iterable[str], whose: str, *, fetch: bool) -> dict[str, str]:
    found = {}
    for name in names:
        with data_errors(f"{whose}: data set {name}"):
            from localgd import datasets

            if fetch:
                datasets.prefetch(name)
            found[name] = datasets.fingerprint(name)
    return found
