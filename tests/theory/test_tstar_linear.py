"""T* for h(t) = β^t: the root of e^u = 1 + u + k, u = bT*, b = log(1/β), k = b/r.

Its Lambert form is on the branch W₋₁. Printed with a wrong sign in the asymptotics of W₋₁ and
without the factor 1/b in those of T*.

Exact points for both: W₋₁(−s e⁻ˢ) = −s for s ≥ 1, and u solves the equation for k = eᵘ − 1 − u.
"""

import math

import mpmath as mp
import numpy as np
import pytest
import sympy as sp
from scipy.special import lambertw

from draws import decades, decay_factors
from localgd.theory import optimal_steps_linear

CASES = 2000
u, b, r, T = sp.symbols("u b r T", positive=True)


def draw():
    """β, r and k = log(1/β)/r, each (CASES, 1)."""
    rng = np.random.default_rng(4)
    beta, ratio = decay_factors(rng, CASES), decades(rng, -9, 3, CASES)
    return beta[:, None], ratio[:, None], (-np.log(beta) / ratio)[:, None]


def cost(beta, ratio, steps):
    """(1 + rT)/(1 − β^T)."""
    return (1 + ratio * steps) / -np.expm1(np.log(beta) * steps)


# The minimiser and its Lambert form.


@pytest.mark.claim("tstar-linear", kind="symbolic")
@pytest.mark.mutation("sign", "- 1 - b * T - b / r", "+ 1 - b * T - b / r")
def test_the_slope_of_the_cost_has_the_sign_of_the_equation():
    cost = (1 + r * T) / (1 - sp.exp(-b * T))
    slope = sp.diff(cost, T) * (1 - sp.exp(-b * T)) ** 2 * sp.exp(b * T)
    assert sp.simplify(sp.expand(slope - r * (sp.exp(b * T) - 1 - b * T - b / r))) == 0


@pytest.mark.claim("tstar-linear", kind="symbolic")
def test_there_is_exactly_one_positive_root():
    # g(0) = g'(0) = 0 and g'' = eᵘ > 0: g grows from 0 to ∞, and takes every value k > 0 once
    g = sp.exp(u) - 1 - u
    assert g.subs(u, 0) == g.diff(u).subs(u, 0) == 0
    assert g.diff(u, 2).is_positive
    assert sp.limit(g, u, sp.oo) == sp.oo


@pytest.mark.claim("tstar-linear", kind="symbolic")
def test_the_lambert_form_is_on_the_lower_branch():
    k = sp.exp(u) - 1 - u
    w = -(1 + u + k)
    assert sp.simplify(w * sp.exp(w) + sp.exp(-1 - k)) == 0  # w e^w = −e⁻¹ β^{1/r}
    assert sp.simplify(w + sp.exp(u)) == 0  # so that w < −1, the range of W₋₁
    general = -(1 + u + b / r)
    paper = (1 + general) / (-b) - 1 / r
    assert sp.simplify(paper - u / b) == 0


@pytest.mark.claim("tstar-linear", kind="symbolic")
@pytest.mark.mutation("constant", "- 1 - (1 + u) / k", "- 1 - (2 + u) / k")
def test_the_least_cost():
    # (1 + rT*)/(1 − e⁻ᵘ) = 1 + (1 + u)/k
    k = sp.exp(u) - 1 - u
    assert sp.simplify((1 + u / k) / (1 - sp.exp(-u)) - 1 - (1 + u) / k) == 0


@pytest.mark.claim("tstar-linear", kind="numeric")
def test_no_other_number_of_steps_costs_less(record_property):
    beta, ratio, k = draw()
    best = optimal_steps_linear(beta, ratio)
    least = cost(beta, ratio, best)
    others = np.concatenate([np.geomspace(1e-3, 0.95, 30), np.geomspace(1.05, 1e3, 30)])
    assert (cost(beta, ratio, best * others) > least).all()
    np.testing.assert_allclose(least, 1 + (1 - np.log(beta) * best) / k, rtol=1e-9)
    record_property("cases", CASES)


