"""Price a run whose rounds cost 1 and local steps r, and find the best number of steps.

With worth H(T) a round, the total cost is proportional to (1 + rT)/H(T): Section 4 of
Zhang & Li 2019. Both of the paper's optimality conditions have the shape G(w) = κ with G a power
series with positive coefficients that starts at w². Then log G is convex and increasing in log w,
and Newton's method in those variables comes down on the root from any point above it. No
exponential is ever formed that could overflow (the paper's W₋₁(−e⁻¹β^{1/r}) underflows beyond
log(1/β)/r ≈ 745).
"""

from collections.abc import Callable
from typing import overload

import numpy as np
from numpy.typing import ArrayLike

from localgd.theory.decay import FloatArray, Progress, check_range, check_steps

_TINY = float(np.finfo(np.float64).tiny)
_LARGEST = float(np.finfo(np.float64).max)
_SERIES_TERMS = 20  # arguments below 1: the next term is below 1e-19 of the first
_NEWTON_STEPS = 60  # about 10 are used


@overload
def optimal_steps_linear(beta: float, cost_ratio: float) -> float: ...
@overload
def optimal_steps_linear(beta: ArrayLike, cost_ratio: ArrayLike) -> float | FloatArray: ...
def optimal_steps_linear(beta: ArrayLike, cost_ratio: ArrayLike) -> float | FloatArray:
    """T* = argmin_{T>0} (1 + rT)/(1 − β^T), the root of e^u = 1 + u + b/r with u = bT, b = −log β.

    The same number as the paper's (1/log β)(1 + W₋₁(−e⁻¹ β^{1/r})) − 1/r, without its underflow.
    Real-valued: an integer minimiser is one of its two neighbours, and 1 where T* < 1.

    beta: in (0, 1), the factor of h(t) = β^t. cost_ratio: r = C_g/C_c > 0. The two broadcast;
    scalars give a float. Relative accuracy about 1e-13 over all normal doubles; no overflow.

    Raises ValueError for a value outside its range, or shapes that do not broadcast.
    Source: Section 4 of Zhang & Li 2019, "Linearly Convergent Case".
    """
    log_r = np.log(_check_cost_ratio(cost_ratio))
    b = -np.log(check_range("beta", beta, 0, 1, rule="a geometric decay needs 0 < beta < 1"))
    target, b = np.broadcast_arrays(np.log(b) - log_r, b)  # log(b/r)
    start = np.minimum(
        (np.log(2) + target) / 2,  # e^u − 1 − u ≥ u²/2
        np.log(2) + np.log(np.logaddexp(0, target / 2)),  # e^u − 1 − u ≥ (e^{u/2} − 1)²
    )
    return _scalar_if_0d(np.exp(_newton(_log_exp_remainder, target, start)) / b)


@overload
def optimal_steps_power(a: float, beta: float, cost_ratio: float) -> float: ...
@overload
def optimal_steps_power(
    a: ArrayLike, beta: ArrayLike, cost_ratio: ArrayLike
) -> float | FloatArray: ...
def optimal_steps_power(a: ArrayLike, beta: ArrayLike, cost_ratio: ArrayLike) -> float | FloatArray:
    """T* = argmin_{T>0} (1 + rT)/(1 − (1 + aT)^{1−β}).

    The root of Eq. (6), r((1 + aT)^β − 1) = a(β + βrT − 1), the only positive one: with y = 1 + aT,
    (y^β − 1 − β(y − 1))/(β − 1) = a/r. β = 2 gives T* = 1/√(ar). Real-valued, and the minimiser of
    the bound with the integral ∫₀^T h, not of the cost with the sum Σ_{t<T} h.

    a: > 0 and beta: > 1, of h(t) = (1 + at)^−β. cost_ratio: r = C_g/C_c > 0. The three broadcast;
    scalars give a float. Relative accuracy about 1e-13 over all normal doubles; no overflow.

    Raises ValueError for a value outside its range, or shapes that do not broadcast.
    Source: Section 4 of Zhang & Li 2019, Eq. (6).
    """
    log_r = np.log(_check_cost_ratio(cost_ratio))
    a_rule = "a power law needs a > 0, a finite normal double"
    log_a = np.log(check_range("a", a, _TINY, _LARGEST, closed=True, rule=a_rule))
    beta_array = check_range("beta", beta, 1, rule="Section 4 needs 1 < beta < ∞")
    target, log_a, beta_array = np.broadcast_arrays(log_a - log_r, log_a, beta_array)
    gamma = beta_array - 1
    quadratic = (np.log(2) + target - np.log(beta_array)) / 2  # K ≥ βw²/2
    above = np.where(
        beta_array >= 2,
        np.logaddexp(0, (np.log(gamma) + target) / 2),  # y^{β/2} ≤ 1 + √(γκ)
        np.logaddexp(1, target),  # y ≤ e + κ
    )
    scale = np.where(beta_array >= 2, np.log(2) - np.log(beta_array), 0.0)
    start = np.minimum(quadratic, scale + np.log(above))
    log_w = _newton(lambda v: _log_power_remainder(v, beta_array), target, start)
    w = np.exp(log_w)  # log y. Since 1 − e^{−w} is w or 1 at the ends, divide a out in logarithms
    log_t = w - log_a + np.where(w > _TINY, np.log(-np.expm1(-np.maximum(w, _TINY))), log_w)
    return _scalar_if_0d(np.exp(log_t))  # T = e^w (1 − e^{−w})/a


