"""Lemma 4: under Assumptions 4 and 5, f_i(x + u) = f_i(x) for u ∈ U_i."""

from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from quasi import saturated_loss
from rounds import squared_norm
from strategies import AFFINE, federations


@pytest.mark.claim("lem4", kind="symbolic")
@pytest.mark.mutation("sign", "(1 - 1 / N) * x", "(1 + 1 / N) * x")
def test_the_convex_combination_tends_to_the_moved_point():
    # f((1 − 1/N)x + (x* + Nu)/N) ≤ max{f(x), f*} = f(x); its argument is x + u + (x* − x)/N.
    N = sp.symbols("N", positive=True)
    x, u, star = sp.symbols("x u x_star", real=True)
    combination = (1 - 1 / N) * x + (star + N * u) / N
    assert sp.simplify(combination - (x + u) - (star - x) / N) == 0
    assert sp.limit(combination, N, sp.oo) == x + u


@pytest.mark.claim("lem4", kind="symbolic")
def test_the_printed_proof_goes_through_a_point_of_the_optimal_set():
    # y = λ(x + u) + (1 − λ)x* and z = (y − λx)/(1 − λ) = x* + λ/(1 − λ) u, y = λx + (1 − λ)z.
    lam, x, u, star = sp.symbols("lambda x u x_star", real=True)
    y = lam * (x + u) + (1 - lam) * star
    z = (y - lam * x) / (1 - lam)
    assert sp.simplify(z - star - lam / (1 - lam) * u) == 0
    assert sp.simplify(lam * x + (1 - lam) * z - y) == 0


@pytest.mark.claim("lem4", kind="numeric")
@pytest.mark.mutation("sign", "u = direction - node.normals.T", "u = direction + node.normals.T")
@settings(max_examples=1000)
@given(federations(kinds=AFFINE, max_nodes=3), st.integers(-9, 9))
def test_constant_along_the_optimal_set(case, far):
    for node in case.nodes:
        direction = far * (case.x0[::-1] + 1)
        u = direction - node.normals.T @ (node.normals @ direction)  # in U_i
        moved = case.x0 + u
        scale = 1 + node.L * (
            squared_norm(case.x0) + squared_norm(moved) + squared_norm(case.point)
        )
        assert saturated_loss(node, moved) == pytest.approx(
            saturated_loss(node, case.x0), abs=1e-13 * scale
        )
        assert node.loss(moved) == pytest.approx(node.loss(case.x0), abs=1e-13 * scale)


@pytest.mark.claim("lem4", kind="numeric")
@given(st.integers(-8, 8), st.integers(-8, 8), st.integers(-8, 8))
def test_a_lower_semicontinuous_step_function_will_do(x, y, moved):
    # 0 for x = 0, 1 for 0 < |x| ≤ 1, 2 beyond: closed convex sublevel sets, and jumps
    def f(a, b):
        return 0 if a == 0 else 1 if abs(a) <= 1 else 2

    assert f(Fraction(x, 4), y) == f(Fraction(x, 4), y + moved)


# Negative controls: each assumption is needed.


@pytest.mark.claim("lem4", kind="control")
@settings(max_examples=200)
@given(federations(kinds=AFFINE, max_nodes=1))
def test_across_the_optimal_set_it_is_not_constant(case):
    (node,) = case.nodes
    if len(node.normals):
        inside = node.project(case.x0)
        assert saturated_loss(node, inside + node.normals[0]) > saturated_loss(node, inside) + 0.4


@pytest.mark.claim("lem4", kind="control")
def test_without_quasi_convexity_it_fails():
    # x²(1 + y²) vanishes on the line x = 0 only.
    def f(x, y):
        return x**2 * (1 + y**2)

    assert f(0, 5) == 0
    assert f(1, 1) - f(1, 0) == 1
    middle = f(Fraction(3), Fraction(7, 2))  # of (5, 0) and (1, 7)
    assert middle > max(f(5, 0), f(1, 7))  # not quasi-convex


@pytest.mark.claim("lem4", kind="control")
def test_without_an_affine_optimal_set_it_fails():
    # d(·, disc)² is convex; (0, 1) is a direction of the span of the disc.
    def f(x, y):
        return max(np.hypot(x, y) - 1, 0) ** 2

    assert f(0, 0) == f(0, 0.5) == 0
    assert f(0, 3) == 4


@pytest.mark.claim("lem4", kind="control")
def test_without_lower_semicontinuity_it_fails():
    # 0 for x = 0; 1 for 0 < x < 1 and at (1, 0); 2 elsewhere: sublevel sets are convex.
    def f(x, y):
        return 0 if x == 0 else 1 if 0 < x < 1 or (x, y) == (1, 0) else 2

    grid = [(Fraction(i, 4), Fraction(j)) for i in range(-2, 7) for j in range(-2, 3)]
    for p in grid:
        for q in grid:
            for share in (Fraction(1, 4), Fraction(1, 2)):
                middle = [share * a + (1 - share) * b for a, b in zip(p, q, strict=True)]
                assert f(*middle) <= max(f(*p), f(*q))
    assert f(1, 0) != f(1, 1)
