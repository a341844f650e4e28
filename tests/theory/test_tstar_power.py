"""T* for h(t) = (1 + at)^−β, β > 1: Eq. (6), its asymptotics, and the integral in place of the sum.

With y = 1 + aT*, Eq. (6) is y^β − 1 − β(y − 1) = A, A = a(β − 1)/r. The asymptotic form holds; its
next term is A^{2/β−1}, larger than the printed −1 for β < 2 and its exact opposite for β = 2.
"""

import math
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import zeta

from draws import decades
from localgd.theory import PowerLaw, PowerLawIntegral, optimal_steps_power, total_cost

a, r, T, y = sp.symbols("a r T y", positive=True)
beta = 1 + sp.symbols("gamma", positive=True)
CASES = 2000


def draw(low=1.01, high=6.0):
    """a, β and r, each (CASES, 1)."""
    rng = np.random.default_rng(6)
    columns = decades(rng, -3, 3, CASES), rng.uniform(low, high, CASES), decades(rng, -8, 1, CASES)
    return [column[:, None] for column in columns]


def cost_with_the_integral(speed, power, ratio, steps):
    """(1 + rT)/(1 − (1 + aT)^{1−β})."""
    return (1 + ratio * steps) / -np.expm1((1 - power) * np.log1p(speed * steps))


# Eq. (6).


@pytest.mark.claim("tstar-power", kind="symbolic")
@pytest.mark.mutation("sign", "beta * r * T - 1)", "beta * r * T + 1)")
def test_the_slope_of_the_cost_has_the_sign_of_eq_6():
    cost = (1 + r * T) / (1 - (1 + a * T) ** (1 - beta))
    slope = sp.diff(cost, T) * (1 - (1 + a * T) ** (1 - beta)) ** 2 * (1 + a * T) ** beta
    printed = r * ((1 + a * T) ** beta - 1) - a * (beta + beta * r * T - 1)
    at = (y - 1) / a
    assert sp.simplify(sp.powsimp(sp.expand((slope - printed).subs(T, at)))) == 0
    short = r * (y**beta - 1 - beta * (y - 1) - a * (beta - 1) / r)
    assert sp.simplify(printed.subs(T, at) - short) == 0


@pytest.mark.claim("tstar-power", kind="symbolic")
def test_eq_6_has_exactly_one_positive_root():
    # g(1) = g'(1) = 0 and g'' = β(β − 1)y^{β−2} > 0: g grows from 0 and takes every A > 0 once;
    # convex and increasing, it is unbounded
    g = y**beta - 1 - beta * (y - 1)
    assert g.subs(y, 1) == 0
    assert sp.simplify(g.diff(y).subs(y, 1)) == 0
    assert sp.simplify(g.diff(y, 2) - beta * (beta - 1) * y ** (beta - 2)) == 0
    assert (beta * (beta - 1) * y ** (beta - 2)).is_positive


@pytest.mark.claim("tstar-power", kind="symbolic")
@pytest.mark.mutation("exponent", "a / sp.sqrt(a * r)", "a / (a * r)")
def test_beta_2_in_closed_form():
    g = y**2 - 1 - 2 * (y - 1)
    assert sp.simplify(g.subs(y, 1 + a / sp.sqrt(a * r)) - a / r) == 0


@pytest.mark.claim("tstar-power", kind="numeric")
def test_no_other_number_of_steps_costs_less(record_property):
    speed, power, ratio = draw()
    best = optimal_steps_power(speed, power, ratio)
    least = cost_with_the_integral(speed, power, ratio, best)
    others = np.concatenate([np.geomspace(1e-3, 0.95, 30), np.geomspace(1.05, 1e3, 30)])
    assert (cost_with_the_integral(speed, power, ratio, best * others) > least).all()
    record_property("cases", CASES)


@pytest.mark.claim("tstar-power", kind="control")
def test_with_another_sign_in_eq_6_the_root_is_no_minimiser():
    # β = 2, a = r = 1: the cost is (1 + T)²/T. Eq. (6) is T² − 1; with + 1 for − 1 it is T² − 3.
    steps, cost = sp.symbols("T", positive=True), (1 + T) ** 2 / T
    right = (1 + steps) ** 2 - 1 - (2 + 2 * steps - 1)
    wrong = (1 + steps) ** 2 - 1 - (2 + 2 * steps + 1)
    assert sp.solve(right, steps) == [1]
    assert cost.diff(T).subs(T, 1) == 0
    (other,) = sp.solve(wrong, steps)
    assert cost.subs(T, other) > cost.subs(T, 1)


# Asymptotics.


