"""An interrupt that all processes of a run have to end on, in the same round."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: A terminal and `torchrun` each pass an interrupt on: within so long they are one.
_ONE_INTERRUPT_SECONDS = 1.0


class Interrupts:
    """Take note of an interrupt (Ctrl-C), and of whether the other processes have been told."""

    def __init__(self) -> None:
        self.noted = self.told = False
        self._at = 0.0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Note an interrupt instead of raising it; a second one, later, is raised at once."""
        try:
            before = signal.signal(signal.SIGINT, self._note)
        except ValueError:  # not in the main thread, where interrupts are raised
            yield
            return
        try:
            yield
        finally:
            if self.noted:
                since = time.monotonic() - self._at
                time.sleep(max(0.0, _ONE_INTERRUPT_SECONDS - since))
            signal.signal(signal.SIGINT, before)
            if self.noted and not self.told:
                signal.raise_signal(signal.SIGINT)  # it came when all rounds were done

    def _note(self, number: int, frame: FrameType | None) -> None:
        since = time.monotonic() - self._at
        if self.noted and since > _ONE_INTERRUPT_SECONDS:
            self.noted = False  # nobody is told any more
            raise KeyboardInterrupt
        if not self.noted:
            self.noted, self._at = True, time.monotonic()
