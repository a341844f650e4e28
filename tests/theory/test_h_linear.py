"""Section 4 on h(t) = β^t: "the situation if f_i is strongly convex" points the wrong way.

(3) bounds the gradients from below. Smoothness alone gives h(t) = (1 − ηL)^{2t} for η < 1/L; what
strong convexity gives, (1 − ημ)^{2t}, is a bound from above.
"""

import math
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from rounds import squared_norm
from strategies import federations

STEPS = 8
fractions_of_bound = st.integers(1, 19).map(lambda k: k / 20)  # ηL


def gradient_lengths(node, eta, x):
    """‖∇f(x^t)‖ for t = 0, …, STEPS, and what rounding may do to them."""
    lengths = []
    for _ in range(STEPS + 1):
        g = node.gradient(x)
        lengths.append(math.sqrt(squared_norm(g)))
        x = x - eta * g
    return np.array(lengths), 1e-11 * max(1.0, lengths[0])


# As printed.


@pytest.mark.claim("h-linear", kind="counterexample")
def test_a_parabola_solved_in_one_step_has_no_h_at_all():
    # f = x²/2, L = μ = 1, η = 1 = 1/L: x^1 = 0, and no positive h(1) is allowed by (3).
    x = Fraction(1)
    x -= 1 * x
    assert x == 0
    # For 1/L < η < 2/L a second eigenvalue does it: λ = 1/η < L, still strongly convex.
    eta, L = Fraction(3, 2), Fraction(1)
    eigenvalue = 1 / eta
    assert eigenvalue < L < 2 / eta
    assert 1 - eta * eigenvalue == 0


@pytest.mark.claim("h-linear", kind="counterexample")
@pytest.mark.mutation("constant", "Fraction(1, 4) ** t <", "Fraction(1, 2) ** t <")
def test_the_factor_of_strong_convexity_violates_eq_3():
    # f = (x² + 4y²)/2, μ = 1, L = 4, η = 1/8, from (0, 1): the decay is 4⁻ᵗ, not (7/8)²ᵗ.
    mu, L, eta = Fraction(1), Fraction(4), Fraction(1, 8)
    y = Fraction(1)
    for t in range(1, 20):
        y -= eta * L * y
        share = (L * y) ** 2 / L**2
        assert share == Fraction(1, 4) ** t < (1 - eta * mu) ** (2 * t)


# Corrected.


@pytest.mark.claim("h-linear", kind="corrected")
@pytest.mark.mutation("constant", "below = (1 - share)", "below = (1 - share / 2)")
@settings(max_examples=1000)
@given(federations(max_nodes=3), fractions_of_bound)
def test_smoothness_gives_a_geometric_lower_bound(case, share):
    for node in case.nodes:
        lengths, rounding = gradient_lengths(node, share / node.L, case.x0)
        below = (1 - share) ** np.arange(STEPS + 1)
        assert (lengths >= below * lengths[0] - rounding).all()


@pytest.mark.claim("h-linear", kind="corrected")
@settings(max_examples=1000)
@given(federations(kinds=("huber",), max_nodes=2), fractions_of_bound)
def test_without_any_strong_convexity(case, share):
    for node in case.nodes:
        assert node.mu is None
        lengths, rounding = gradient_lengths(node, share / node.L, case.x0)
        assert (lengths >= (1 - share) ** np.arange(STEPS + 1) * lengths[0] - rounding).all()


@pytest.mark.claim("h-linear", kind="numeric")
@pytest.mark.mutation("constant", "(1 - eta * node.mu)", "(1 - 2 * eta * node.mu)")
@settings(max_examples=1000)
@given(
    federations(kinds=("quadratic", "subspace", "ball", "half-space", "box"), max_nodes=3),
    fractions_of_bound,
)
def test_strong_convexity_bounds_from_above(case, share):
    for node in case.nodes:
        eta = share / node.L
        lengths, rounding = gradient_lengths(node, eta, case.x0)
        above = (1 - eta * node.mu) ** np.arange(STEPS + 1)
        assert (lengths <= above * lengths[0] + rounding).all()


@pytest.mark.claim("h-linear", kind="symbolic")
def test_the_two_algebraic_steps():
    # Below: ‖g⁺‖ ≥ ‖g‖ − ‖g⁺ − g‖ ≥ ‖g‖ − Lη‖g‖.
    # Above, with y = g⁺ − g: ‖g + y‖² = ‖g‖² + 2⟨g, y⟩ + ‖y‖², where −η⟨g, y⟩ = ⟨x⁺ − x, y⟩ ≥
    # (μL η²‖g‖² + ‖y‖²)/(μ + L); the coefficient of ‖y‖² is ≤ 0 for η ≤ 2/(μ + L), ‖y‖ ≥ μη‖g‖.
    eta, mu, L, g, y = sp.symbols("eta mu L g y", positive=True)
    assert sp.expand((g - L * eta * g) ** 2 - (1 - eta * L) ** 2 * g**2) == 0
    inner = -(mu * L * eta**2 * g**2 + y**2) / ((mu + L) * eta)
    bound = g**2 + 2 * inner + y**2
    coefficient = sp.simplify(sp.diff(bound, y, 2) / 2)
    assert sp.simplify(coefficient - (1 - 2 / (eta * (mu + L)))) == 0
    assert sp.simplify(bound.subs(y, mu * eta * g) - (1 - eta * mu) ** 2 * g**2) == 0


# Negative controls.


@pytest.mark.claim("h-linear", kind="control")
@settings(max_examples=1000)
@given(st.integers(1, 99), st.integers(1, 8), st.integers(1, 1000))
def test_no_larger_factor_will_do(tick, t, excess):
    # λ = L attains (1 − ηL)^{2t}
    share = Fraction(tick, 100)
    attained = (1 - share) ** (2 * t)
    assert attained < ((1 - share) ** 2 * (1 + Fraction(excess, 1000))) ** t


@pytest.mark.claim("h-linear", kind="control")
def test_without_smoothness_there_is_no_geometric_bound():
    # f = |x|^{3/2}/(3/2) has no L: from x = η² one step lands on the minimiser.
    eta, x = sp.Rational(1, 7), sp.Rational(1, 49)
    assert x - eta * sp.sqrt(x) == 0
