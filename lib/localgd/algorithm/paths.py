"""What is known of a round that is over: the nodes' paths and the time that it took."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class LocalPaths:
    """The local steps of one round: entry (i, t) belongs to x^{i,t}, from which step t + 1 went.

    A node that took fewer steps than another has NaN in what is left of its row.
    """

    loss: NDArray[np.float64]  # (m, T) f_i(x^{i,t})
    grad_norm_sq: NDArray[np.float64]  # (m, T) ‖∇f_i(x^{i,t})‖²
    step_size: NDArray[np.float64]  # (m,) η_i
    seconds_step: float  # of a local step of the slowest node
    seconds_communicating: float  # of sending, receiving and averaging
