"""Times that can be compared: contenders take turns, and each is paired with its neighbour."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch

Work = Callable[[], object]


class Timing(NamedTuple):
    """Seconds of each turn of one contender."""

    seconds: list[float]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.seconds)


def take_turns(contenders: Mapping[str, Work], repeats: int, warm_up: int = 1) -> dict[str, Timing]:
    """Time every contender `repeats` times, one turn each before anyone's next.

    Whatever slows the machine for a while then slows all of them.  The order is reversed in
    every other turn, so that nobody always comes after the same one, and before each timing
    the contender works once untimed: it does not pay for the caches and the heap that the one
    before it left.
    """
    for work in contenders.values():
        for _ in range(warm_up):
            work()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(repeats):
        order = list(contenders.items())
        for name, work in order if turn % 2 == 0 else reversed(order):
            work()
            _wait()
            began = time.perf_counter()
            work()
            _wait()
            seconds[name].append(time.perf_counter() - began)
    return {name: Timing(values) for name, values in seconds.items()}


class Ratio(NamedTuple):
    """How many times one contender's time is another's: median and quartiles over the turns."""

    median: float
    low: float
    high: float


def ratio(slower: Timing, faster: Timing) -> Ratio:
    """Return slower/faster, turn by turn."""
    pairs = [s / f for s, f in zip(slower.seconds, faster.seconds, strict=True)]
    low, median, high = statistics.quantiles(pairs, n=4, method="inclusive")
    return Ratio(median, low, high)


def _wait() -> None:
    """Let the GPU finish what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
