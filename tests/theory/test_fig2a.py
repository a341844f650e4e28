"""Figure 2(a): the residual on the touching sets decays like n⁻³, not like n⁻¹.

With s = 1 − (1 − 2η)^T (s = 2η for ½ < η < 1), Algorithm 1 is gradient descent on f with the step
s/2; it follows the valley y ≈ x²/4, u = x⁻² grows by s/4 a round, and ‖∇f(x_n)‖² ~ 4/(sn)³.
"""

import math
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from localgd import Ball, HalfSpace, SquaredDistance, ToOptimum, run
from synthetic import follow, grad_norm_sq, loss, touching_sets_round, travelled_share

START = (0.7, 2.6)
# η and T; beyond η = ½ local GD overshoots, and its limit is not the projection
SETTINGS = [(k / 20, T) for k in range(1, 19) for T in (1, 2, 10)]
SETTINGS += [(k / 20, math.inf) for k in range(1, 11)]
PROBLEM = SquaredDistance([Ball([0.0, 1.0], 1.0), HalfSpace([0.0, 1.0], 0.0)])


def slope(rows, values):
    """The exponent of a power law fitted to `values` at `rows`."""
    return float(np.polyfit(np.log(rows), np.log(values), 1)[0])


def log_spaced(low, high, count=21):
    return sorted({round(low * (high / low) ** (k / (count - 1))) for k in range(count)})


# The reduction to gradient descent.


@pytest.mark.claim("fig2a", kind="symbolic")
@pytest.mark.parametrize("T", [1, 2, 5, 10])
def test_local_steps_travel_the_share_s_of_the_way(T):
    # On d(x, S_i)² a step leaves 1 − 2η of the offset from P_i x, which stays where it is.
    eta, offset = sp.symbols("eta offset")
    left = offset
    for _ in range(T):
        left = sp.expand(left - eta * 2 * left)
    s = 1 - (1 - 2 * eta) ** T
    assert sp.expand(left - (1 - s) * offset) == 0


@pytest.mark.claim("fig2a", kind="numeric")
@settings(max_examples=200)
@given(st.integers(-30, 30), st.integers(-30, 30), st.sampled_from(SETTINGS))
def test_a_round_is_a_gradient_step_of_s_over_two(x, y, setting):
    (eta, T), x, y = setting, x / 10, y / 10
    if eta > 0.5:  # near enough for the first step to land inside the disc
        reach = 2 / (2 * eta - 1)
        x, y = (v * min(1.0, 0.9 * reach / 4.5) for v in (x, y))
    s = travelled_share(eta, T)
    expected = touching_sets_round(x, y, s, s)
    rule = ToOptimum() if math.isinf(T) else T
    trace = run(PROBLEM, [x, y], local_steps=rule, step_size=eta, rounds=1)
    np.testing.assert_allclose(trace.x, expected, atol=1e-13)
    assert trace.grad_norm_sq[0] == pytest.approx(grad_norm_sq(x, y), rel=1e-9, abs=1e-15)
    assert trace.loss[0] == pytest.approx(loss(x, y), rel=1e-9, abs=1e-15)


# The valley, by series in x.


def truncate(expression, x, order):
    """The polynomial part of `expression` in `x` below x^`order`."""
    poly = sp.Poly(sp.expand(expression), x)
    return sum(c * x**k for (k,), c in poly.terms() if k < order)


def pull_on(y, x, order):
    """w = 1 − 1/r along a curve y(x) = O(x²), r² = 1 + z, z = x² + y² − 2y."""
    z = truncate(x**2 + y**2 - 2 * y, x, order)
    powers = [z, truncate(z**2, x, order), truncate(z**3, x, order)]
    halves = [sp.Rational(1, 2), -sp.Rational(3, 8), sp.Rational(5, 16)]  # −(1 + z)^{−1/2}
    return truncate(sum(c * p for c, p in zip(halves, powers, strict=True)), x, order)


