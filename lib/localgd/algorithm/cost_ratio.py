"""The cost of a local step in units of a communication: given, or measured while running."""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from localgd.algorithm.paths import LocalPaths

#: How many rounds back the median of measured times looks.
ROUNDS_KEPT = 9


class CostRatio:
    """r = C_g/C_c, a positive number or "measured".

    Measured, it is the median seconds of a local step over the median seconds of a communication
    in the last `ROUNDS_KEPT` rounds, of the slowest node; None before the first round.
    Raises `ValueError` for a number that is not positive and finite, or another text.
    """

    def __init__(self, value: float | str) -> None:
        self.given = value
        number = not isinstance(value, bool) and isinstance(value, int | float | np.floating)
        if value != "measured" and not (number and 0 < float(value) < math.inf):
            raise ValueError(f"cost_ratio={value!r} must be positive and finite, or 'measured'")
        self._steps: deque[float] = deque(maxlen=ROUNDS_KEPT)
        self._messages: deque[float] = deque(maxlen=ROUNDS_KEPT)

    def observe(self, paths: LocalPaths) -> None:
        """Take note of the times of a round."""
        if self.given == "measured" and paths.seconds_step > 0:
            self._steps.append(paths.seconds_step)
            self._messages.append(paths.seconds_communicating)

    @property
    def value(self) -> float | None:
        """Return r, or None where it is to be measured and has not been."""
        if self.given != "measured":
            return float(self.given)
        if not self._steps:
            return None
        message = statistics.median(self._messages)
        return statistics.median(self._steps) / message if message > 0 else math.inf

    def state_dict(self) -> Mapping[str, Any]:
        """Return the times that the median is taken of."""
        return {"steps": list(self._steps), "messages": list(self._messages)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state_dict` returned."""
        self._steps = deque(state["steps"], ROUNDS_KEPT)
        self._messages = deque(state["messages"], ROUNDS_KEPT)
