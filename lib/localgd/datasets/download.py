"""Find a data file: in a given directory, in the cache, or at its home on the web."""

from __future__ import annotations

import hashlib
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from localgd.files import write_atomically

#: Environment variable that names a directory with the data files.
DATA_VARIABLE = "LOCALGD_DATA"
_TIMEOUT_SECONDS = 10
#: A download has so long, and so much more for each MiB of its cap.
_SECONDS, _SECONDS_A_MIB = 60.0, 10.0


class Remote(NamedTuple):
    """A file of a data set and where it is at home."""

    name: str  # its path below a directory of data
    url: str
    cap_mib: float  # a download larger than this is refused
    check: Callable[[bytes], None]  # raises ValueError for content that is not the file's
    #: Where an archive is at `url`: checks it and returns its files by name, this one among them.
    unpack: Callable[[bytes], Mapping[str, bytes]] | None = None
    others: tuple[str, ...] = ()  # names under which other tools keep the same content


class UnreachableError(Exception):
    """The file is nowhere on this machine and its home does not answer."""


def cache_dir() -> Path:
    """Return the user's cache directory of this library.

    Raises `UnreachableError` where there is none: without pooch, which fills it, and for a user
    without a home.
    """
    try:
        place = Path(_pooch().os_cache("localgd")).expanduser()
    except RuntimeError as error:
        raise UnreachableError(f"there is no cache directory: {error}") from error
    if not place.is_absolute():
        raise UnreachableError(f"there is no cache directory: {place} is in no home")
    return place


def find_local(remote: Remote) -> Path | None:
    """Return the file in `LOCALGD_DATA` or the cache, or None.

    Raises `ValueError` where `LOCALGD_DATA` does not name a directory.
    """
    return find_named((remote.name, *remote.others))


def find_named(names: Sequence[str]) -> Path | None:
    """Return the first file of these names in `LOCALGD_DATA` or the cache, or None."""
    found = (place / name for place in _places() for name in names)
    return next((path for path in found if path.is_file()), None)


def _places() -> Iterator[Path]:
    """Yield the directories to look in; the cache only when the other has been looked at."""
    given = os.environ.get(DATA_VARIABLE)
    if given:
        if not Path(given).is_dir():
            raise ValueError(f"{DATA_VARIABLE}={given} is not a directory")
        yield Path(given)
    try:
        yield cache_dir()
    except UnreachableError:
        return


def fetch(remote: Remote) -> tuple[Path, bytes]:
    """Return the file and its content, checked; download it where it is not here yet.

    A download is bounded in size and in time, and checked before it enters the cache, by atomic
    rename; from an archive, so do its other files that are not on this machine.
    Raises `ValueError` naming the file for content that fails its check, `UnreachableError`
    where the file is not here and its home cannot be read.
    """
    path = find_local(remote) or _download(remote)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    try:
        remote.check(content)
    except ValueError as error:
        raise ValueError(f"{path} is not {remote.name}: {error}") from error
    return path, content


def sha256(content: bytes | NDArray[Any]) -> str:
    """Return the SHA-256 of `content` in hexadecimal."""
    return hashlib.sha256(bytes(content)).hexdigest()


def known(expected: str, parse: Callable[[bytes], bytes | NDArray[Any]]) -> Callable[[bytes], None]:
    """Return a check for a file whose values, which `parse` reads, have a known SHA-256.

    The values and not the bytes of the file: compression leaves those open.  `parse` raises a
    `ValueError` that says more than a hash can, where it sees what is wrong.
    """

    def check(content: bytes) -> None:
        found = sha256(parse(content))
        if found != expected:
            raise ValueError(f"the SHA-256 of its values is {found}, expected {expected}")

    return check


def _pooch() -> Any:
    """Return the library that downloads, imported where it is needed: data at hand need none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it asks notebooks for widgets that we do not use
        try:
            import pooch
        except ImportError as error:
            raise UnreachableError(
                f"a download needs pooch, which is not installed ({error})"
            ) from error
    pooch.get_logger().setLevel("WARNING")  # a download is no event for a chapter's page
    return pooch


def _download(remote: Remote) -> Path:
    """Download the file, or the archive that holds it.

    Pooch receives it; what enters the cache has been checked, and enters whole.  Pooch's own
    `retrieve` knows a hash of bytes, not of values, and leaves a part of a file in the cache when
    it is killed; its `Untar` keeps the archive.
    """
    try:
        pooch, cache = _pooch(), cache_dir()
    except UnreachableError as error:
        raise UnreachableError(f"{error}{_looked_for(remote)}") from error

    try:
        content = _received(pooch, remote.url, remote)
        files = remote.unpack(content) if remote.unpack else {remote.name: content}
        remote.check(files[remote.name])
        for name, part in files.items():
            if name == remote.name or find_local(remote._replace(name=name, others=())) is None:
                write_atomically(cache / name, part)
    except OSError as error:  # those of requests are among them
        raise UnreachableError(
            f"{remote.url} cannot be read ({type(error).__name__}){_looked_for(remote)}"
        ) from error
    except ValueError as error:
        relation = "does not hold" if remote.unpack else "is not"
        raise ValueError(f"{remote.url} {relation} {remote.name}: {error}") from error
    return cache / remote.name


def _looked_for(remote: Remote) -> str:
    names = " or ".join((remote.name, *remote.others))
    places = " and ".join(map(str, _places())) or f"no directory: {DATA_VARIABLE} names none"
    return f"; looked for {names} in {places}"


def _received(pooch: Any, url: str, remote: Remote) -> bytes:
    """Return what is at `url`, received in a thread: a server that drips holds up nobody."""
    seconds = _SECONDS + _SECONDS_A_MIB * remote.cap_mib
    sink = _BoundedBuffer(remote.cap_mib, time.monotonic() + seconds)
    # The file as it is, not compressed once more for the way.
    headers = {"Accept-Encoding": "identity"}
    failed: list[BaseException] = []

    def receive() -> None:
        try:
            pooch.HTTPDownloader(timeout=_TIMEOUT_SECONDS, headers=headers)(url, sink, None)
        except BaseException as error:  # handed on to the thread that waits
            failed.append(error)

    thread = threading.Thread(target=receive, name="download", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError(f"it is not here after {seconds:.0f} s")
    if failed:
        raise failed[0]
    return sink.getvalue()


class _BoundedBuffer(BytesIO):
    """A buffer that refuses to grow beyond the file's cap, or past its time."""

    def __init__(self, cap_mib: float, until: float) -> None:
        super().__init__()
        self._cap_mib, self._until = cap_mib, until

    def write(self, chunk: Any) -> int:
        if self.tell() + len(chunk) > self._cap_mib * 2**20:
            raise ValueError(f"it is larger than {self._cap_mib} MiB")
        if time.monotonic() > self._until:
            raise TimeoutError("its time is over")
        return super().write(chunk)
