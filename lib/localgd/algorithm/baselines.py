"""Rules from the literature that choose the number of local steps, for comparison.

They were made for stochastic gradients, with which averaging seldom costs accuracy; here the
gradients are exact.  Each is written from its source and says what had to be adapted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from localgd.algorithm.paths import LocalPaths
from localgd.algorithm.rules import Plan, RoundInfo, Rule, check_step_count


class AdaComm(Rule):
    """τ ← ⌈√(f(x_n)/f(x_0)) τ_0⌉, or γτ where that is no decrease; τ ≥ 1.

    `first`: τ_0, which the authors find by a search.  `interval`: how many rounds a value of τ
    is kept; theirs is a time, 60 seconds.  `shrink`: γ.
    Source: Wang & Joshi 2018, arXiv:1810.08313, for a constant step size.
    """

    def __init__(self, first: int, *, interval: int = 1, shrink: float = 0.5) -> None:
        self.first = check_step_count(first, "first")
        self.interval = check_step_count(interval, "interval")
        if not 0 < shrink < 1:
            raise ValueError(f"shrink={shrink} must be between 0 and 1")
        self.shrink = shrink
        self._steps, self._loss = self.first, math.nan

    def plan(self, info: RoundInfo, num_nodes: int) -> Plan:
        """Return τ for every node, revised at the start of each interval."""
        if info.round == 1:
            self._steps, self._loss = self.first, info.loss
        elif (info.round - 1) % self.interval == 0 and self._loss > 0:
            asked = math.ceil(math.sqrt(max(info.loss, 0.0) / self._loss) * self.first)
            if asked >= self._steps:
                asked = math.floor(self.shrink * self._steps)
            self._steps = max(1, asked)
        return Plan(np.full(num_nodes, self._steps, np.int64))

    def state_dict(self) -> Mapping[str, Any]:
        """Return τ and f(x_0)."""
        return {"steps": self._steps, "loss": self._loss}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state_dict` returned."""
        self._steps, self._loss = int(state["steps"]), float(state["loss"])

    def __repr__(self) -> str:
        return f"AdaComm({self.first}, interval={self.interval}, shrink={self.shrink:g})"


