"""Section 3.2: optimal sets that are unions of affine subspaces, and what then fails."""

from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from hypothesis import assume, given, settings
from hypothesis import strategies as st

X = sp.symbols("x", real=True)
WELLS = [(X**2 - 1) ** 2, ((X - 1) * (X + 2)) ** 2]


def descend(f, start, eta, steps):
    """The last of so many steps of gradient descent on f, in floats."""
    slope, x = sp.lambdify(X, sp.diff(f, X)), start
    for _ in range(steps):
        x = x - eta * slope(x)
    return x


@pytest.mark.claim("union-affine", kind="symbolic")
@pytest.mark.mutation("sign", "< 0 < sp.diff(WELLS[1]", "> 0 > sp.diff(WELLS[1]")
def test_averaging_stands_still_although_the_sets_meet():
    assert all(f.subs(X, 1) == 0 for f in WELLS)  # S = {1}
    stationary = [sorted(sp.solve(sp.diff(f, X), X)) for f in WELLS]
    assert stationary == [[-1, 0, 1], [-2, -sp.Rational(1, 2), 1]]
    start = sp.Rational(-3, 2)
    # downhill from −3/2 is −1 for the first and −2 for the second, with nothing in between
    assert sp.diff(WELLS[0], X).subs(X, start) < 0 < sp.diff(WELLS[1], X).subs(X, start)
    assert Fraction(-1 - 2, 2) == Fraction(-3, 2)
    assert sum(f.subs(X, start) for f in WELLS) / 2 == sp.Rational(25, 16)


@pytest.mark.claim("union-affine", kind="numeric")
@pytest.mark.parametrize("eta", [0.005, 0.02, 0.05])
def test_local_descents_end_where_the_proof_says(eta):
    ends = [descend(f, -1.5, eta, 4000) for f in WELLS]
    np.testing.assert_allclose(ends, [-1, -2], atol=1e-8)


@pytest.mark.claim("union-affine", kind="numeric")
@settings(max_examples=500)
@given(st.integers(0, 2**32 - 1))
def test_a_union_of_two_subspaces_is_convex_only_if_one_contains_the_other(seed):
    rng = np.random.default_rng(seed)
    dim = int(rng.integers(2, 5))
    one, other = (rng.standard_normal((int(rng.integers(1, dim)), dim)) for _ in range(2))
    a, b = rng.standard_normal(len(one)) @ one, rng.standard_normal(len(other)) @ other

    def outside(basis, x):
        return np.linalg.norm(x - np.linalg.pinv(basis) @ basis @ x) > 1e-6

    assume(outside(other, a) and outside(one, b))  # neither contains the other
    middle = (a + b) / 2
    assert outside(one, middle)
    assert outside(other, middle)


@pytest.mark.claim("union-affine", kind="symbolic")
@pytest.mark.mutation("constant", "sp.Rational(1, 16)", "0")
def test_the_smallest_network_is_not_quasi_convex():
    x, y = sp.symbols("x y", real=True)
    loss = (x * y) ** 2
    assert sp.solve(loss, x) == [0]  # for y ≠ 0: the axes are the minimisers
    assert loss.subs({x: 1, y: 0}) == loss.subs({x: 0, y: 1}) == 0
    half = sp.Rational(1, 2)
    assert loss.subs({x: half, y: half}) == sp.Rational(1, 16)


@pytest.mark.claim("union-affine", kind="control")
def test_near_the_common_minimiser_the_local_limits_agree():
    assert [descend(f, 1.5, 0.02, 4000) for f in WELLS] == pytest.approx([1, 1])


@pytest.mark.claim("union-affine", kind="control")
def test_equal_wells_do_not_stand_still():
    # with the same loss at both nodes the average is where each of them ends
    ends = [descend(WELLS[0], -1.5, 0.02, 4000) for _ in range(2)]
    assert sum(f.subs(X, round(np.mean(ends), 8)) for f in WELLS[:1]) == pytest.approx(0, abs=1e-12)