@pytest.mark.claim("tstar-linear", kind="numeric")
def test_the_printed_closed_form_gives_the_same_number(record_property):
    # in double precision, so only where nothing underflows and little cancels
    beta, ratio, k = draw()
    beta, ratio = beta[(k > 1e-3) & (k < 700)], ratio[(k > 1e-3) & (k < 700)]
    w = lambertw(-np.exp(-1 + np.log(beta) / ratio), -1).real
    paper = (1 + w) / np.log(beta) - 1 / ratio
    np.testing.assert_allclose(optimal_steps_linear(beta, ratio), paper, rtol=1e-7)
    assert len(beta) > 500
    record_property("cases", len(beta))


@pytest.mark.claim("tstar-linear", kind="control")
def test_the_other_branch_gives_a_negative_number_of_steps(record_property):
    beta, ratio, _ = draw()
    w = lambertw(-np.exp(-1 + np.log(beta) / ratio), 0).real
    assert ((1 + w) / np.log(beta) - 1 / ratio < 0).all()
    record_property("cases", CASES)


# W₋₁.


@pytest.mark.claim("w-asymptotic", kind="counterexample")
def test_the_defining_identity_does_not_hold_on_the_printed_range():
    # x = −3 log 2/7 is in [−1/e, 0); y = 8x has the same product with its exponential and is < −1
    x = -3 * sp.log(2) / 7
    y = 8 * x
    assert -sp.exp(-1) < x < 0
    assert y < -1
    assert sp.simplify(sp.log(8) + (y - x)) == 0  # log(y e^y / (x e^x)) = log 8 + y − x
    found = mp.lambertw(float(x) * math.exp(x), -1)
    assert abs(found - float(y)) < 1e-12 < 1 < abs(found - float(x))


@pytest.mark.claim("w-asymptotic", kind="corrected")
def test_the_identity_holds_below_minus_one(record_property):
    with mp.workdps(60):
        for s in mp.linspace(1, 200, 300):
            assert abs(mp.lambertw(-s * mp.exp(-s), -1) + s) < mp.mpf(10) ** -25 * s
    record_property("cases", 300)


@pytest.mark.claim("w-asymptotic", kind="counterexample")
def test_the_printed_asymptotic_form_drifts_away():
    # At x = −s e⁻ˢ: log(−x) = log s − s, log(−log(−x)) = log(s − log s), W₋₁(x) = −s; s = eᵘ.
    s = sp.exp(u)
    first, second = u - s, sp.log(s - u)
    assert sp.simplify(sp.log(s * sp.exp(-s)) - first) == 0
    assert sp.simplify(first + second + s - (u + sp.log(sp.exp(u) - u))) == 0
    assert sp.limit(u + sp.log(sp.exp(u) - u), u, sp.oo) == sp.oo


@pytest.mark.claim("w-asymptotic", kind="corrected")
@pytest.mark.mutation("sign", "sp.exp(first - second + s)", "sp.exp(first + second + s)")
def test_with_a_minus_sign_the_error_vanishes():
    s = sp.exp(u)
    first, second = u - s, sp.log(s - u)
    error = -sp.log(1 - u * sp.exp(-u))
    assert sp.simplify(sp.exp(first - second + s) - sp.exp(error)) == 0
    assert sp.limit(error, u, sp.oo) == 0


def exact_points():
    """W = −s at −e^{−λ}, λ = s − log s, for s from 1.01 to 10⁶."""
    s = np.geomspace(1.01, 1e6, CASES)
    return s, s - np.log(s)