class PaddleAdaptive(Rule):
    """T = ⌈√(k_0 f(x_n)/f(x_0))⌉, between 1 and 16: Paddle's adaptive LocalSGD at a constant η.

    `first`: k_0, Paddle's `init_k_steps`, which stands under the root.
    Source: `AdaptiveLocalSGDOptimizer` of PaddlePaddle, fleet/meta_optimizers.
    """

    most = 16

    def __init__(self, first: int = 1) -> None:
        self.first = check_step_count(first, "first")
        self._loss = math.nan

    def plan(self, info: RoundInfo, num_nodes: int) -> Plan:
        """Return T for every node."""
        if info.round == 1:
            self._loss, steps = info.loss, self.first
        else:
            ratio = info.loss / self._loss if self._loss > 0 else 0.0
            steps = min(self.most, max(1, math.ceil(math.sqrt(self.first * ratio))))
        return Plan(np.full(num_nodes, steps, np.int64))

    def state_dict(self) -> Mapping[str, Any]:
        """Return f(x_0)."""
        return {"loss": self._loss}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state_dict` returned."""
        self._loss = float(state["loss"])

    def __repr__(self) -> str:
        return f"PaddleAdaptive({self.first})"


class QuadraticSync(Rule):
    """H = max(H_base, ⌊(α/η)²⌋), the quadratic synchronisation rule; constant where η is.

    Source: Gu, Lyu, Arora, Zhang & Huang 2023, arXiv:2310.14423.
    """

    constant = True

    def __init__(self, least: int, alpha: float, step_size: float) -> None:
        self.least = check_step_count(least, "least")
        if not (alpha > 0 and step_size > 0):
            raise ValueError(f"alpha={alpha} and step_size={step_size} must be positive")
        self.alpha, self.step_size = alpha, step_size

    def plan(self, info: RoundInfo, num_nodes: int) -> Plan:
        """Return H for every node."""
        steps = max(self.least, math.floor((self.alpha / self.step_size) ** 2))
        return Plan(np.full(num_nodes, steps, np.int64))


class AdaptiveTau(Rule):
    """The τ ≤ 10τ_last that minimises G(τ), the bound of Wang et al. 2019 on f within a budget.

    With R' = (R − c − b)τ/(cτ + b), c the cost of a step, b of a communication, R the budget, and
    h(τ) = (δ/β)((ηβ + 1)^τ − 1) − ηδτ,

    G(τ) = (1 + √(1 + 4R'²φρηh(τ)/τ))/(2R'ηφ) + ρh(τ).

    ρ, β and δ are estimated: the Lipschitz constants of f_i and ∇f_i, and how far the ∇f_i(x_n) lie
    apart.  The authors compare a node's last model with the average.  Here only numbers are
    known: ρ = |f_i(x^{i,1}) − f_i(x^{i,0})|/(η‖∇f_i‖), δ² = (1/m)Σ‖∇f_i(x_n)‖² − ‖∇f(x_n)‖², and β
    is given.

    `budget`: R in communications.  `smoothness`: β.  `phi`: φ, 0.025 in the authors' code.
    Source: Wang, Tuor, Salonidis, Leung, Makaya, He & Chan, arXiv:1804.05271, and their code.
    """

    wants_paths = True
    most = 100  # the authors' τ_max

    def __init__(
        self, cost_ratio: float, budget: float, smoothness: float, phi: float = 0.025
    ) -> None:
        for name, value in (
            ("cost_ratio", cost_ratio),
            ("budget", budget),
            ("smoothness", smoothness),
            ("phi", phi),
        ):
            if not 0 < value < math.inf:
                raise ValueError(f"{name}={value} must be positive and finite")
        self.cost_ratio, self.budget = cost_ratio, budget
        self.smoothness, self.phi = smoothness, phi
        self._steps, self._lipschitz, self._eta = 1, math.nan, math.nan

    def plan(self, info: RoundInfo, num_nodes: int) -> Plan:
        """Return τ for every node."""
        if not math.isnan(self._lipschitz):
            apart = math.sqrt(max(0.0, info.local_grad_norm_sq.mean() - info.grad_norm_sq))
            tau = np.arange(1, min(10 * self._steps, self.most) + 1)
            self._steps = int(tau[np.nanargmin(self._bound(tau, apart))])
        return Plan(np.full(num_nodes, self._steps, np.int64))

    def observe(self, paths: LocalPaths) -> None:
        """Estimate ρ along the first step of the round, where there are two losses."""
        self._eta = float(paths.step_size.mean())
        if paths.loss.shape[1] > 1:
            moved = paths.step_size * np.sqrt(paths.grad_norm_sq[:, 0])
            slopes = np.abs(paths.loss[:, 1] - paths.loss[:, 0])[moved > 0] / moved[moved > 0]
            self._lipschitz = float(slopes.mean()) if slopes.size else 0.0
        elif math.isnan(self._lipschitz):
            self._lipschitz = float(np.sqrt(paths.grad_norm_sq[:, 0]).mean())

    def _bound(self, tau: np.ndarray[Any, Any], apart: float) -> np.ndarray[Any, Any]:
        """G(τ)."""
        eta, beta, r = self._eta, self.smoothness, self.cost_ratio
        with np.errstate(over="ignore", invalid="ignore"):
            drift = apart / beta * ((eta * beta + 1) ** tau - 1) - eta * apart * tau
            drift = np.maximum(0.0, drift)
            left = (self.budget - r - 1) * tau / (r * tau + 1)
            inner = 1 + 4 * left**2 * self.phi * self._lipschitz * eta * drift / tau
            bound = (1 + np.sqrt(inner)) / (2 * left * eta * self.phi) + self._lipschitz * drift
        return np.where(np.isfinite(bound), bound, np.inf)

    def state_dict(self) -> Mapping[str, Any]:
        """Return τ and what was estimated."""
        return {"steps": self._steps, "lipschitz": self._lipschitz, "eta": self._eta}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state_dict` returned."""
        self._steps = int(state["steps"])
        self._lipschitz, self._eta = float(state["lipschitz"]), float(state["eta"])

    def __repr__(self) -> str:
        return (
            f"AdaptiveTau({self.cost_ratio:g}, budget={self.budget:g}, "
            f"smoothness={self.smoothness:g}, phi={self.phi:g})"
        )
