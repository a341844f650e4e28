"""Lemma 5: local steps are orthogonal to U_i, and their limit is P_{S_i}(x).

The second half is false as printed: a quasi-convex loss may have a stationary point outside S_i.
Correct: where the iterates converge to a point of S_i, that point is P_{S_i}(x).
"""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from localgd import AffineSubspace, run
from localgd.convex import SaturatedDistance
from quasi import inflection, plateau, saturated_descent, saturated_slope
from rounds import squared_norm
from strategies import AFFINE, federations

X = sp.symbols("x", real=True)
P = 3 * X**4 - 8 * X**3 + 6 * X**2


# The counterexamples.


@pytest.mark.claim("lem5", kind="counterexample")
@pytest.mark.mutation("hypothesis", "x = Fraction(1)", "x = Fraction(1, 2)")
def test_a_polynomial_that_stops_short():
    assert sp.factor(P.diff(X)) == 12 * X * (X - 1) ** 2  # sign of x: quasi-convex
    assert sp.expand(inflection(X) - P.diff(X)) == 0
    assert sp.discriminant(sp.expand(P / X**2), X) == -8  # so p > 0 off S = {0}
    for eta in (Fraction(1, 50), Fraction(1), Fraction(7, 3)):
        x = Fraction(1)
        for _ in range(5):
            x = x - eta * inflection(x)
        assert x == 1  # convergent, and P_S(1) = 0


@pytest.mark.claim("lem5", kind="counterexample")
def test_the_polynomial_holds_a_whole_interval_of_starts():
    # v = x − 1 ↦ v − (12/50)(1 + v)v² ∈ (0, v) for 0 < v ≤ 1/2, in exact arithmetic
    v = sp.symbols("v", positive=True)
    share = sp.expand(inflection(1 + v) / 50 / v)
    assert sp.expand(share - sp.Rational(12, 50) * (1 + v) * v) == 0
    assert share.subs(v, sp.Rational(1, 2)) == sp.Rational(9, 50)  # and it increases in v
    for tick in range(1, 51):
        x = 1 + Fraction(tick, 100)
        for _ in range(4):
            after = x - inflection(x) / 50
            assert 1 < after < x
            x = after


@pytest.mark.claim("lem5", kind="counterexample")
def test_a_smooth_loss_with_a_plateau():
    for tick in range(101):
        x = 2 + Fraction(tick, 100)
        assert x - plateau(x) / 2 == x  # stuck; P_S(x) = 0
    grid = [Fraction(k, 20) for k in range(-60, 121)]
    assert all(plateau(x) >= 0 if x > 0 else plateau(x) <= 0 for x in grid)  # quasi-convex
    slopes = [abs(plateau(b) - plateau(a)) * 20 for a, b in itertools.pairwise(grid)]
    assert max(slopes) == 1  # L = 1


# What is true.


@pytest.mark.claim("lem5", kind="corrected")
def test_a_step_is_the_share_r_of_the_way_and_the_residual_shrinks():
    # s ↦ s(1 − r), r = 2η/(1 + s²)² ∈ (0, 2) for 0 < η < 1, so |s| decreases to a fixed point,
    # which can only be 0.
    s, eta = sp.symbols("s eta", positive=True)
    phi = s**2 / (1 + s**2)
    step = s - eta * phi.diff(s)
    assert sp.simplify(step / s - (1 - 2 * eta / (1 + s**2) ** 2)) == 0
    assert sp.solve(sp.Eq(2 * eta / (1 + s**2) ** 2, 0), s) == []