@pytest.mark.claim("tstar-power-asymptotic", kind="symbolic")
def test_the_expansion_term_by_term():
    # y = zs, z = A^{1/β}, e = z^{1−β}: s^β − βes + (β − 1)e/z = 1. Small: e and p = e/z.
    e, p, c = sp.symbols("e p c")
    power = sp.symbols("beta", positive=True)
    s = 1 + e - (power - 1) / power * p + c * e**2
    residual = s**power - power * e * s + (power - 1) * p - 1

    def coefficient(i, j):
        found = residual.diff(e, i) if i else residual
        found = found.diff(p, j) if j else found
        return sp.simplify(found.subs({e: 0, p: 0}) / sp.factorial(i) / sp.factorial(j))

    assert coefficient(0, 0) == coefficient(1, 0) == coefficient(0, 1) == 0
    (third,) = sp.solve(coefficient(2, 0), c)
    assert sp.simplify(third - (3 - power) / 2) == 0
    # aT* = zs − 1 = z − 1 + z^{2−β} − …, and z^{2−β} = A^{2/β−1}
    A, z = sp.symbols("A z", positive=True)
    assert sp.simplify((z * z ** (1 - power)).subs(z, A ** (1 / power)) - A ** (2 / power - 1)) == 0


@pytest.mark.claim("tstar-power-asymptotic", kind="symbolic")
@pytest.mark.mutation("exponent", "grown ** (2 - power)", "grown ** (3 - power)")
@pytest.mark.parametrize("power", [sp.Rational(6, 5), sp.Rational(3, 2), 2, 3])
def test_the_remainder_of_the_printed_form_is_of_smaller_order(power):
    # along y → ∞ with A = y^β − βy + β − 1: (aT* − (z − 1))/z → 0, and its leading term is z^{2−β}
    t = sp.symbols("t", positive=True)  # y = t¹⁰
    grown = t**10
    z = (grown**power - power * grown + power - 1) ** (1 / sp.S(power))
    remainder = grown - z
    assert sp.limit(remainder / grown, t, sp.oo) == 0
    assert sp.limit(remainder / grown ** (2 - power), t, sp.oo) == 1


def near_the_limit(low, high):
    """β, e = z^{1−β} from 10⁻¹ to 10⁻⁴, z and aT*."""
    rng = np.random.default_rng(8)
    speed, power = decades(rng, -3, 3, CASES), rng.uniform(low, high, CASES)
    small = decades(rng, -4, -1, CASES)
    z = small ** (-1 / (power - 1))
    ratio = speed * (power - 1) / z**power
    return power, small, z, speed * optimal_steps_power(speed, power, ratio)


@pytest.mark.claim("tstar-power-asymptotic", kind="numeric")
@pytest.mark.mutation("sign", "z - 1 + z * small", "z - 1 - z * small")
def test_the_next_term_is_that_of_the_exact_root(record_property):
    _, small, z, scaled = near_the_limit(1.2, 4.0)
    allowed = z * (2 * small**2 + small / z) + 1e-11 * z
    assert (np.abs(scaled - (z - 1 + z * small)) <= allowed).all()
    assert (np.abs(scaled - (z - 1)) <= 2 * z * small).all()  # a number for the printed o(·)
    record_property("cases", CASES)


@pytest.mark.claim("tstar-power-asymptotic", kind="numeric")
def test_the_two_terms_after_it_and_the_order_of_what_is_left(record_property):
    # R₂ = O(z e³ + z e p), with z e³ = A^{4/β−3} and z e p = A^{2/β−2}
    power, small, z, scaled = near_the_limit(1.1, 4.0)
    terms = z - 1 + z * small + (3 - power) / 2 * z * small**2 - (power - 1) / power * small
    allowed = 4 * (z * small**3 + small**2) + 1e-11 * z
    assert (np.abs(scaled - terms) <= allowed).all()
    record_property("cases", CASES)


@pytest.mark.claim("tstar-power-asymptotic", kind="control")
def test_the_terms_are_not_in_order_below_three_halves():
    # β = 1.1, a = 1, r = 10⁻⁸: what four terms leave is a million times the last of them
    big, root = 0.1 / 1e-8, float(optimal_steps_power(1.0, 1.1, 1e-8))
    last = -0.1 / 1.1 * big ** (1 / 1.1 - 1)
    terms = big ** (1 / 1.1) - 1 + big ** (2 / 1.1 - 1) + 0.95 * big ** (3 / 1.1 - 2) + last
    assert root - terms == pytest.approx(31_132, abs=1)
    assert last == pytest.approx(-0.021, abs=1e-3)


@pytest.mark.claim("tstar-power-asymptotic", kind="control")
def test_the_printed_minus_one_is_not_the_second_term_below_2(record_property):
    # the next term, z^{2−β}, grows without bound for β < 2 and outweighs it
    power, _, z, scaled = near_the_limit(1.2, 1.8)
    off = scaled - (z - 1)
    assert (off > 0.5 * z ** (2 - power)).all()
    assert (off[z ** (2 - power) > 10] > 5).all()
    record_property("cases", CASES)


