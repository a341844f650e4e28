"""Preloaded by a worker of this machine's own cluster: it leaves Ctrl-C to the sweep.

The terminal sends the signal to every process of the group; a worker that followed it would only
print a traceback over the sweep's last words.
"""

import signal
from typing import Any


def dask_setup(_worker: Any) -> None:
    """Ignore SIGINT from here on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
