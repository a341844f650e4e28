"""Assumptions 4 and 5: quasi-convex losses whose minimisers form an affine subspace.

The sigmoid and tanh, the paper's examples of quasi-convex functions, are that, but have no
minimiser.  φ(d(x, S_i)) with φ(s) = s²/(1 + s²) is quasi-convex, not convex, and has S_i.
"""

from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from localgd import AffineSubspace
from localgd.convex import SaturatedDistance
from quasi import saturated_loss, saturated_slope
from rounds import squared_norm
from strategies import AFFINE, federations

S = sp.symbols("s", positive=True)
X = sp.symbols("x", real=True)
PHI = S**2 / (1 + S**2)


@pytest.mark.claim("asm4", kind="symbolic")
def test_convex_sublevel_sets_and_the_maximum_inequality_are_the_same():
    # (⇒) with the level max{f(x), f(y)}; (⇐) with any level above both. In one dimension and over
    # every function on five points of a line: convex sublevel sets iff no interior point is above
    # both sides.
    from itertools import product

    def convex_levels(values):
        for level in set(values):
            inside = [k for k, v in enumerate(values) if v <= level]
            if inside[-1] - inside[0] + 1 != len(inside):
                return False
        return True

    def below_the_larger_end(values):
        n = len(values)
        return all(
            values[k] <= max(values[i], values[j])
            for i in range(n)
            for j in range(i, n)
            for k in range(i, j + 1)
        )

    functions = list(product(range(4), repeat=5))
    agree = [convex_levels(f) == below_the_larger_end(f) for f in functions]
    assert all(agree)
    assert 0 < sum(map(convex_levels, functions)) < len(functions)


@pytest.mark.claim("asm4", kind="symbolic")
@pytest.mark.parametrize("curve", [1 / (1 + sp.exp(-X)), sp.tanh(X)])
def test_sigmoid_and_tanh_are_quasi_convex_and_not_convex(curve):
    slope = sp.simplify(curve.diff(X).rewrite(sp.exp))
    assert sp.solveset(slope, X, sp.Reals) == sp.S.EmptySet
    assert slope.subs(X, 0) > 0  # monotone, so that sublevel sets are half-lines
    bend = curve.diff(X, 2)
    assert bend.subs(X, -1).evalf() > 0 > bend.subs(X, 1).evalf()


@pytest.mark.claim("asm4", kind="symbolic")
@pytest.mark.mutation("constant", "(1 - 3 * S**2)", "(1 - 2 * S**2)")
def test_the_saturated_distance_bends_both_ways_within_its_constants():
    curvature = sp.factor(PHI.diff(S, 2))
    assert sp.simplify(curvature - 2 * (1 - 3 * S**2) / (1 + S**2) ** 3) == 0
    assert sp.solve(curvature, S) == [1 / sp.sqrt(3)]
    turning = sp.solve(curvature.diff(S), S)
    assert [curvature.subs(S, k) for k in turning] == [-sp.Rational(1, 2)]
    assert sp.limit(curvature, S, 0) == 2  # L = 2
    assert sp.simplify(PHI.diff(S) / S - 2 / (1 + S**2) ** 2) == 0
    assert sp.solve(PHI.diff(S), S) == []  # no stationary point but 0


@pytest.mark.claim("asm4", kind="numeric")
@pytest.mark.mutation("formula", "ends = max(", "ends = min(")
@settings(max_examples=1000)
@given(federations(kinds=AFFINE, max_nodes=3), st.integers(0, 20))
def test_the_saturated_distance_is_quasi_convex(case, tick):
    x, y, share = case.x0, 2 * case.point - 3 * case.x0[::-1], tick / 20
    for node in case.nodes:
        ends = max(saturated_loss(node, x), saturated_loss(node, y))
        assert saturated_loss(node, share * x + (1 - share) * y) <= ends + 1e-12


@pytest.mark.claim("asm4", kind="numeric")
@settings(max_examples=1000)
@given(federations(kinds=AFFINE, max_nodes=2))
def test_its_gradient_has_the_lipschitz_constant_two(case):
    y = case.point + (case.x0 - case.point)[::-1] / 3
    for node in case.nodes:
        change = saturated_slope(node, case.x0) - saturated_slope(node, y)
        assert squared_norm(change) <= 4 * squared_norm(case.x0 - y) * (1 + 1e-9) + 1e-20