@overload
def total_cost(local_steps: float, cost_ratio: float, progress: Progress) -> float: ...
@overload
def total_cost(
    local_steps: ArrayLike, cost_ratio: ArrayLike, progress: Progress
) -> float | FloatArray: ...
def total_cost(
    local_steps: ArrayLike, cost_ratio: ArrayLike, progress: Progress
) -> float | FloatArray:
    """(1 + rT)/H(T), the cost of a run of rounds of T local steps, each round worth H(T).

    progress: what a round is worth. `Geometric(beta)` and `PowerLaw(a, beta)` give H = Σ_{t<T} h(t)
    and so the paper's bound, in units of C_c m d(x_0, S)²/(αε); `PowerLawIntegral(a, beta)` has
    ∫₀^T h in place of the sum; `ExactRate(factor)` gives H = −log ρ(T) and so the cost, in units
    of C_c m, of shrinking the distance e-fold. Costs of different kinds are not comparable; their
    minimisers are.
    local_steps: T > 0, whole for `PowerLaw`; T = ∞ costs ∞. cost_ratio: r > 0. The two broadcast;
    scalars give a float.

    Raises ValueError for a value outside its range.
    Source: Section 4 of Zhang & Li 2019, C_total; the exact form is ours.
    """
    r = _check_cost_ratio(cost_ratio)
    steps = check_steps(local_steps, whole=False)
    return _scalar_if_0d(np.asarray((1 + r * steps) / progress.per_round(steps)))


def _check_cost_ratio(cost_ratio: ArrayLike) -> FloatArray:
    rule = "r = C_g/C_c must be positive, a finite normal double"
    return check_range("cost_ratio", cost_ratio, _TINY, _LARGEST, closed=True, rule=rule)


def _scalar_if_0d(value: FloatArray) -> float | FloatArray:
    return float(value) if np.ndim(value) == 0 else value


def _newton(
    log_g: Callable[[FloatArray], tuple[FloatArray, FloatArray]],
    target: FloatArray,
    start: FloatArray,
) -> FloatArray:
    """v with log_g(v) = target, from v ≥ the root, for log_g convex with slope at least 2."""
    v = start
    for _ in range(_NEWTON_STEPS):
        value, slope = log_g(v)
        step = (value - target) / slope
        v = v - step
        if (np.abs(step) <= 4 * np.spacing(np.maximum(np.abs(v), 1.0))).all():
            break
    return v


def _log_exp_remainder(v: FloatArray) -> tuple[FloatArray, FloatArray]:
    """log(e^u − 1 − u) at u = e^v, and its slope in v."""
    u = np.exp(v)
    small, large = np.minimum(u, 1.0), np.maximum(u, 1.0)
    term, series, moment = np.ones_like(u), np.ones_like(u), np.zeros_like(u)
    for k in range(3, 3 + _SERIES_TERMS):  # Σ_{k≥2} 2u^{k−2}/k!
        term = term * small / k
        series = series + term
        moment = moment + (k - 2) * term
    rest = -np.expm1(-large) - large * np.exp(-large)  # (e^u − 1 − u) e^{−u}
    value = np.where(u < 1, 2 * v - np.log(2) + np.log(series), large + np.log(rest))
    return value, np.where(u < 1, 2 + moment / series, -large * np.expm1(-large) / rest)


def _log_power_remainder(v: FloatArray, beta: FloatArray) -> tuple[FloatArray, FloatArray]:
    """log K at w = log y = e^v, K = (y^β − 1 − β(y − 1))/(β − 1), and its slope in v.

    K = β Σ_{k≥2} (1 + β + … + β^{k−2}) w^k/k! where βw < 1; else e^{βw} is divided out.
    """
    gamma = beta - 1
    w = np.exp(v)
    few = np.log(beta) + v < 0
    small = np.where(few, w, 0.0)
    small_beta = np.where(few, np.exp(np.minimum(np.log(beta) + v, 0)), 0.0)  # βw
    coefficient, power, factorial = np.ones_like(w), np.ones_like(w), 1.0
    series, moment = np.ones_like(w), np.zeros_like(w)
    for k in range(3, 3 + _SERIES_TERMS):  # coefficient: (1 + β + … + β^{k−2}) w^{k−2}
        power = power * small
        coefficient = coefficient * small_beta + power
        factorial *= k
        series = series + coefficient / factorial
        moment = moment + (k - 2) * coefficient / factorial
    large = np.where(few, 1.0, w)
    main = -np.expm1(-gamma * large)
    rest = main + gamma * np.expm1(-large) * np.exp(-gamma * large)  # (β − 1) K e^{−βw}
    value = np.where(
        few,
        np.log(beta) - np.log(2) + 2 * v + np.log(series),
        beta * large - np.log(gamma) + np.log(rest),
    )
    return value, np.where(few, 2 + moment / series, large * beta * main / rest)