@pytest.mark.claim("tstar-power-asymptotic", kind="control")
def test_another_power_of_r_would_be_wrong():
    # r^{−1/β}, not r^{−1/(β−1)} or r^{−1}
    for power in (1.5, 2.0, 3.0):
        steps = [optimal_steps_power(1.0, power, ratio) for ratio in (1e-10, 1e-12)]
        slope = math.log(steps[1] / steps[0]) / math.log(100)
        assert slope == pytest.approx(1 / power, abs=0.01)
        assert abs(slope - 1 / (power - 1)) > 0.1


# The integral in place of the sum.


@pytest.mark.claim("bound-vs-sum", kind="numeric")
@pytest.mark.mutation("inequality", "below < total <= above", "below > total >= above")
@settings(max_examples=1000)
@given(st.integers(1, 60), st.integers(1, 40), st.integers(1, 20))
def test_the_integrals_enclose_the_sum_exactly_at_beta_2(numerator, denominator, steps):
    # ∫₀ˣ (1 + as)⁻² ds = x/(1 + ax), in rationals
    speed = Fraction(numerator, denominator)
    total = sum(1 / (1 + speed * t) ** 2 for t in range(steps))
    below, above = steps / (1 + speed * steps), 1 + (steps - 1) / (1 + speed * (steps - 1))
    assert below < total <= above
    assert (total == above) == (steps == 1)


def laws(count):
    """(a, β, the law with the sum, the law with the integral)."""
    rng = np.random.default_rng(9)
    for speed, power in zip(
        decades(rng, -3, 3, count).tolist(), rng.uniform(1.01, 6, count).tolist(), strict=True
    ):
        yield speed, power, PowerLaw(speed, power), PowerLawIntegral(speed, power)


LENGTHS = np.unique(np.geomspace(2, 1e6, 20).round())


@pytest.mark.claim("bound-vs-sum", kind="numeric")
@pytest.mark.mutation("constant", "total <= (1 + by_integral", "total <= (0.5 + by_integral")
def test_the_integrals_enclose_the_sum(record_property):
    for _, _, by_sum, by_integral in laws(100):
        total = by_sum.per_round(LENGTHS)
        assert (by_integral.per_round(LENGTHS) * (1 - 1e-11) <= total).all()
        assert (total <= (1 + by_integral.per_round(LENGTHS - 1)) * (1 + 1e-11)).all()
    record_property("cases", 100 * len(LENGTHS))


def whole_weights(speed, power):
    """Z = Σ h = a^−β ζ(β, 1/a), and Z₀ = ∫ h = 1/(a(β − 1))."""
    return speed**-power * zeta(power, 1 / speed), 1 / (speed * (power - 1))


@pytest.mark.claim("bound-vs-sum", kind="numeric")
def test_what_the_integral_s_minimiser_costs_with_the_sum(record_property):
    # Every T costs more than 1/Z with the sum, so that the excess of T* is at most
    # (1 + rT*) Z/Σ − 1, which vanishes with r.
    ratios = 10.0 ** np.arange(-8, 2)
    for speed, power, by_sum, _ in laws(120):
        whole, _ = whole_weights(speed, power)
        steps = np.maximum(1, np.round(optimal_steps_power(speed, power, ratios)))
        cost = total_cost(steps, ratios, by_sum)
        candidates = np.unique(np.geomspace(1, 10 * steps.max() + 10, 60).round())
        best = total_cost(candidates, ratios[:, None], by_sum).min(axis=1)
        assert (best > (1 - 1e-11) / whole).all()
        bound = (1 + ratios * steps) * whole / by_sum.per_round(steps)
        assert (cost / best <= bound * (1 + 1e-11)).all()
    record_property("cases", 120 * len(ratios))


@pytest.mark.claim("bound-vs-sum", kind="numeric")
@pytest.mark.parametrize(
    ("speed", "power"), [(1.0, 1.5), (2.0, 1.5), (10.0, 2.0), (0.08, 3.0), (100.0, 1.5)]
)
def test_its_minimiser_is_off_by_a_constant_factor(speed, power):
    # r → 0: the sum's minimiser has h(T) = rZ, the integral's h(T) = rZ₀
    ratio = 1e-9
    whole, integral = whole_weights(speed, power)
    found = optimal_steps_power(speed, power, ratio)
    predicted = (whole / integral) ** (1 / power)
    candidates = np.unique(np.round(found * np.linspace(0.98, 1.02, 2001) / predicted))
    costs = total_cost(candidates, ratio, PowerLaw(speed, power))
    assert found / candidates[costs.argmin()] == pytest.approx(predicted, rel=0.01)
    assert total_cost(round(found), ratio, PowerLaw(speed, power)) / costs.min() < 1.01
    assert predicted > 1


@pytest.mark.claim("bound-vs-sum", kind="control")
def test_the_enclosure_is_not_reversed_nor_shifted(record_property):
    # the sum from t = 1 to T, one term later, is not above the integral
    for _, _, by_sum, by_integral in laws(100):
        total, integral = by_sum.per_round(LENGTHS), by_integral.per_round(LENGTHS)
        assert (total - 1 < integral).all()
        assert (integral < total).all()
    record_property("cases", 100 * len(LENGTHS))
