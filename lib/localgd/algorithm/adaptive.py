"""Rules that choose T while running, from the path of the round before."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from localgd.algorithm.cost_ratio import CostRatio
from localgd.algorithm.gain import round_gains, steps_of_least_cost
from localgd.algorithm.paths import LocalPaths
from localgd.algorithm.rules import Plan, RoundInfo, Rule, check_step_count

#: No round takes more than so many times the steps of the one before.
GROWTH = 2


class AdaptiveRule(Rule):
    """The same T for every node, revised after each round by `choose`.

    The first round takes ⌈1/r⌉ steps: it computes as long as it communicates, so that what is not
    known yet costs at most one communication.  Where r is to be measured it takes one step.
    Afterwards T at most doubles from round to round and never exceeds `max_steps`.
    """

    wants_paths = True

    def __init__(self, cost_ratio: float | Literal["measured"], max_steps: int) -> None:
        self.max_steps = check_step_count(max_steps, "max_steps")
        self.ratio = CostRatio(cost_ratio)
        r = self.ratio.value
        first = 1 if r is None else math.ceil(1 / r) if r * max_steps > 1 else max_steps
        self.next_steps = min(max(first, self.least_steps), self.max_steps)

    least_steps = 1

    @abstractmethod
    def choose(self, paths: LocalPaths, cost_ratio: float) -> int:
        """Return the number of local steps that the path of the last round suggests."""

    def plan(self, info: RoundInfo, num_nodes: int) -> Plan:
        """Return the number chosen after the round before, for every node."""
        return Plan(np.full(num_nodes, self.next_steps, np.int64))

    def observe(self, paths: LocalPaths) -> None:
        """Choose T for the coming round from the one that is over."""
        self.ratio.observe(paths)
        r = self.ratio.value
        if r is None:
            return
        most = min(GROWTH * self.next_steps, self.max_steps)
        chosen = 1 if math.isinf(r) else self.choose(paths, r)
        self.next_steps = max(self.least_steps, min(chosen, most))

    def state_dict(self) -> Mapping[str, Any]:
        """Return the coming T and the times measured so far."""
        return {"next_steps": self.next_steps, "ratio": dict(self.ratio.state_dict())}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state_dict` returned."""
        self.next_steps = int(state["next_steps"])
        self.ratio.load_state_dict(state["ratio"])


class BalancedSteps(AdaptiveRule):
    """T that maximises what a round is worth over what it costs, W(T)/(1 + rT); no fit.

    W(T) = Σ_{t<T} w_t, w_t what local step t moves the average towards the common minimiser:
    `gain.round_gains`, from the path of the last round.  A path of T steps tells W up to 2T.  W is
    exact for quadratic f_i with a common minimiser.  For other losses, networks among them, it is
    a rule of thumb.

    `cost_ratio`: r = C_g/C_c, what a local step costs in units of a communication, or "measured":
    by the run's own clock; the run is then not reproducible, its decisions are
    (`Trace.local_steps`, `ScheduledSteps`).  `optimum`: f_i*, the least value of each local
    loss, one number or m; 0 for over-parameterised models.  None where it is not known: the
    gradient norms take the place of the losses.  `max_steps`: no round takes more.
    Raises `ValueError` for a ratio that is not positive and finite and an optimum that is not
    finite, and while running for a loss below `optimum`.
    """

    def __init__(
        self,
        cost_ratio: float | Literal["measured"],
        *,
        optimum: float | Sequence[float] | None = 0.0,
        max_steps: int = 10_000,
    ) -> None:
        super().__init__(cost_ratio, max_steps)
        if optimum is not None and not np.isfinite(np.asarray(optimum, float)).all():
            raise ValueError(f"optimum={optimum!r} must be finite, or None where it is not known")
        self.optimum = optimum

    def check(self, num_nodes: int) -> None:
        """Raise `ValueError` where `optimum` is a sequence of another length than m."""
        if self.optimum is not None and np.shape(self.optimum) not in ((), (num_nodes,)):
            raise ValueError(
                f"optimum has shape {np.shape(self.optimum)}, expected one number or {num_nodes}"
            )

    def choose(self, paths: LocalPaths, cost_ratio: float) -> int:
        """Return argmax W(T)/(1 + rT), or twice the last T where that is the last T seen."""
        gains = round_gains(paths, self.optimum)
        best = steps_of_least_cost(gains, cost_ratio)
        return GROWTH * paths.loss.shape[1] if best == len(gains) else best

    def __repr__(self) -> str:
        return (
            f"BalancedSteps({self.ratio.given!r}, optimum={self.optimum!r}, "
            f"max_steps={self.max_steps})"
        )
