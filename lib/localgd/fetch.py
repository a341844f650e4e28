"""Where a data file is: a given directory, the cache, or its home on the web."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it asks notebooks for widgets that we do not use
    import pooch

pooch.get_logger().setLevel("WARNING")  # a download is no event for a chapter's page

#: Environment variable that names a directory with the data files.
DATA_VARIABLE = "LOCALGD_DATA"
_TIMEOUT_SECONDS = 10


class Remote(NamedTuple):
    """A file of a data set and where it is at home."""

    name: str
    url: str
    cap_mib: float  # a download larger than this is refused
    check: Callable[[bytes], None]  # raises ValueError for content that is not the file's


class UnreachableError(Exception):
    """The file is nowhere on this machine and its home does not answer."""


def cache_dir() -> Path:
    """Return the user's cache directory of this library."""
    return Path(pooch.os_cache("localgd"))


def find_local(remote: Remote) -> Path | None:
    """Return the file in `LOCALGD_DATA` or the cache, or None.

    Raises `ValueError` where `LOCALGD_DATA` does not name a directory.
    """
    places = [cache_dir()]
    given = os.environ.get(DATA_VARIABLE)
    if given:
        if not Path(given).is_dir():
            raise ValueError(f"{DATA_VARIABLE}={given} is not a directory")
        places.insert(0, Path(given))
    return next((place / remote.name for place in places if (place / remote.name).is_file()), None)


def fetch(remote: Remote) -> tuple[Path, bytes]:
    """Return the file and its content, checked; download it where it is not here yet.

    A download is size-capped and checked before it enters the cache, by atomic rename.
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


def _download(remote: Remote) -> Path:
    import requests  # a third of a second, and only needed here

    def downloader(url: str, output_file: Any, _: Any) -> None:
        sink = _CappedBuffer(remote)
        pooch.HTTPDownloader(timeout=_TIMEOUT_SECONDS)(url, sink, None)
        content = sink.getvalue()
        remote.check(content)
        Path(output_file).write_bytes(content)

    try:
        name = pooch.retrieve(
            remote.url, known_hash=None, fname=remote.name, path=cache_dir(), downloader=downloader
        )
    except requests.RequestException as error:
        raise UnreachableError(f"{remote.url} cannot be read ({type(error).__name__})") from error
    except ValueError as error:
        raise ValueError(f"{remote.url} is not {remote.name}: {error}") from error
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
