"""A child process that never outlives its parent.

The parent holds the write end of the child's standard input and writes nothing. When the parent
ends, however it ends, the operating system closes that pipe, and the child takes itself and its
process group down. A Jupyter kernel sits in a group of its own and watches its parent by itself.

``python -m bookrun.execution.parent_watch MODULE ARGUMENT…`` runs a module in this way, and with
``MODULE:FUNCTION`` a function that reads its own arguments.
"""

import importlib
import os
import runpy
import signal
import sys
import threading


def hold() -> None:
    """Watch standard input from a thread, and end with the parent; leaves the input empty."""
    leash = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    threading.Thread(target=_watch, args=(leash,), name="leash", daemon=True).start()


def _watch(leash: int) -> None:
    while os.read(leash, 1024):
        pass
    if os.getpgid(0) == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def main() -> None:
    """Run what the command line names, on a leash."""
    hold()
    module, _, function = sys.argv[1].partition(":")
    del sys.argv[0]
    if function:
        getattr(importlib.import_module(module), function)()
    else:
        runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
