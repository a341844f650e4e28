"""Section 2.3.1 and Figure 1: a disc and a half-plane that touch in one point.

S = {0}, the ratio of Assumption 3 is exactly 2/sin θ along the circle and unbounded, and both
losses are convex and smooth with L = 2.
"""

import math
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from smooth import BallDistance, HalfSpaceDistance

DISC, HALF_PLANE = (
    BallDistance(np.array([0.0, 1.0]), 1.0),
    HalfSpaceDistance(np.array([0.0, 1.0]), 0.0),
)
coordinates = st.integers(-40, 40).map(lambda k: k / 8)
points = st.tuples(coordinates, coordinates).map(np.array)


@pytest.mark.claim("fig1", kind="symbolic")
@pytest.mark.claim("sep-synthetic", kind="symbolic")
@pytest.mark.mutation("constant", "(x**2 + y**2 - 2 * y)", "(x**2 + y**2 - 3 * y)")
def test_the_sets_meet_in_the_origin_alone():
    # x² + (y − 1)² ≤ 1 reads x² + y² ≤ 2y, and y ≤ 0 leaves x² + y² ≤ 0.
    x, y = sp.symbols("x y", real=True)
    assert sp.expand((x**2 + (y - 1) ** 2 - 1) - (x**2 + y**2 - 2 * y)) == 0


@pytest.mark.claim("fig1", kind="symbolic")
@pytest.mark.claim("sep-synthetic", kind="symbolic")
@pytest.mark.mutation("constant", "ratio - 2 / sp.sin(theta)", "ratio - 1 / sp.sin(theta)")
def test_the_ratio_on_the_circle_is_two_over_sine_exactly():
    # (sin p, 1 − cos p) is seen from the origin under θ = p/2, at the distance 2 sin θ.
    theta = sp.symbols("theta", positive=True)
    x, y = sp.sin(2 * theta), 1 - sp.cos(2 * theta)
    assert sp.simplify(x**2 + (y - 1) ** 2) == 1
    assert sp.simplify(x**2 + y**2 - (2 * sp.sin(theta)) ** 2) == 0
    assert sp.simplify(y - 2 * sp.sin(theta) ** 2) == 0
    assert sp.simplify(y * sp.cos(theta) - x * sp.sin(theta)) == 0  # the angle is θ
    ratio = 2 * sp.sin(theta) / ((0 + 2 * sp.sin(theta) ** 2) / 2)
    assert sp.simplify(ratio - 2 / sp.sin(theta)) == 0
    assert sp.limit(ratio, theta, 0, "+") == sp.oo


@pytest.mark.claim("sep-synthetic", kind="numeric")
@pytest.mark.mutation("constant", "== 4 / sine_sq", "== 3 / sine_sq")
@given(st.integers(1, 10**4), st.integers(1, 10**4))
def test_rational_points_of_the_circle(p, q):
    # tan θ = t gives (2t, 2t²)/(1 + t²); both sides squared are rational.
    t = Fraction(p, q)
    x, y = 2 * t / (1 + t**2), 2 * t**2 / (1 + t**2)
    assert x**2 + (y - 1) ** 2 == 1
    sine_sq = t**2 / (1 + t**2)
    assert (x**2 + y**2) / (y / 2) ** 2 == 4 / sine_sq


@pytest.mark.claim("sep-synthetic", kind="control")
@pytest.mark.parametrize("c", [3, 100, 10**6])
def test_every_constant_is_exceeded(c):
    t = Fraction(1, c)
    x, y = 2 * t / (1 + t**2), 2 * t**2 / (1 + t**2)
    assert x**2 + y**2 > c**2 * (y / 2) ** 2


@pytest.mark.claim("fig1", kind="control")
@pytest.mark.claim("sep-synthetic", kind="control")
@pytest.mark.parametrize("n", [1, 10, 1000])
def test_with_a_wedge_in_place_of_the_disc_the_ratio_stays(n):
    # S_1 = {y ≥ |x|/2}: along its boundary the ratio is 2√5, however near the origin.
    x, y = Fraction(2, n), Fraction(1, n)
    assert (x**2 + y**2) / (y / 2) ** 2 == 20


