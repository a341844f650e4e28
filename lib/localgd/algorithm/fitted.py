"""Choose T by the recipe that Section 4 of Zhang & Li 2019 ends with."""

from __future__ import annotations

from typing import Literal

import numpy as np

from localgd.algorithm.adaptive import GROWTH, AdaptiveRule
from localgd.algorithm.paths import LocalPaths


class FittedSteps(AdaptiveRule):
    """T* of Section 4 for the decay h(t) fitted to the last path of ‖∇f_i‖².

    The mean of ‖∇f_i(x^{i,t})‖² over the nodes, relative to its first value, is fitted by β^t or
    (1 + at)^{−β}, whichever fits better (`theory.fit_decay`), and T* minimises the cost bound
    (1 + rT)/Σ_{t<T} h(t) (`theory.optimal_steps_linear`, `theory.optimal_steps_power`).  A fit
    needs four points: no round takes fewer than 4 steps.  Where the gradients do not decay along
    the path, or with an exponent β ≤ 1, for which the formula has no minimiser, T doubles.

    `cost_ratio`, `max_steps` and what is raised are as for `BalancedSteps`.
    Source: Section 4 of Zhang & Li 2019, its last paragraph; the floor and the growth are ours.
    """

    least_steps = 4

    def __init__(self, cost_ratio: float | Literal["measured"], *, max_steps: int = 10_000) -> None:
        super().__init__(cost_ratio, max(max_steps, self.least_steps))

    def choose(self, paths: LocalPaths, cost_ratio: float) -> int:
        """Return T* of the fitted law."""
        from localgd.theory.decay import Geometric, fit_decay
        from localgd.theory.tradeoff import optimal_steps_linear, optimal_steps_power

        path = np.nan_to_num(paths.grad_norm_sq).mean(0)
        path = path[: int(np.argmin(path > 0)) or len(path)]  # what has underflowed says nothing
        longer: int = GROWTH * paths.loss.shape[1]
        if len(path) < self.least_steps:
            return self.least_steps
        at = np.unique(np.r_[0, np.geomspace(1, len(path) - 1, 200).round().astype(int)])
        try:
            law = fit_decay(path[at], at).law
        except ValueError:  # no decay
            return longer
        if isinstance(law, Geometric):
            best = float(optimal_steps_linear(law.beta, cost_ratio))
        elif law.beta > 1:
            best = float(optimal_steps_power(law.a, law.beta, cost_ratio))
        else:
            return longer
        return max(1, round(min(best, longer)))

    def __repr__(self) -> str:
        return f"FittedSteps({self.ratio.given!r}, max_steps={self.max_steps})"
