"""Files that are either whole or not there."""

import contextlib
import ctypes
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from bookrun.errors import BookError
from localgd.files import clear, hold, write_atomically

_SCRATCH = "bookrun-"
#: What both systems call it: RENAME_EXCHANGE and RENAME_SWAP.
_EXCHANGE = 2


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write ``content`` to ``path`` so that a reader, or a crash, sees all of it or none."""
    write_atomically(path, content.encode() if isinstance(content, str) else content)


def write_if_changed(path: Path, content: str | bytes) -> bool:
    """Write ``content`` unless it is there already: the time stamp then says what changed."""
    data = content.encode() if isinstance(content, str) else content
    if path.is_file() and path.read_bytes() == data:
        return False
    write_atomic(path, data)
    return True


def digest(*parts: str | bytes) -> str:
    """SHA-256 of the parts, each preceded by its length so that no two lists collide."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(f"{len(data)}:".encode())
        total.update(data)
    return total.hexdigest()


def digest_files(root: Path, paths: Iterable[Path]) -> str:
    """SHA-256 over the names, relative to ``root``, and the contents of the files."""
    parts: list[str | bytes] = []
    for path in sorted(paths):
        parts += [path.relative_to(root).as_posix(), path.read_bytes()]
    return digest(*parts)


@contextlib.contextmanager
def scratch(name: str = "") -> Iterator[Path]:
    """Yield an empty directory that is removed afterwards.

    Those of processes that were killed, whatever their ``name``, are removed before.
    """
    clear(Path(tempfile.gettempdir()).glob(f"{_SCRATCH}*"))
    while True:
        place = Path(tempfile.mkdtemp(prefix=_SCRATCH + name))
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(place, os.O_RDONLY)
            if hold(descriptor, place):
                break
            os.close(descriptor)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
        os.close(descriptor)


def clear_unfinished(directory: Path) -> None:
    """Remove what writes below ``directory`` have left that were killed."""
    clear(directory.rglob(".*.tmp"))


def swap_directory(new: Path, current: Path) -> None:
    """Put ``new`` in the place of ``current``, which a reader finds there at any moment.

    A directory that is not empty cannot be renamed over.  Where the two cannot change their names
    in one step, the old one steps aside first; :func:`recover` mends a crash between.
    """
    aside = current.with_name(current.name + ".old")
    recover(current)
    if not current.exists():
        new.rename(current)
    elif _exchange(new, current):
        new.rename(aside)
    else:
        current.rename(aside)
        new.rename(current)
    shutil.rmtree(aside, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Let two paths change their names in one step; return whether system and disk can do that."""
    library = ctypes.CDLL(None)
    for name in ("renameat2", "renameatx_np"):  # Linux, macOS
        if hasattr(library, name):
            paths = (os.fsencode(path.absolute()) for path in (one, other))
            first, second = (ctypes.c_char_p(path) for path in paths)
            done = getattr(library, name)(-1, first, -1, second, ctypes.c_uint(_EXCHANGE))
            return int(done) == 0
    return False


def recover(current: Path) -> None:
    """Undo a swap that was cut while there was no ``current``, or finish one cut after that."""
    aside = current.with_name(current.name + ".old")
    if aside.exists() and not current.exists():
        aside.rename(current)
    elif aside.exists():
        shutil.rmtree(aside)


@contextlib.contextmanager
def build_lock(directory: Path) -> Iterator[None]:
    """Hold ``directory`` for this build alone; the kernel lets go of it when we die."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BookError(
                f"another build is running in {directory}: wait for it or stop it"
            ) from None
        yield