@pytest.mark.claim("fig1", kind="control")
@pytest.mark.claim("sep-synthetic", kind="control")
def test_overlapping_sets_meet_in_more_than_the_origin():
    # With y ≤ 1/2 for the half-plane, (0, 1/2) lies in both.
    wider = HalfSpaceDistance(np.array([0.0, 1.0]), 0.5)
    shared = np.array([0.0, 0.5])
    assert DISC.distance(shared) == wider.distance(shared) == 0
    assert HALF_PLANE.distance(shared) == 0.5


# Both losses are convex and smooth.


@pytest.mark.claim("smooth-synthetic", kind="symbolic")
def test_the_gradients_have_slope_two_along_an_outward_ray():
    # f_1 = (r − 1)² outside the disc, f_2 = y² above the axis: L = 2 is attained.
    r, y = sp.symbols("r y", positive=True)
    assert sp.diff((r - 1) ** 2, r, 2) == 2
    assert sp.diff(y**2, y, 2) == 2
    # across the boundary value and slope agree: C¹
    assert [sp.diff((r - 1) ** 2, r, k).subs(r, 1) for k in (0, 1)] == [0, 0]


@pytest.mark.claim("smooth-synthetic", kind="symbolic")
@pytest.mark.mutation("sign", "2 * (1 - 1 / r)", "2 * (1 + 1 / r)")
def test_the_curvature_across_the_ray_is_below_two():
    # Eigenvalues of ∇²(r − 1)² outside the disc: 2 along the ray, 2(1 − 1/r) in [0, 2) across it.
    x, z = sp.symbols("x z", real=True)
    r = sp.symbols("r", positive=True)
    hessian = sp.hessian((sp.sqrt(x**2 + z**2) - 1) ** 2, (x, z)).subs({x: r, z: 0})
    assert sp.simplify(hessian - sp.diag(2, 2 * (1 - 1 / r))) == sp.zeros(2)


@pytest.mark.claim("smooth-synthetic", kind="numeric")
@pytest.mark.mutation("constant", "difference @ difference / 2", "difference @ difference")
@settings(max_examples=1000)
@given(points, points)
def test_convex_and_two_smooth(a, b):
    for node in (DISC, HALF_PLANE):
        difference, offset = node.gradient(a) - node.gradient(b), a - b
        # ⟨∇f(a) − ∇f(b), a − b⟩ ≥ ‖∇f(a) − ∇f(b)‖²/2: convex and 2-smooth in one
        assert difference @ offset >= difference @ difference / 2 - 1e-12
        assert node.loss((a + b) / 2) <= (node.loss(a) + node.loss(b)) / 2 + 1e-12


@pytest.mark.claim("smooth-synthetic", kind="numeric")
@given(points)
def test_the_losses_are_those_of_the_paper(a):
    x, y = a
    assert DISC.loss(a) == pytest.approx(max(math.hypot(x, y - 1) - 1, 0) ** 2, abs=1e-12)
    assert HALF_PLANE.loss(a) == max(y, 0) ** 2


@pytest.mark.claim("smooth-synthetic", kind="control")
@given(st.integers(1, 50), st.integers(1, 50))
def test_no_constant_below_two_will_do(near, step):
    a, b = (np.array([0.0, 2.0 + k / 8]) for k in (near, near + step))
    for node in (DISC, HALF_PLANE):
        change = np.linalg.norm(node.gradient(b) - node.gradient(a))
        assert change > 1.99 * np.linalg.norm(b - a)


@pytest.mark.claim("smooth-synthetic", kind="control")
def test_the_distance_itself_is_not_smooth():
    # √f_2 = max(y, 0): the slope jumps from 0 to 1 over any interval about 0.
    for h in (Fraction(1, 10), Fraction(1, 10**9)):
        slope_above, slope_below = 1, 0
        assert slope_above - slope_below > 2 * (2 * h)
