"""Assumption 2: ‖∇f_i(x)‖ ≥ μ_i d(x, S_i), a gradient error bound.

"Coincides with strong convexity if S_i is a singleton" is false: it is implied by it, and is
equivalent to quadratic growth f_i − f_i* ≥ (μ/2) d² up to constants.
"""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import sympy as sp
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from localgd import LeastSquares
from rounds import squared_norm
from strategies import AFFINE, federations

REL = 1e-10

X = sp.symbols("x", real=True)
# slope 1 between two quadratics: C¹, convex, L = 1, S = {0}
F = sp.Piecewise(
    (X**2 / 2, X <= 1), (X - sp.Rational(1, 2), X <= 2), ((X - 1) ** 2 / 2 + 1, True)
)  # for x ≥ 0, and f(−x) = f(x)
PIECES = [(piece, lo, hi) for (piece, _), lo, hi in zip(F.args, [0, 1, 2], [1, 2, 5], strict=True)]


@pytest.mark.claim("asm2", kind="counterexample")
@pytest.mark.mutation(
    "constant", "for piece, lo, hi in PIECES for at", "- X / 9 for piece, lo, hi in PIECES for at"
)
def test_error_bound_with_a_single_minimiser_is_not_strong_convexity():
    for (left, _, joint), (right, _, _) in pairwise(PIECES):
        for order in (0, 1):  # C¹ at 1 and at 2
            assert left.diff(X, order).subs(X, joint) == right.diff(X, order).subs(X, joint)
    assert PIECES[0][0].diff(X).subs(X, 0) == 0  # and at 0, by symmetry
    assert [piece.diff(X, 2) for piece, _, _ in PIECES] == [1, 0, 1]  # convex, L = 1
    # |f'(x)| ≥ |x|/2, with equality at 2: on each piece f' − x/2 is linear, so ends suffice
    ends = [(piece.diff(X) - X / 2).subs(X, at) for piece, lo, hi in PIECES for at in (lo, hi)]
    assert min(ends) == 0
    assert (PIECES[1][0].diff(X) - X / 2).subs(X, 2) == 0
    assert (PIECES[2][0].diff(X) - X / 2).coeff(X, 1) > 0  # to infinity
    # affine on [1, 2]: the chord is attained, no modulus of strong convexity exists
    middle = F.subs(X, sp.Rational(3, 2))
    assert middle == (F.subs(X, 1) + F.subs(X, 2)) / 2


@pytest.mark.claim("asm2", kind="corrected")
@pytest.mark.mutation("constant", "X**2 / 4", "X**2 / 2")
def test_quadratic_growth_with_the_same_constant():
    # Assumption 2 and convexity give f − f* ≥ (μ/2) d²; here f ≥ x²/4.
    for piece, lo, hi in PIECES:
        slack = sp.expand(piece - X**2 / 4)
        # derivative f' − x/2 ≥ 0 was shown above, so the least value is at the left end
        assert slack.subs(X, lo) >= 0
        assert sp.minimum(slack, X, sp.Interval(lo, hi)) >= 0


@st.composite
def convex_on_the_line(draw, least=0):
    """f' as slopes on unit intervals to the right of 0, and the last for ever; S = {0}."""
    rest = draw(st.lists(st.integers(least, 5), min_size=2, max_size=6))
    return [1 + draw(st.integers(least, 4)), *rest]


def values_at(slopes, points):
    """f and f' at these points ≥ 0, exactly."""
    found = []
    for x in points:
        value = derivative = Fraction(0)
        for k, slope in enumerate(slopes):
            last = k == len(slopes) - 1
            width = max(Fraction(0), x - k if last else min(Fraction(1), x - k))
            value += derivative * width + slope * width**2 / 2
            derivative += slope * width
        found.append((value, derivative))
    return found


