"""T*, costs and fitted decays (Section 4), against mpmath at 50 digits."""

import math

import mpmath as mp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from localgd.theory import (
    DecayFit,
    ExactRate,
    Geometric,
    PowerLaw,
    PowerLawIntegral,
    fit_decay,
    optimal_steps_linear,
    optimal_steps_power,
    total_cost,
)

RELATIVE = 1e-9

cost_ratios = st.floats(-12, 3).map(lambda e: 10.0**e)
scales = st.floats(-6, 6).map(lambda e: 10.0**e)
factors = st.one_of(  # β in (0, 1): spread in log β and in log(1 − β)
    st.floats(-6, -0.01).map(lambda e: 10.0**e),
    st.floats(-9, -0.01).map(lambda e: 1 - 10.0**e),
)
powers = st.floats(-15.6, 6).map(lambda e: 1 + 10.0**e)  # β > 1, down to the next double


def slope_linear(steps, beta, r):
    """Sign of d/dT (1 + rT)/(1 − β^T), from the quotient rule, at 50 digits and more."""
    beta, r = mp.mpf(beta), mp.mpf(r)
    return r * (1 - beta**steps) + (1 + r * steps) * beta**steps * mp.log(beta)


def slope_power(steps, a, beta, r):
    """Left-hand side of Eq. (6) as the paper prints it: negative before T*, positive after."""
    a, beta, r = mp.mpf(a), mp.mpf(beta), mp.mpf(r)
    return r * ((1 + a * steps) ** beta - 1) - a * (beta + beta * r * steps - 1)


def brackets_root(slope, found, relative=RELATIVE):
    """Whether the slope changes sign between found(1 − relative) and found(1 + relative)."""
    with mp.workdps(120):
        found = mp.mpf(found)
        return slope(found * (1 - relative)) < 0 < slope(found * (1 + relative))


# --- T* ---------------------------------------------------------------------------------------


@pytest.mark.claim("tstar-linear")
@settings(max_examples=400, deadline=None)
@given(beta=factors, r=cost_ratios)
@example(beta=1e-6, r=1e-12)
@example(beta=1 - 1e-9, r=1e-12)
@example(beta=1e-6, r=1e3)
@example(beta=1 - 1e-9, r=1e3)
def test_optimal_steps_linear_is_where_the_cost_stops_falling(beta, r):
    found = optimal_steps_linear(beta, r)
    assert brackets_root(lambda t: slope_linear(t, beta, r), found)
    # negative control: a slightly different number is not the minimiser
    assert not brackets_root(lambda t: slope_linear(t, beta, r), found * (1 + 1e-8))


@pytest.mark.claim("tstar-linear")
@pytest.mark.parametrize("r", [1e-12, 1e-3, 1.0, 1e3])
@pytest.mark.parametrize("beta", [1e-6, 0.1, 0.9, 1 - 1e-9])
def test_optimal_steps_linear_is_the_paper_s_lambert_form(beta, r):
    with mp.workdps(80):  # branch −1; mpmath does not underflow
        w = mp.lambertw(-mp.exp(-1 - mp.log(1 / mp.mpf(beta)) / mp.mpf(r)), -1)
        paper = (1 + w) / mp.log(mp.mpf(beta)) - 1 / mp.mpf(r)
        assert abs(optimal_steps_linear(beta, r) / paper - 1) < 1e-12


@pytest.mark.claim("tstar-power")
@settings(max_examples=400, deadline=None)
@given(a=scales, beta=powers, r=cost_ratios)
@example(a=1e-6, beta=1 + 2**-52, r=1e3)
@example(a=1e6, beta=1 + 2**-52, r=1e-12)
@example(a=1e6, beta=1e6, r=1e-12)
@example(a=1e-6, beta=1e6, r=1e3)
def test_optimal_steps_power_is_the_root_of_eq_6(a, beta, r):
    found = optimal_steps_power(a, beta, r)
    assert brackets_root(lambda t: slope_power(t, a, beta, r), found)
    assert not brackets_root(lambda t: slope_power(t, a, beta, r), found * (1 + 1e-8))


@given(a=scales, r=cost_ratios)
def test_optimal_steps_power_at_beta_2_is_one_over_root_ar(a, r):
    # y² − 1 − 2(y − 1) = a/r with y = 1 + aT  ->  aT = √(a/r)  ->  T = 1/√(ar)
    assert optimal_steps_power(a, 2.0, r) == pytest.approx(1 / math.sqrt(a * r), rel=1e-12)


@given(beta=factors, r=cost_ratios)
def test_optimal_steps_power_tends_to_the_geometric_answer(beta, r):
    # (1 + at)^−n -> e^{−bt} as n -> ∞ with na = b
    n = 1e12
    power = optimal_steps_power(-math.log(beta) / n, n, r)
    assert power == pytest.approx(optimal_steps_linear(beta, r), rel=1e-8)