@pytest.mark.claim("fig2a", kind="symbolic")
def test_the_valley_and_its_next_order():
    x, s, u = sp.symbols("x s u", positive=True)
    y = x**2 / 4 - s * x**6 / 256
    w = pull_on(y, x, 8)
    x_next = x * (1 - s * w / 2)
    y_next = y - s * (w * (y - 1) + y) / 2
    on_curve = x_next**2 / 4 - s * x_next**6 / 256
    assert sp.expand(truncate(y_next - on_curve, x, 8)) == 0  # invariant up to x⁸
    moved = truncate(x_next - (x - s * x**3 / 8 + s * x**5 / 32), x, 7)
    assert sp.expand(moved) == 0
    squared = truncate((w * x) ** 2 + (w * (y - 1) + y) ** 2, x, 10)
    assert sp.expand(squared - (x**6 / 16 - x**8 / 64)) == 0
    # r − 1 = z/2 − z²/8 + …, f = ((r − 1)² + y²)/2
    z = x**2 + y**2 - 2 * y
    outside = z / 2 - z**2 / 8
    assert sp.expand(truncate((outside**2 + y**2) / 2, x, 8) - x**4 / 16) == 0
    # u = x⁻²: u' = u (1 − sw/2)⁻², (1 − a)⁻² = 1 + 2a + 3a² + …
    a = s * w / 2
    growth = sp.expand(truncate(2 * a + 3 * a**2, x, 6) / x**2)
    assert sp.expand(growth - (s / 4 + s * (3 * s - 4) * x**2 / 64)) == 0
    # u' − u = s/4 + s(3s − 4)/(64u): u_n = sn/4 + ((3s − 4)/16) log n + C + o(1)
    drift, correction = s / 4, s * (3 * s - 4) / (64 * u)
    assert sp.simplify(correction * u / drift - (3 * s - 4) / 16) == 0
    # and ‖∇f‖² ~ u⁻³/16 with u = sn/4
    n = sp.symbols("n", positive=True)
    assert sp.simplify((s * n / 4) ** -3 / 16 - 4 / (s * n) ** 3) == 0


@pytest.mark.claim("fig2a", kind="numeric")
@settings(max_examples=1000)
@given(st.integers(1, 99), st.integers(-150, 150), st.integers(-150, 150))
def test_the_valley_attracts(s, v, v2):
    s, v, v2 = Fraction(s, 50), Fraction(v, 50), Fraction(v2, 50)

    # v = y/x² moves by Φ in the limit x → 0; Φ contracts to its fixed point 1/4.
    def phi(v):
        return v - s / 2 * (max(v, 0) - max(Fraction(1, 2) - v, 0))

    assert phi(Fraction(1, 4)) == Fraction(1, 4)
    assert abs(phi(v) - phi(v2)) <= max(abs(1 - s), 1 - s / 2) * abs(v - v2)


@pytest.mark.claim("fig2a", kind="numeric")
@pytest.mark.parametrize("eta", [0.1, 0.25, 0.75])
def test_u_grows_as_predicted(eta, record_property):
    s = travelled_share(eta, 10)
    rows = [5000, 10000, 20000]
    constants = []
    for n, (x, _) in follow(START, s, s, rows).items():
        constants.append(x**-2 - s * n / 4 - (3 * s - 4) / 16 * math.log(n))
    assert max(constants) - min(constants) < 1e-2
    record_property("cases", len(rows))


@pytest.mark.claim("fig2a", kind="numeric")
@pytest.mark.parametrize("eta", [0.05, 0.25, 0.75])
@pytest.mark.parametrize("start", [START, (-1.5, -0.4), (4.0, 0.1)])
def test_the_distance_to_the_valley_is_of_order_x_to_the_fourth(eta, start):
    # y − x²/4 = O(x⁴), bounded and in fact small: on the curve it is −s x⁶/256
    s = travelled_share(eta, 10)
    for x, y in follow(start, s, s, [2000, 5000, 20000]).values():
        assert abs(y - x**2 / 4) <= x**4
        assert abs(y - x**2 / 4) <= 0.1 * s * x**6