@pytest.mark.claim("asm2", kind="corrected")
@pytest.mark.mutation("constant", "mu >= nu / 2", "mu >= nu")
@settings(max_examples=500)
@given(convex_on_the_line())
def test_error_bound_and_growth_imply_each_other(slopes):
    # μ the best constant of |f'| ≥ μx on the points: f ≥ (μ/2)x²; ν that of f ≥ (ν/2)x²: f' ≥ νx/2
    points = [Fraction(k, 4) for k in range(1, 40)]
    found = values_at(slopes, points)
    mu = min(slope / x for x, (_, slope) in zip(points, found, strict=True))
    nu = min(2 * value / x**2 for x, (value, _) in zip(points, found, strict=True))
    assume(mu > 0)
    assert nu >= mu
    assert mu >= nu / 2


@pytest.mark.claim("asm2", kind="numeric")
@settings(max_examples=500)
@given(convex_on_the_line(least=1))
def test_strong_convexity_implies_it(slopes):
    mu = min(slopes)
    points = [Fraction(k, 4) for k in range(1, 40)]
    found = values_at(slopes, points)
    assert all(slope >= mu * x for x, (_, slope) in zip(points, found, strict=True))


@pytest.mark.claim("asm2", kind="control")
def test_growth_does_not_give_the_same_constant_back():
    # f = x²/2 up to 1, then straight: at 2, f = 3/2 = (3/4) x²/2 and f' = 1 = x/2 < 3/4 · 2
    (value, slope), x = values_at([1, 0, 0], [Fraction(2)])[0], Fraction(2)
    nu = 2 * value / x**2
    assert nu == Fraction(3, 4)
    assert nu / 2 * x <= slope < nu * x


@pytest.mark.claim("thm3", kind="numeric")  # so that μ_i ≤ L_i, and α_i μ_i² ≤ 1 by itself
@pytest.mark.claim("asm2", kind="numeric")
@pytest.mark.mutation("exponent", "node.mu / 2 * distance**2", "node.mu / 2 * distance")
@settings(max_examples=1000)
@given(federations(kinds=(*AFFINE, "ball", "half-space", "box")))
def test_holds_for_least_squares_and_squared_distances(case):
    for node in case.nodes:
        distance, gradient = node.distance(case.x0), node.gradient(case.x0)
        length = np.sqrt(squared_norm(gradient))
        assert length >= node.mu * distance * (1 - REL) - 1e-10
        assert length <= node.L * distance * (1 + REL) + 1e-10
        assert node.loss(case.x0) >= node.mu / 2 * distance**2 * (1 - REL) - 1e-10


@pytest.mark.claim("asm2", kind="numeric")
@given(federations(kinds=("quadratic",), max_nodes=2))
def test_the_library_knows_the_constant(case):
    nodes = [node for node in case.nodes if len(node.values)]
    assume(nodes)
    problem = LeastSquares([n.A for n in nodes], [n.A @ n.point for n in nodes])
    np.testing.assert_allclose(problem.strong_convexity(), [n.mu for n in nodes], rtol=1e-9)
    np.testing.assert_allclose(problem.smoothness(), [n.L for n in nodes], rtol=1e-12)


# Negative controls.


@pytest.mark.claim("asm2", kind="control")
@given(federations(kinds=AFFINE))
def test_with_a_larger_constant_it_fails(case):
    for node in case.nodes:
        if len(node.values):
            x = case.point + node.normals[-1]
            length = np.sqrt(squared_norm(node.gradient(x)))
            assert length < 1.01 * node.mu * node.distance(x)


@pytest.mark.claim("asm2", kind="control")
def test_a_linear_tail_violates_it():
    # Huber's loss has slope 1 for ever: at x = N, 1 ≥ μN fails for every μ > 1/N.
    for N in (10, 10**6):
        gradient = min(Fraction(N), Fraction(1))
        assert gradient < Fraction(2, N) * N


@pytest.mark.claim("asm2", kind="control")
def test_a_quartic_violates_it():
    # f = x⁴: |f'| = 4|x|³ < μ|x| as soon as 4x² < μ.
    for mu in (Fraction(1), Fraction(1, 10**6)):
        x = mu / 4
        assert 4 * x**3 < mu * x
