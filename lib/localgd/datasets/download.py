"""Where a data file is: a given directory, the cache, or its home on the web."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it asks notebooks for widgets that we do not use
    import pooch

from localgd.files import write_atomically

pooch.get_logger().setLevel("WARNING")  # a download is no event for a chapter's page

#: Environment variable that names a directory with the data files.
DATA_VARIABLE = "LOCALGD_DATA"
_TIMEOUT_SECONDS = 10


class Remote(NamedTuple):
    """A file of a data set and where it is at home."""

    name: str  # its path below a directory of data
    url: str
    cap_mib: float  # a download larger than this is refused
    check: Callable[[bytes], None]  # raises ValueError for content that is not the file's
    #: Where an archive is at `url`: checks it and returns its files by name, this one among them.
    unpack: Callable[[bytes], Mapping[str, bytes]] | None = None


class UnreachableError(Exception):
    """The file is nowhere on this machine and its home does not answer."""


def cache_dir() -> Path:
    """Return the user's cache directory of this library."""
    return Path(pooch.os_cache("localgd"))


def find_local(remote: Remote) -> Path | None:
    """Return the file in `LOCALGD_DATA` or the cache, or None.

    Raises `ValueError` where `LOCALGD_DATA` does not name a directory.
    """
    return _locate(remote.name)


def _locate(name: str) -> Path | None:
    places = [cache_dir()]
    given = os.environ.get(DATA_VARIABLE)
    if given:
        if not Path(given).is_dir():
            raise ValueError(f"{DATA_VARIABLE}={given} is not a directory")
        places.insert(0, Path(given))
    return next((place / name for place in places if (place / name).is_file()), None)


def fetch(remote: Remote) -> tuple[Path, bytes]:
    """Return the file and its content, checked; download it where it is not here yet.

    A download is size-capped and checked before it enters the cache, by atomic rename; from
    an archive, so do its other files that are not on this machine.
    Raises `ValueError` naming the file for content that fails its check, `UnreachableError`
    where the file is not here and its home cannot be read.
    """
    path = find_local(remote) or _download(remote)
    content = path.read_bytes()
    try:
        remote.check(content)
    except ValueError as error:
        raise ValueError(f"{path} is not {remote.name}: {error}") from error
    return path, content


def sha256(content: bytes) -> str:
    """Return the SHA-256 of `content` in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def known(expected: str, explain: Callable[[bytes], object]) -> Callable[[bytes], None]:
    """Return a check for content of which the SHA-256 is known.

    `explain` reads the content and raises a `ValueError` that says more than a hash can, where
    it sees what is wrong.
    """

    def check(content: bytes) -> None:
        found = sha256(content)
        if found != expected:
            explain(content)
            raise ValueError(f"its SHA-256 is {found}, expected {expected}")

    return check


def _download(remote: Remote) -> Path:
    import requests  # a third of a second, and only needed here

    def downloader(url: str, output_file: Any, _: Any) -> None:
        sink = _CappedBuffer(remote)
        # The file as it is, not compressed once more for the way.
        headers = {"Accept-Encoding": "identity"}
        pooch.HTTPDownloader(timeout=_TIMEOUT_SECONDS, headers=headers)(url, sink, None)
        content = sink.getvalue()
        files = remote.unpack(content) if remote.unpack else {remote.name: content}
        remote.check(files[remote.name])
        for name, part in files.items():
            if name == remote.name:
                Path(output_file).write_bytes(part)
            elif _locate(name) is None:
                write_atomically(cache_dir() / name, part)

    try:
        name = pooch.retrieve(
            remote.url, known_hash=None, fname=remote.name, path=cache_dir(), downloader=downloader
        )
    except requests.RequestException as error:
        raise UnreachableError(f"{remote.url} cannot be read ({type(error).__name__})") from error
    except ValueError as error:
        relation = "does not hold" if remote.unpack else "is not"
        raise ValueError(f"{remote.url} {relation} {remote.name}: {error}") from error
    return Path(name)


class _CappedBuffer(BytesIO):
    """A buffer that refuses to grow beyond the file's cap."""

    def __init__(self, remote: Remote) -> None:
        super().__init__()
        self._remote = remote

    def write(self, chunk: Any) -> int:
        if self.tell() + len(chunk) > self._remote.cap_mib * 2**20:
            raise ValueError(f"it is larger than {self._remote.cap_mib} MiB")
        return super().write(chunk)