def test_optimal_steps_stay_finite_over_all_normal_doubles():
    ends = np.array([2.3e-308, 1e-100, 1.0, 1e100, 1.7e308])
    betas = np.array([5e-324, 1e-300, 0.5, np.nextafter(1, 0)])
    linear = optimal_steps_linear(betas[:, None], ends)
    assert linear.shape == (4, 5)
    assert ((linear > 0) & np.isfinite(linear)).all()
    powers = np.array([np.nextafter(1, 2), 2.0, 1e15, 1e300])
    power = optimal_steps_power(ends[:, None, None], powers[:, None], ends)
    assert power.shape == (5, 4, 5)
    assert np.isfinite(power).all()


def test_optimal_steps_give_floats_for_scalars_and_arrays_for_arrays():
    assert type(optimal_steps_linear(0.5, 0.1)) is float
    assert type(optimal_steps_power(1.0, 1.5, 0.1)) is float
    r = np.array([1e-3, 1e-1])
    assert optimal_steps_linear(0.5, r).tolist() == [optimal_steps_linear(0.5, x) for x in r]
    many = optimal_steps_power([[1.0], [2.0]], 1.5, r)
    assert many.shape == (2, 2)
    assert many[1, 0] == optimal_steps_power(2.0, 1.5, 1e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: optimal_steps_linear(1.0, 0.1), r"beta=1\.0 .* 0 < beta < 1"),
        (lambda: optimal_steps_linear(0.0, 0.1), r"beta=0\.0 .* 0 < beta < 1"),
        (lambda: optimal_steps_linear(math.nan, 0.1), r"beta=nan"),
        (lambda: optimal_steps_linear(0.5, 0.0), r"cost_ratio=0\.0 .*positive"),
        (lambda: optimal_steps_linear(0.5, [0.1, -1.0]), r"cost_ratio=-1\.0"),
        (lambda: optimal_steps_linear(0.5, math.inf), r"cost_ratio=inf"),
        (lambda: optimal_steps_linear([0.5, 0.6], [1.0, 2.0, 3.0]), "shape"),
        (lambda: optimal_steps_power(0.0, 2.0, 0.1), r"a=0\.0 .*a > 0"),
        (lambda: optimal_steps_power(1.0, 1.0, 0.1), r"beta=1\.0 .* 1 < beta"),
        (lambda: optimal_steps_power(1.0, math.inf, 0.1), r"beta=inf"),
        (lambda: total_cost(0, 0.1, Geometric(0.5)), r"local_steps=0\.0 .*positive"),
        (lambda: total_cost(1.5, 0.1, PowerLaw(1.0, 2.0)), r"local_steps=1\.5 is not whole"),
        (lambda: total_cost(1, 0.1, ExactRate(lambda t: 1.0 + 0 * t)), r"contraction factor=1\.0"),
        (lambda: Geometric(1.5), r"beta=1\.5"),
        (lambda: PowerLaw(-1.0, 2.0), r"a=-1\.0"),
        (lambda: fit_decay([1.0, 0.5, 0.2]), "at least 4"),
        (lambda: fit_decay([1.0, 0.5, 0.2, 0.0]), r"grad_norms_sq=0\.0"),
        (lambda: fit_decay([1.0, 1.0, 1.0, 1.0]), "does not decay"),
        (lambda: fit_decay([1.0, 2.0, 3.0, 4.0]), "does not decay"),
        (lambda: fit_decay([1.0, 0.5, 0.2, 0.1], steps=[1, 2, 3, 4]), "increasing from 0"),
        (lambda: fit_decay([1.0, 0.5, 0.2, 0.1], steps=[0, 2, 2, 4]), "increasing from 0"),
    ],
)
def test_values_outside_their_range_are_named_with_the_rule(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- the cost ---------------------------------------------------------------------------------


@pytest.mark.claim("eq5")
@given(beta=st.floats(1e-3, 0.999), steps=st.integers(1, 200), r=cost_ratios)
def test_total_cost_geometric_is_one_plus_rt_over_the_sum(beta, steps, r):
    by_hand = (1 + r * steps) / sum(beta**t for t in range(steps))
    assert total_cost(steps, r, Geometric(beta)) == pytest.approx(by_hand, rel=1e-11)


@pytest.mark.claim("eq5")
@settings(max_examples=60, deadline=None)
@given(a=scales, beta=st.floats(0.1, 50), steps=st.sampled_from([1, 2, 1023, 1024, 1025, 5000]))
def test_power_law_worth_is_the_sum(a, beta, steps):
    by_hand = math.fsum((1 + a * t) ** -beta for t in range(steps))
    assert float(PowerLaw(a, beta).per_round(steps)) == pytest.approx(by_hand, rel=1e-12)


@pytest.mark.parametrize(("a", "beta"), [(1.0, 1.5), (1e-3, 3.0), (10.0, 1.01), (0.1, 40.0)])
def test_power_law_worth_of_infinitely_many_steps_is_hurwitz_zeta(a, beta):
    with mp.workdps(50):
        exact = mp.mpf(a) ** -mp.mpf(beta) * mp.zeta(mp.mpf(beta), 1 / mp.mpf(a))
    assert float(PowerLaw(a, beta).per_round(math.inf)) == pytest.approx(float(exact), rel=1e-12)


@given(a=scales, beta=st.floats(1.0001, 20), steps=st.integers(1, 10**6))
def test_power_law_sum_lies_between_the_paper_s_integrals(a, beta, steps):
    below = float(PowerLawIntegral(a, beta).per_round(steps))
    above = 1 + (float(PowerLawIntegral(a, beta).per_round(steps - 1)) if steps > 1 else 0.0)
    assert below * (1 - 1e-12) <= float(PowerLaw(a, beta).per_round(steps)) <= above * (1 + 1e-12)


@given(a=scales, beta=st.floats(1.001, 50), r=cost_ratios, shift=st.floats(0.01, 1))
def test_optimal_steps_beat_their_neighbours(a, beta, r, shift):
    law = PowerLawIntegral(a, beta)
    best = optimal_steps_power(a, beta, r)
    others = best * np.array([1 - 0.9 * shift, 1 + shift])
    assert (total_cost(best, r, law) <= total_cost(others, r, law) * (1 + 1e-12)).all()
    rate = math.exp(-a * beta) if a * beta < 700 else 1e-300
    if rate < 1:
        best = optimal_steps_linear(rate, r)
        others = best * np.array([1 - 0.9 * shift, 1 + shift])
        floor = total_cost(others, r, Geometric(rate)) * (1 + 1e-12)
        assert (total_cost(best, r, Geometric(rate)) <= floor).all()


@pytest.mark.claim("bound-vs-cost")
def test_total_cost_with_the_exact_rate():
    # two nodes, f_i = (x_i)²/2 on R²: M_T = diag((1 + q^T)/2, same), so ρ(T) = (1 + q^T)/2
    law = ExactRate(lambda t: (1 + 0.5**t) / 2)
    assert total_cost(1, 0.1, law) == pytest.approx(1.1 / -math.log(0.75), rel=1e-14)
    steps = np.arange(1, 50)
    costs = total_cost(steps, 0.01, law)
    assert costs.shape == (49,)
    assert 1 < steps[costs.argmin()] < 49
    assert total_cost(math.inf, 0.01, law) == math.inf
    assert total_cost(3, 0.01, ExactRate(lambda t: 0.0 * t)) == 0.0  # done in one round


# --- the fit ----------------------------------------------------------------------------------


@given(beta=st.floats(0.05, 0.9999), scale=st.floats(1e-6, 1e6))
def test_fit_decay_recovers_a_geometric_law(beta, scale):
    fit = fit_decay(scale * beta ** np.arange(60))
    assert isinstance(fit.law, Geometric)
    assert fit.law.beta == pytest.approx(beta, rel=1e-9)
    assert fit.rmse < 1e-9
    assert fit.points == 59


@settings(max_examples=50, deadline=None)
@given(a=st.floats(0.01, 100), beta=st.floats(0.5, 6), scale=st.floats(1e-6, 1e6))
def test_fit_decay_recovers_a_power_law(a, beta, scale):
    fit = fit_decay(scale * (1 + a * np.arange(200.0)) ** -beta)
    assert isinstance(fit.law, PowerLaw)
    assert fit.law.a == pytest.approx(a, rel=1e-4)
    assert fit.law.beta == pytest.approx(beta, rel=1e-4)
    assert fit.rmse < 1e-6 < 1e-3 < fit.rival_rmse
    assert fit.r_squared > 0.999999


def test_fit_decay_of_gradient_descent_on_a_quartic_has_power_3():
    # x ← x − η·4x³: ‖∇f‖² = 16x⁶ ~ (1 + 8ηx₀²t)^−3, and not the paper's (1 + 2t)^{−3/2}
    x, eta, norms = 1.0, 1e-3, []
    for _ in range(5000):
        norms.append(16 * x**6)
        x -= eta * 4 * x**3
    fit = fit_decay(norms)
    assert isinstance(fit.law, PowerLaw)
    assert fit.law.beta == pytest.approx(3, rel=0.01)
    assert fit.law.a == pytest.approx(8 * eta, rel=0.02)


def test_fit_decay_reports_a_poor_fit():
    t = np.arange(100)
    fit = fit_decay(np.exp(-0.1 * t + 0.5 * (-1.0) ** t), steps=t)  # swings by half an e-fold
    assert isinstance(fit, DecayFit)
    assert 0.4 < fit.rmse < 1.2
