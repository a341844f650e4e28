"""List the data sets by name, and tell what of them is on this machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from localgd.datasets import cifar, idx, libsvm
from localgd.datasets.download import Remote, UnreachableError, fetch, find_local, sha256


class _Entry(NamedTuple):
    files: tuple[Remote, ...]  # all that the data set may be read from
    wanted: Callable[[], tuple[Remote, ...]]  # the ones that a chapter can count on


_ENTRIES = {
    "cifar10": _Entry(cifar.FILES, cifar.wanted),
    "colon-cancer": _Entry(libsvm.FILES, lambda: libsvm.FILES),
    "mnist": _Entry(idx.FILES, lambda: idx.FILES),
}


def names() -> tuple[str, ...]:
    """Return the data sets there are."""
    return tuple(sorted(_ENTRIES))


def fingerprint(name: str) -> str:
    """Return what a chapter that uses data set `name` would run on, without the network.

    The SHA-256 of each of its files that is on this machine, a dash for each that is not, or
    "stand-in" where none is.  Reads the files whole, so that no change escapes it.  Raises
    `ValueError` for a name that is not a data set's.
    """
    found = [find_local(remote) for remote in _entry(name).files]
    if not any(found):
        return "stand-in"
    return " ".join("-" if path is None else sha256(path.read_bytes()) for path in found)


def prefetch(name: str) -> None:
    """Bring data set `name` into the cache where it is not on this machine and can be had.

    Of CIFAR-10 that is what holds the first 1000 samples of either split.
    """
    for remote in _entry(name).wanted():
        try:
            fetch(remote)
        except UnreachableError:
            return


def _entry(name: str) -> _Entry:
    if name not in _ENTRIES:
        raise ValueError(f"{name!r} is not a data set; known are {', '.join(names())}")
    return _ENTRIES[name]
