"""Remark (3): a constant step size against one that decreases to 0, on strongly convex quadratics.

A constant η in (0, 2/L) is linear; η_t → 0 is slower than any linear rate; and yet the decreasing
one can be ahead after few steps.
"""

from fractions import Fraction

import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st


def left_over(curvature, steps, schedule):
    """x_t/x_0 on ½·curvature·x² with the step sizes schedule(t)."""
    x = Fraction(1)
    for t in range(steps):
        x *= 1 - schedule(t) * curvature
    return x


def harmonic(t):
    return Fraction(1, t + 1)


@pytest.mark.claim("faster-local", kind="symbolic")
@pytest.mark.mutation("sign", "(1 - mu / (t + 1))", "(1 + mu / (t + 1))")
def test_a_vanishing_step_size_has_factors_that_tend_to_one():
    t, mu, power = sp.symbols("t mu power", positive=True)
    assert sp.limit(1 - mu * (t + 1) ** -power.subs(power, sp.Rational(1, 2)), t, sp.oo) == 1
    # Π (1 − μ/(s + 1)) = Γ(t + 1 − μ)/(Γ(1 − μ) Γ(t + 1)) ~ t^−μ: not linear
    ratio = sp.gamma(t + 1 - mu) / sp.gamma(t + 1)
    step = sp.gammasimp(ratio.subs(t, t + 1) / ratio)
    assert sp.simplify(step - (1 - mu / (t + 1))) == 0


@pytest.mark.claim("faster-local", kind="numeric")
@pytest.mark.mutation("formula", "1 / (t + 1)", "1")
@given(st.integers(1, 49), st.integers(1, 19))
def test_the_constant_one_wins_in_the_end(percent, tenths):
    # μ = percent/100 of L = 1, η = tenths/10 < 2: after enough steps the geometric one is below
    mu, eta = Fraction(percent, 100), Fraction(tenths, 10)
    factor = abs(1 - eta * mu)
    assert factor < 1
    steps = 2000
    assert factor**steps < left_over(float(mu), steps, lambda t: 1 / (t + 1)) + 1e-12


@pytest.mark.claim("faster-local", kind="control")
def test_but_not_from_the_start():
    # μ = L: the first step of η_t = 1/(L(t + 1)) ends in the minimiser; η = ½/L never does
    assert left_over(Fraction(1), 1, harmonic) == 0
    assert left_over(Fraction(1), 20, lambda _: Fraction(1, 2)) > 0
    # and with μ = L/2 it is ahead of η = 1/(4L) for a while, and behind in the end
    slow = [left_over(Fraction(1, 2), t, lambda _: Fraction(1, 4)) for t in (2, 40)]
    fast = [left_over(Fraction(1, 2), t, harmonic) for t in (2, 40)]
    assert fast[0] < slow[0]
    assert fast[1] > slow[1]
