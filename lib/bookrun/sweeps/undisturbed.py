"""Preloaded by a worker of this machine's own cluster: it leaves Ctrl-C and SIGTERM to the sweep.

The terminal sends the signal to every process of the group; a worker that followed it would only
print a traceback over the sweep's last words.
"""

import signal
from typing import Any


def dask_setup(_worker: Any) -> None:
    """Ignore both signals from here on, which were blocked while the worker started."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
