"""Files that appear whole or not at all, and what a process that was killed has left of them."""

from __future__ import annotations

import errno
import glob
import os
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import ModuleType

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows: nothing is locked there, and nothing cleared
    fcntl = None


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that a reader sees the old file or the new, never a part.

    What an earlier write to `path` has left that was killed is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    clear(path.parent.glob(f".{glob.escape(path.name)}.*.tmp"))
    temporary = None
    try:
        while True:
            handle, temporary = tempfile.mkstemp(
                dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"
            )
            if hold(handle, temporary):
                break
            os.close(handle)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            if fcntl:  # while it is held: nobody takes it for a leftover
                os.replace(temporary, path)
        if not fcntl:
            os.replace(temporary, path)
    except BaseException:
        if temporary is not None:
            with suppress(FileNotFoundError):  # an interrupt may come when it is renamed already
                os.unlink(temporary)
        raise


def hold(descriptor: int, path: str | Path) -> bool:
    """Hold a new file or directory, open as `descriptor`, until it is closed or the process ends.

    Returns False where it was taken for a leftover before it could be held.
    """
    if fcntl:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:  # a file system without locks does without
            if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN):
                return False
    return os.path.exists(path)


def clear(leftovers: Iterable[Path]) -> None:
    """Remove the files and directories that no process holds; what cannot be removed stays."""
    for path in leftovers if fcntl else ():
        with suppress(OSError):
            directory = path.is_dir()
            descriptor = os.open(path, os.O_RDONLY if directory else os.O_RDWR)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # type: ignore[union-attr]
                if directory:
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()
            finally:
                os.close(descriptor)