@pytest.mark.claim("fig2a", kind="numeric")
def test_the_transient_is_the_entry_into_the_valley():
    # the same starts, set down in the valley, show a much flatter line
    starts = np.random.default_rng(0).normal(size=(40, 2))
    s, rows = travelled_share(0.001, 10), log_spaced(1, 300)
    fits = []
    for x, _ in starts.tolist():
        path = follow((x, x**2 / 4), s, s, rows)
        fits.append(slope(rows, [grad_norm_sq(*path[n]) for n in rows]))
    assert -0.4 < np.median(fits) < -0.1


# What a run shows.


@pytest.mark.claim("fig2a", kind="difference")
@pytest.mark.mutation("exponent", "(s * 10000) ** 3 / 4", "(s * 10000) ** 2 / 4")
@pytest.mark.parametrize("eta", [0.05, 0.25, 0.75])
def test_the_residual_decays_like_n_to_the_minus_three(eta):
    s = travelled_share(eta, 10)
    rows = log_spaced(1000, 10000)
    path = follow(START, s, s, rows)
    residuals = [grad_norm_sq(*path[n]) for n in rows]
    x, y = path[10000]
    assert residuals[-1] * (s * 10000) ** 3 / 4 == pytest.approx(1, abs=0.005)
    assert loss(x, y) * (s * 10000) ** 2 == pytest.approx(1, abs=0.005)
    assert math.hypot(x, y) * math.sqrt(s * 10000) / 2 == pytest.approx(1, abs=0.005)
    assert slope(rows, residuals) == pytest.approx(-3, abs=0.05)


@pytest.mark.claim("fig2a", kind="numeric")
def test_theorem_two_is_consistent_with_it():
    # n‖∇f‖² → 0 and the values are summable: Theorem 2 is an upper bound, not the order.
    s = travelled_share(0.1, 10)
    x, y, total = *START, 0.0
    for _ in range(10000):
        total += loss(x, y)
        x, y = touching_sets_round(x, y, s, s)
    assert total <= (START[0] ** 2 + START[1] ** 2) / (2 * 0.1)
    assert 10000 * grad_norm_sq(x, y) < 1e-6


@pytest.mark.claim("fig2a", kind="symbolic")
@pytest.mark.mutation("sign", "(1 / s1 - 1 / s2) ** 2", "(1 / s1 + 1 / s2) ** 2")
def test_unequal_nodes_decay_like_n_to_the_minus_two():
    # The fixed point of Φ(v) = v − (s₂v − s₁(½ − v))/2 is v = s₁/(2(s₁ + s₂)); then
    # u' − u = s₁(½ − v) and ∂f/∂y ~ (2v − ½)x², which is not zero unless s₁ = s₂.
    s1, s2, v, n = sp.symbols("s_1 s_2 v n", positive=True)
    (fixed,) = sp.solve(s2 * v - s1 * (sp.Rational(1, 2) - v), v)
    assert sp.simplify(fixed - s1 / (2 * (s1 + s2))) == 0
    u = s1 * (sp.Rational(1, 2) - fixed) * n
    residual = (2 * fixed - sp.Rational(1, 2)) ** 2 / u**2
    assert sp.simplify(residual - (1 / s1 - 1 / s2) ** 2 / n**2) == 0
    value = ((sp.Rational(1, 2) - fixed) ** 2 + fixed**2) / (2 * u**2)
    assert sp.simplify(value - (1 / s1**2 + 1 / s2**2) / (2 * n**2)) == 0


