"""Ctrl-C and SIGTERM that wait until nothing is half done.

An exception that a signal raises in the middle of a line can leave a lock taken for good, and then
the cluster's own thread waits for it for ever.
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
#: So many signals are somebody who wants no more order.
_IMPATIENT = 3


@contextlib.contextmanager
def held_back() -> Iterator[Callable[[], None]]:
    """Yield a function that raises ``KeyboardInterrupt`` where a signal has come in between.

    It is raised on the way out as well, and in the place of an error that comes after a signal:
    the signal has ended a part of the cluster. The third signal is not held back. Outside the main
    thread, which alone gets signals, nothing is changed.
    """
    count = 0

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal count
        count += 1
        former = before[signal.Signals(number)]
        if count >= _IMPATIENT and callable(former):
            former(number, frame)

    def pause() -> None:
        if count:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield pause
        return
    before = {number: signal.signal(number, note) for number in _SIGNALS}
    try:
        yield pause
    except Exception as error:
        if count:
            raise KeyboardInterrupt from error
        raise
    finally:
        for number, former in before.items():
            signal.signal(number, former)
    pause()


@contextlib.contextmanager
def shielded() -> Iterator[None]:
    """Keep signals from this thread, and for good from what threads and processes it starts.

    A process that one hits while it starts dies, and who has started it may wait for it for ever.
    """
    resource_tracker.ensure_running()  # whose start lifts the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