@pytest.mark.claim("asm5", kind="symbolic")
@pytest.mark.mutation("formula", "u.dot(A.T * A * u)", "x_star.dot(A.T * A * u)")
def test_least_squares_is_minimal_exactly_on_an_affine_subspace():
    A = sp.Matrix(2, 3, sp.symbols("a:6", real=True))
    x_star, u = (sp.Matrix(sp.symbols(f"{k}:3", real=True)) for k in "xu")
    residual = A * (x_star + u) - A * x_star
    assert sp.expand(residual.dot(residual) - u.dot(A.T * A * u)) == 0  # 0 iff Au = 0


@pytest.mark.claim("asm5", kind="numeric")
@pytest.mark.mutation("constant", "node.mu / 2 * squared_norm(off)", "node.L * squared_norm(off)")
@settings(max_examples=1000)
@given(federations(kinds=("quadratic",), max_nodes=3), st.integers(-9, 9))
def test_lines_through_two_minimisers_stay_minimal(case, far):
    for node in case.nodes:
        one, two = node.project(case.x0), node.project(case.x0[::-1])
        on_line = one + far * (two - one)
        scale = 1 + squared_norm(on_line) * node.L
        assert node.loss(on_line) <= 1e-20 * scale
        off = case.x0 - node.project(case.x0)
        if squared_norm(off) > 1e-6:
            assert node.loss(on_line + off) >= node.mu / 2 * squared_norm(off) * (1 - 1e-8)


@pytest.mark.claim("asm5", kind="numeric")
@given(federations(kinds=AFFINE, max_nodes=2))
def test_the_saturated_distance_has_the_given_sets_as_optima(case):
    sets = [AffineSubspace.from_normals(case.point, n.normals) for n in case.nodes]
    problem = SaturatedDistance(sets)
    assert problem.solution_sets() == sets
    x = torch.as_tensor(case.x0).expand(len(sets), -1)
    losses, _ = problem.evaluate(x)
    expected = [saturated_loss(node, case.x0) for node in case.nodes]
    np.testing.assert_allclose(losses, expected, rtol=1e-7, atol=1e-12)


# Negative controls.


@pytest.mark.claim("asm4", kind="control")
@given(federations(kinds=AFFINE, max_nodes=1))
def test_the_saturated_distance_is_not_convex(case):
    (node,) = case.nodes
    assume(len(node.normals))
    low, middle, high = (saturated_loss(node, case.point + s * node.normals[0]) for s in (1, 2, 3))
    assert middle > (low + high) / 2 + 0.01


@pytest.mark.claim("asm4", kind="control")
def test_the_mean_of_quasi_convex_losses_need_not_be_quasi_convex():
    # x²/(1 + x²) and the same about 4: the middle is above both ends of the segment [0, 4].
    def phi(s):
        return Fraction(s**2, 1 + s**2)

    def mean(x):
        return (phi(x) + phi(x - 4)) / 2

    assert mean(2) == Fraction(4, 5) > max(mean(0), mean(4)) == Fraction(8, 17)


@pytest.mark.claim("asm4", kind="control")
def test_sigmoid_and_tanh_have_no_minimiser():
    for curve, infimum in ((1 / (1 + sp.exp(-X)), 0), (sp.tanh(X), -1)):
        assert sp.limit(curve, X, -sp.oo) == infimum
        assert sp.solveset(sp.Eq(curve.rewrite(sp.exp), infimum), X, sp.Reals) == sp.S.EmptySet


@pytest.mark.claim("asm4", kind="control")
def test_two_wells_are_not_quasi_convex():
    def f(x):
        return (x**2 - 1) ** 2

    assert f(Fraction(0)) == 1 > max(f(Fraction(-1)), f(Fraction(1))) == 0


@pytest.mark.claim("asm5", kind="control")
def test_a_product_of_layers_has_a_curved_optimal_set():
    def f(x, y):
        return (x * y - 1) ** 2

    assert f(1, 1) == f(2, Fraction(1, 2)) == 0
    assert f(Fraction(3, 2), Fraction(3, 4)) == Fraction(1, 64)


@pytest.mark.claim("asm5", kind="control")
@given(federations(kinds=("ball",), max_nodes=1))
def test_a_ball_contains_segments_but_not_their_lines(case):
    (node,) = case.nodes
    assume(node.radius > 0.1)
    one, two = node.center, node.center + node.radius * np.eye(len(node.center))[0]
    assert max(node.loss(one), node.loss(two)) < 1e-20
    assert node.loss(one + 2 * (two - one)) > 1e-3