@pytest.mark.claim("fig2a", kind="difference")
@pytest.mark.parametrize("steps", [(1, 10), (10, 1)])
def test_unequal_steps_decay_like_n_to_the_minus_two(steps):
    s1, s2 = (travelled_share(0.1, T) for T in steps)
    rows = log_spaced(1000, 20000)
    path = follow(START, s1, s2, rows)
    residuals = [grad_norm_sq(*path[n]) for n in rows]
    assert residuals[-1] * 20000**2 / (1 / s1 - 1 / s2) ** 2 == pytest.approx(1, abs=0.005)
    assert slope(rows, residuals) == pytest.approx(-2, abs=0.05)


@pytest.mark.claim("fig2a", kind="symbolic")
def test_starts_on_the_axis_converge_linearly():
    # x = 0: below the axis w(y − 1) = y, above it (y ≤ 2) only the half-plane pulls.
    s = Fraction(9, 10)
    for y in (Fraction(-3), Fraction(1, 2), Fraction(2)):
        w = (1 - y - 1) / (1 - y) if y < 0 else Fraction(0)
        moved = y - s / 2 * (w * (y - 1) + max(y, Fraction(0)))
        assert moved == (1 - s / 2) * y
        assert touching_sets_round(0.0, float(y), 0.9, 0.9) == pytest.approx((0.0, float(moved)))


@pytest.mark.claim("fig2a", kind="symbolic")
def test_one_start_ends_after_one_round():
    # (0, 3) with η = 3/4, s = 3/2: the offsets 1 and 3 to the two sets give 3 − (3/4)(1 + 3) = 0.
    y, s = Fraction(3), Fraction(3, 2)
    assert y - s / 2 * ((y - 2) + y) == 0
    trace = run(PROBLEM, [0.0, 3.0], local_steps=10, step_size=0.75, rounds=1)
    assert trace.x.tolist() == [0.0, 0.0]


@pytest.mark.claim("fig2a", kind="numeric")
@pytest.mark.parametrize(("eta", "rounds"), [(0.001, 300), (0.0005, 1000)])
def test_a_slope_of_minus_one_is_a_transient_of_small_steps(eta, rounds, record_property):
    starts = np.random.default_rng(0).normal(size=(40, 2))
    s = travelled_share(eta, 10)
    rows = log_spaced(1, rounds)
    fits = []
    for x, y in starts.tolist():
        path = follow((x, y), s, s, rows)
        fits.append(slope(rows, [grad_norm_sq(*path[n]) for n in rows]))
    assert np.median(fits) == pytest.approx(-0.9, abs=0.1)
    record_property("cases", len(starts))


# Negative controls.


@pytest.mark.claim("fig2a", kind="control")
@pytest.mark.parametrize("eta", [0.05, 0.25, 0.75])
def test_an_exponent_of_minus_one_is_rejected(eta):
    s = travelled_share(eta, 10)
    rows = log_spaced(1000, 10000)
    path = follow(START, s, s, rows)
    assert abs(slope(rows, [grad_norm_sq(*path[n]) for n in rows]) - (-1)) > 0.5
    assert slope(rows, [5 / n for n in rows]) == pytest.approx(-1)  # the fit would see it


@pytest.mark.claim("fig2a", kind="control")
def test_another_valley_is_not_invariant():
    x, s = sp.symbols("x s", positive=True)
    for y in (x**2 / 2, x**2 / 4 + x**6 / 256):
        w = pull_on(y, x, 8)
        x_next, y_next = x * (1 - s * w / 2), y - s * (w * (y - 1) + y) / 2
        assert sp.expand(truncate(y_next - y.subs(x, x_next), x, 8)) != 0


@pytest.mark.claim("fig2a", kind="control")
def test_the_law_of_equal_nodes_fails_for_unequal_ones():
    s1, s2 = (travelled_share(0.1, T) for T in (1, 10))
    path = follow(START, s1, s2, [10000])
    assert grad_norm_sq(*path[10000]) * (s1 * 10000) ** 3 / 4 > 100
