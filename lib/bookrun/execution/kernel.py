"""The environment that the pipeline gives to a chapter's kernel."""

import os
import sys
from pathlib import Path

from bookrun.outputs import PIPELINE


def kernel_environment(threads: int) -> dict[str, str]:
    """Return the variables that a chapter's kernel finds besides the user's own."""
    return {
        PIPELINE: "1",
        **thread_environment(threads),
        "PYTHONHASHSEED": "0",
        "JUPYTER_PREFER_ENV_PATH": "1",  # this environment's kernel, not another's of that name
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }


def thread_environment(count: int) -> dict[str, str]:
    """Return the variables that bound every library's threads to ``count``.

    Threads spin while they wait: with more of them than cores, everything crawls.

    No more than the user asks for, where ``OMP_NUM_THREADS`` is set.
    """
    most = os.environ.get("OMP_NUM_THREADS", "")
    if most.isdecimal():
        count = max(1, min(count, int(most)))
    libraries = ("OMP", "MKL", "OPENBLAS", "NUMEXPR")
    return {f"{library}_NUM_THREADS": str(count) for library in libraries}


def settle_home(place: Path) -> None:
    """Let a user without ``HOME`` and without an entry in the list of users live in ``place``.

    Jupyter asks for a home, and so do the programs of others that it starts.
    """
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = str(place)


def settle_environment() -> None:
    """Make a relative ``LOCALGD_DATA`` absolute, and let every terminal show every text.

    Chapters run in another directory.
    """
    data = os.environ.get("LOCALGD_DATA")
    if data:
        os.environ["LOCALGD_DATA"] = str(Path(data).expanduser().resolve())
    for stream in (sys.stdout, sys.stderr):
        # A terminal may not know the minus sign: then it is shown by its number.
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