@pytest.mark.claim("lem5", kind="numeric")
@pytest.mark.mutation("sign", "along = moved - node.normals.T", "along = moved + node.normals.T")
@settings(max_examples=1000)
@given(federations(kinds=AFFINE, max_nodes=3), st.integers(1, 20))
def test_iterates_leave_at_right_angles(case, steps):
    for node in case.nodes:
        ends = [saturated_descent(node, case.x0, 0.4, steps)]
        ends.append(node.path(case.x0, 0.9 / node.L, steps).end)
        for end in ends:
            moved = end - case.x0
            along = moved - node.normals.T @ (node.normals @ moved)
            assert squared_norm(along) <= 1e-22 * (1 + squared_norm(case.x0 - case.point))


@pytest.mark.claim("lem5", kind="corrected")
@pytest.mark.mutation("constant", "end - node.project(x)", "end - node.project(2 * x)")
@settings(max_examples=1000)
@given(federations(kinds=AFFINE, max_nodes=1), st.integers(5, 19))
def test_limits_in_the_optimal_set_are_projections(case, tick):
    (node,) = case.nodes
    offset = case.x0 - case.point
    size = np.sqrt(squared_norm(offset))
    assume(size > 0)
    x = case.point + offset / size  # d ≤ 1, where descent is fast
    end = saturated_descent(node, x, tick / 20, 40)
    # linear with |1 − 2η| at worst near S_i and 1 − η/2 at d = 1
    factor = max(abs(1 - tick / 10), 1 - tick / 40)
    assert squared_norm(end - node.project(x)) <= factor**80 + 1e-24


@pytest.mark.claim("lem5", kind="corrected")
@pytest.mark.parametrize("eta", [0.1, 0.5, 0.9])
def test_the_library_agrees(eta):
    plane = AffineSubspace.from_normals([1.0, -2.0, 0.5], [[1.0, 2.0, 2.0]])
    x0 = np.array([2.0, 0.0, 1.0])
    trace = run(SaturatedDistance([plane]), x0, local_steps=2000, step_size=eta, rounds=1)
    normal = np.array([1.0, 2.0, 2.0]) / 3
    expected = x0 - normal * (normal @ (x0 - [1.0, -2.0, 0.5]))
    np.testing.assert_allclose(trace.x, expected, atol=1e-12)


@pytest.mark.claim("lem5", kind="corrected")
@settings(max_examples=1000)
@given(federations(kinds=AFFINE, max_nodes=1))
def test_the_projection_is_the_only_point_of_the_set_at_right_angles(case):
    (node,) = case.nodes
    nearest = node.project(case.x0)
    other = node.project(case.x0[::-1] + 1)
    gap = other - nearest
    # ⟨x − other, nearest − other⟩ = ‖gap‖²: orthogonal to U_i only if they are the same
    inner = float((case.x0 - other) @ -gap)
    scale = 1 + squared_norm(case.x0) + squared_norm(other)
    assert inner == pytest.approx(squared_norm(gap), abs=1e-10 * scale)


# Negative controls.


@pytest.mark.claim("lem5", kind="control")
def test_below_the_inflection_the_polynomial_does_reach_its_minimiser():
    x = 0.9
    for _ in range(5000):
        x -= inflection(x) / 50
    assert abs(x) < 1e-12


@pytest.mark.claim("lem5", kind="control")
@settings(max_examples=200)
@given(federations(kinds=("ball",), max_nodes=1))
def test_for_a_ball_steps_do_not_keep_to_one_direction_space(case):
    # The span of a ball is everything, and steps from outside are not orthogonal to it.
    (node,) = case.nodes
    gradient = saturated_slope(node, node.center + (node.radius + 1) * np.eye(len(case.x0))[0])
    assert abs(gradient[0]) > 0.4


@pytest.mark.claim("lem5", kind="control")
def test_above_two_over_l_a_step_need_not_come_nearer():
    # η = 1: s ↦ s(1 − 2/(1 + s²)²) ≈ −s near 0, and with η = 3/2 it grows.
    s = Fraction(1, 10)

    def step(s, eta):
        return s - eta * 2 * s / (1 + s**2) ** 2

    assert abs(step(s, Fraction(3, 2))) > abs(s)