@pytest.mark.claim("w-asymptotic", kind="corrected")
@pytest.mark.mutation("constant", "math.e / (math.e - 1)", "math.e / 2")
def test_two_sided_bounds_on_both_errors(record_property):
    # 0 ≤ log(−x) − log(−log(−x)) − W = log(s/λ) ≤ min((log s)/λ, log(e/(e − 1)))
    s, lam = exact_points()
    mended, printed = -lam - np.log(lam) + s, -lam + np.log(lam) + s
    rounding = 1e-15 * s
    assert (mended >= -rounding).all()
    assert (mended <= np.minimum(np.log(s) / lam, math.log(math.e / (math.e - 1))) + rounding).all()
    assert (printed >= 2 * np.log(lam) - rounding).all()
    record_property("cases", CASES)


@pytest.mark.claim("w-asymptotic", kind="control")
def test_without_the_second_logarithm_the_error_does_not_vanish(record_property):
    s, lam = exact_points()
    late = s > 10
    assert (-lam + s)[late].min() > 2
    record_property("cases", int(late.sum()))


# T* for small r.


@pytest.mark.claim("tstar-linear-asymptotic", kind="counterexample")
@pytest.mark.parametrize("beta_log", [sp.Rational(1, 2), 2, sp.log(2)])
def test_the_printed_form_is_off_without_bound(beta_log):
    # k = eᵘ − 1 − u: T* = u/b, printed log(1 + k) = log(eᵘ − u)
    off = sp.log(sp.exp(u) - u) - u / beta_log
    assert sp.Abs(sp.limit(off, u, sp.oo)) == sp.oo


@pytest.mark.claim("tstar-linear-asymptotic", kind="corrected")
@pytest.mark.mutation("constant", "error = u - sp.log(1 + k)", "error = u - sp.log(2 + k)")
def test_with_one_over_b_the_error_vanishes():
    k = sp.exp(u) - 1 - u
    error = u - sp.log(1 + k)
    assert sp.simplify(sp.exp(error) - 1 / (1 - u * sp.exp(-u))) == 0
    assert sp.limit(-sp.log(1 - u * sp.exp(-u)), u, sp.oo) == 0


@pytest.mark.claim("tstar-linear-asymptotic", kind="corrected")
@pytest.mark.mutation("sign", "-sp.Rational(1, 2)", "sp.Rational(1, 2)")
def test_the_next_term():
    # bT* = log(1 + k) (1 + 1/(1 + k)) − ½ (log k/k)² (1 + o(1))
    grown = sp.exp(u) - u  # 1 + k
    rest = u - sp.log(grown) * (1 + 1 / grown)
    assert sp.limit(rest * sp.exp(2 * u) / u**2, u, sp.oo) == -sp.Rational(1, 2)


@pytest.mark.claim("tstar-linear-asymptotic", kind="corrected")
@pytest.mark.mutation("constant", "scaled / (1 + k) +", "scaled / (2 + 4 * k) +")
def test_two_sided_bounds_for_every_r(record_property):
    # 0 ≤ u − log(1 + k) = log(1 + u/(1 + k)) ≤ u/(1 + k), and u ≤ √(2k), its limit for r ≫ b
    beta, ratio, k = draw()
    scaled = -np.log(beta) * optimal_steps_linear(beta, ratio)
    error = scaled - np.log1p(k)
    assert (error >= -1e-11 * scaled).all()
    assert (error <= scaled / (1 + k) + 1e-11 * scaled).all()
    assert (scaled <= np.sqrt(2 * k) * (1 + 1e-11)).all()
    record_property("cases", CASES)


@pytest.mark.claim("tstar-linear-asymptotic", kind="control")
def test_the_printed_form_is_right_where_the_factor_is_one():
    # β = 1/e, and only there
    off = sp.log(sp.exp(u) - u) - u
    assert sp.limit(off, u, sp.oo) == 0
    steps = [optimal_steps_linear(beta, 1e-12) for beta in (0.3, math.exp(-1), 0.4)]
    printed = [math.log1p(-math.log(beta) / 1e-12) for beta in (0.3, math.exp(-1), 0.4)]
    errors = [abs(s - p) for s, p in zip(steps, printed, strict=True)]
    assert errors[1] < 1e-9 < 1 < min(errors[0], errors[2])
