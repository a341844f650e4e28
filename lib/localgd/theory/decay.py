"""h(t), the law by which local gradient descent runs dry (Section 4), and fitting it.

h(t) bounds the squared gradient norm from below along local steps,
‖∇f_i(x^{i,t})‖² ≥ h(t) ‖∇f_i(x^{i,0})‖² with h(0) = 1 (Zhang & Li 2019, Eq. (3)).
Σ_{t<T} h(t) is then what one round of T local steps is worth, in units of a single step.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar

FloatArray = NDArray[np.float64]

_HEAD = 1024  # terms summed one by one before Euler–Maclaurin takes over


def check_range(
    name: str,
    value: ArrayLike,
    low: float,
    high: float = np.inf,
    *,
    rule: str,
    closed: bool = False,
) -> FloatArray:
    """Return `value` in float64; every entry must lie in (low, high), or [low, high] if closed.

    Raises ValueError with the first entry that does not, the parameter's name and the rule.
    """
    array = np.asarray(value, dtype=np.float64)
    inside = (array >= low) & (array <= high) if closed else (array > low) & (array < high)
    if not inside.all():
        raise ValueError(f"{name}={float(array[~inside].flat[0])!r} is outside its range: {rule}")
    return array


def check_steps(local_steps: ArrayLike, *, whole: bool) -> FloatArray:
    """Return T in float64, T > 0; or, where `whole`, T ∈ {1, 2, …, ∞}."""
    steps = check_range(
        "local_steps", local_steps, np.nextafter(0, 1), closed=True, rule="T must be positive"
    )
    if whole and not (steps == np.floor(steps)).all():
        bad = float(steps[steps != np.floor(steps)].flat[0])
        raise ValueError(f"local_steps={bad!r} is not whole: Σ_{{t<T}} h(t) needs T in 1, 2, …, ∞")
    return steps


class Progress(Protocol):
    """The worth of one round of T local steps; `tradeoff.total_cost` divides by it."""

    def per_round(self, local_steps: ArrayLike) -> FloatArray:
        """Worth of a round, positive, of the shape of `local_steps`."""
        ...


@dataclass(frozen=True)
class Geometric:
    """h(t) = β^t with 0 < β < 1 ("Linearly Convergent Case", Section 4 of Zhang & Li 2019).

    Raises ValueError for β outside (0, 1).
    """

    beta: float

    def __post_init__(self) -> None:
        """Refuse β outside (0, 1)."""
        check_range("beta", self.beta, 0, 1, rule="a geometric decay needs 0 < beta < 1")

    def __call__(self, t: ArrayLike) -> FloatArray:
        """h(t) = β^t, of the shape of t."""
        return np.asarray(np.exp(np.log(self.beta) * np.asarray(t, dtype=np.float64)))

    def per_round(self, local_steps: ArrayLike) -> FloatArray:
        """Σ_{t<T} h(t) = (1 − β^T)/(1 − β), for any real T > 0 and for T = ∞."""
        steps = check_steps(local_steps, whole=False)
        return np.asarray(np.expm1(np.log(self.beta) * steps) / (self.beta - 1))


@dataclass(frozen=True)
class PowerLaw:
    """h(t) = (1 + at)^−β with a, β > 0 ("Sub-linearly Convergent Case", Section 4).

    `per_round` is the sum itself; `PowerLawIntegral` is the paper's integral in its place.
    Raises ValueError for a ≤ 0 or β ≤ 0. (Section 4 needs β > 1; a measured decay may be slower.)
    """

    a: float
    beta: float

    def __post_init__(self) -> None:
        """Refuse a or β that is not positive and finite."""
        check_range("a", self.a, 0, rule="a power law needs 0 < a < ∞")
        check_range("beta", self.beta, 0, rule="a power law needs 0 < beta < ∞")

    def __call__(self, t: ArrayLike) -> FloatArray:
        """h(t) = (1 + at)^−β, of the shape of t."""
        return np.asarray(np.exp(-self.beta * np.log1p(self.a * np.asarray(t, dtype=np.float64))))

    def _integral(self, low: float, high: FloatArray) -> FloatArray:
        """∫_low^high h(s) ds, with no cancellation for β near 1 or a near 0."""
        log_low, width = np.log1p(self.a * low), np.log1p(self.a * high) - np.log1p(self.a * low)
        gamma = self.beta - 1
        ratio = width if gamma == 0 else -np.expm1(-gamma * width) / gamma
        return np.asarray(np.exp(-gamma * log_low) * ratio / self.a)

    def per_round(self, local_steps: ArrayLike) -> FloatArray:
        """Σ_{t<T} (1 + at)^−β for T = 1, 2, …, ∞, to about 1e-13 (Euler–Maclaurin).

        Infinite for T = ∞ and β ≤ 1. Raises ValueError where T is not whole.
        """
        steps = check_steps(local_steps, whole=True)
        sums = np.cumsum(self(np.arange(_HEAD)))
        head = sums[np.minimum(steps, _HEAD).astype(np.int64) - 1]

        def boundary(t: FloatArray) -> FloatArray:  # −h/2 + h'/12, zero at ∞
            return np.asarray(self(t) * (-0.5 - self.a * self.beta / (12 * (1 + self.a * t))))

        end = np.maximum(steps, _HEAD)
        tail = self._integral(_HEAD, end) + boundary(end) - boundary(np.asarray(float(_HEAD)))
        return np.asarray(head + np.where(steps > _HEAD, tail, 0.0))


@dataclass(frozen=True)
class PowerLawIntegral(PowerLaw):
    """∫₀^T (1 + as)^−β ds = (1 − (1 + aT)^{1−β})/(a(β − 1)), the paper's bound of Σ_{t<T} h(t).

    This is what `tradeoff.optimal_steps_power` minimises the cost for. T may be any real number.
    """

    def per_round(self, local_steps: ArrayLike) -> FloatArray:
        """Return the integral from 0 to T, of the shape of T; infinite for T = ∞ and β ≤ 1."""
        return self._integral(0.0, check_steps(local_steps, whole=False))


@dataclass(frozen=True)
class ExactRate:
    """−log ρ(T): the decades (in e) that a round gains, for a known contraction factor ρ(T).

    `factor` maps an array of T to ρ(T) in [0, 1). ρ = 0 (done in one round) is worth ∞.
    """

    factor: Callable[[FloatArray], ArrayLike]

    def per_round(self, local_steps: ArrayLike) -> FloatArray:
        """−log ρ(T), of the shape of T. Raises ValueError where ρ(T) is outside [0, 1)."""
        rho = check_range(
            "contraction factor",
            self.factor(check_steps(local_steps, whole=False)),
            0.0,
            float(np.nextafter(1, 0)),
            closed=True,
            rule="the rounds converge only for 0 ≤ rho < 1",
        )
        with np.errstate(divide="ignore"):
            return np.asarray(-np.log(rho))


@dataclass(frozen=True)
class DecayFit:
    """A fitted law with h(0) = 1, and how well it and its rival describe log h.

    `rmse` is the root mean square of log(measured) − log(law), so 0.01 is about one per cent;
    `rival_rmse` is the same for the law that was not chosen; `r_squared` is 1 − RSS/TSS in log h;
    `points` counts the measurements after the first.
    """

    law: Geometric | PowerLaw
    rmse: float
    rival_rmse: float
    r_squared: float
    points: int


def fit_decay(grad_norms_sq: ArrayLike, steps: ArrayLike | None = None) -> DecayFit:
    """Fit ‖∇f_i(x^{i,t})‖² ≈ h(t) ‖∇f_i(x^{i,0})‖² by h(t) = β^t or h(t) = (1 + at)^−β.

    grad_norms_sq: (n,) squared gradient norms along local steps, n ≥ 4, all positive.
    steps: (n,) the step t of each, increasing from 0; by default 0, 1, …, n−1.
    Least squares in log h, both laws passing through h(0) = 1; of the two, the one with the
    lower Bayesian information criterion (the power law pays for its second parameter).

    Raises ValueError for fewer than four values, a value that is not positive and finite,
    steps that do not increase from 0, or a sequence that does not decay.
    Source: h(t) as in Section 4 of Zhang & Li 2019, Eq. (3); the fit is ours.
    """
    values = np.asarray(grad_norms_sq, dtype=np.float64)
    if values.ndim != 1 or values.size < 4:
        raise ValueError(f"grad_norms_sq has shape {values.shape}: a fit needs at least 4 values")
    check_range("grad_norms_sq", values, 0, rule="squared norms must be positive and finite")
    t = np.arange(values.size) if steps is None else np.asarray(steps, dtype=np.float64)
    if t.shape != values.shape or t[0] != 0 or not (np.diff(t) > 0).all():
        raise ValueError(f"steps must be {values.size} numbers increasing from 0, got {t!r}")
    t = t[1:].astype(np.float64)
    y = np.log(values[1:]) - np.log(values[0])  # log h(t)

    slope = float(t @ y / (t @ t))
    if slope >= 0:
        raise ValueError(f"grad_norms_sq does not decay: the fitted rate is {slope:.3g} a step")
    beta, log_a = _fit_power(t, y)
    if beta <= 0:
        raise ValueError(f"grad_norms_sq does not decay: the fitted power is {-beta:.3g}")
    power = PowerLaw(float(np.exp(log_a)), beta)
    geometric = Geometric(float(np.clip(np.exp(slope), 5e-324, np.nextafter(1, 0))))

    n = y.size
    rss_geometric = float(np.sum((y - slope * t) ** 2))
    rss_power = float(np.sum((y + beta * np.log1p(power.a * t)) ** 2))
    noise = n * float(np.spacing(np.abs(np.log(values)).max()) ** 2)  # rounding of the logarithms
    gain = n * np.log((rss_geometric + noise) / (rss_power + noise))
    power_wins = gain > np.log(n)  # the second parameter's price in the criterion
    chosen: Geometric | PowerLaw = power if power_wins else geometric
    rss, rival = (rss_power, rss_geometric) if power_wins else (rss_geometric, rss_power)
    spread = float(np.sum((y - y.mean()) ** 2))
    return DecayFit(
        law=chosen,
        rmse=float(np.sqrt(rss / n)),
        rival_rmse=float(np.sqrt(rival / n)),
        r_squared=1.0 - rss / spread if spread > 0 else 0.0,
        points=n,
    )


def _fit_power(t: FloatArray, y: FloatArray) -> tuple[float, float]:
    """(β, log a) minimising Σ (y + β log(1 + at))²: β is linear, log a by a grid and a search."""

    def beta_of(log_a: float) -> float:
        basis = np.log1p(np.exp(log_a) * t)
        return float(-(basis @ y) / (basis @ basis))

    def rss(log_a: float) -> float:
        return float(np.sum((y + beta_of(log_a) * np.log1p(np.exp(log_a) * t)) ** 2))

    grid = np.linspace(np.log(1e-6 / t[-1]), np.log(1e9 / t[0]), 121)
    best = int(np.argmin([rss(g) for g in grid]))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, grid.size - 1)]
    log_a = float(minimize_scalar(rss, bounds=(low, high), options={"xatol": 1e-10}).x)
    return beta_of(log_a), log_a
