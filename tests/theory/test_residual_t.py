"""The worst residual: 1/(n+1)² for T = 1, of order 1/n at least for every T ≥ 2.

Two cylinders of curvature 1 and λ in the plane, their normals at the angles a and b from the
second axis with sin 2a = s sin 2b, s = 1 − (1−λ)^T: the first axis is an eigenvector of the
round map, and the gradient there is of first order in the angle unless T = 1.
"""

import math

import numpy as np
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

from localgd import LeastSquares, run
from localgd.theory import worst_case_any_nodes


def moved(lam, T):
    """s: the share of its distance that node 2 goes in T local steps."""
    return 1 - (1 - lam) ** T


def normals(a, s):
    """u_1 and u_2 of the proof."""
    b = math.asin(math.sin(2 * a) / s) / 2
    return np.array([math.sin(a), math.cos(a)]), np.array([-math.sin(b), math.cos(b)])


def limit(lam, T):
    """lim n‖∇f(x_n)‖² for L = d = 1."""
    s = moved(lam, T)
    return (1 - lam / s) ** 2 / (1 + 1 / s) / (4 * math.e)


def residual(n, T, lam, steps=None):
    """‖∇f(x_n)‖² from (1, 0), by the library."""
    s = moved(lam, T)
    u, v = normals(1 / math.sqrt(n * (1 + 1 / s)), s)
    problem = LeastSquares([[u / math.sqrt(2)], [v * math.sqrt(lam / 2)]], [[0.0], [0.0]])
    trace = run(problem, [1.0, 0.0], local_steps=steps or T, step_size=1.0, rounds=n)
    return trace.grad_norm_sq[-1]


@pytest.mark.claim("residual-T", kind="symbolic")
def test_the_orders_in_the_angle():
    a, lam, s = sp.symbols("a lambda s", positive=True)
    b = sp.asin(sp.sin(2 * a) / s) / 2
    q = (sp.sin(a) ** 2 + s * sp.sin(b) ** 2) / 2
    across = (sp.sin(2 * a) - lam * sp.sin(2 * b)) / 4
    assert sp.simplify(sp.series(q, a, 0, 4).removeO() - (1 + 1 / s) * a**2 / 2) == 0
    assert sp.simplify(sp.series(across, a, 0, 2).removeO() - (1 - lam / s) * a / 2) == 0
    n = sp.symbols("n", positive=True)
    assert sp.limit((1 - 1 / (2 * n)) ** (2 * n), n, sp.oo) == sp.exp(-1)


@pytest.mark.claim("residual-T", kind="numeric")
@given(st.floats(0.05, 0.95), st.integers(2, 30), st.floats(0.001, 0.2))
def test_the_first_axis_is_an_eigenvector(lam, T, a):
    s = moved(lam, T)
    if math.sin(2 * a) >= s:
        return
    u, v = normals(a, s)
    M = np.eye(2) - (np.outer(u, u) + s * np.outer(v, v)) / 2
    q = (u[0] ** 2 + s * v[0] ** 2) / 2
    assert M[:, 0] == pytest.approx([1 - q, 0.0], abs=1e-12)
    gradient = (u[0] * u + lam * v[0] * v) / 2
    assert gradient[1] == pytest.approx((1 - lam / s) * math.sin(2 * a) / 4, abs=1e-12)


@pytest.mark.claim("residual-T", kind="numeric")
@pytest.mark.parametrize(("T", "lam"), [(2, 0.31), (3, 0.26), (10, 0.15)])
def test_the_limit(T, lam):
    n = 500
    assert n * residual(n, T, lam) == pytest.approx(limit(lam, T), rel=0.04)


@pytest.mark.claim("residual-T", kind="numeric")
@pytest.mark.parametrize(("T", "lam", "n"), [(2, 0.31, 300), (10, 0.15, 50), (100, 0.03, 50)])
def test_from_some_round_on_one_local_step_guarantees_more(T, lam, n):
    assert residual(n, T, lam) > 1.01 / (n + 1) ** 2


@pytest.mark.claim("residual-T", kind="numeric")
@pytest.mark.parametrize(("n", "above"), [(1, False), (4, False), (5, True), (7, True)])
def test_two_local_steps_keep_their_worth_for_four_rounds(n, above):
    share = worst_case_any_nodes(n, 2, measure="grad_norm_sq").value * (2 * n + 1) ** 2
    assert share > 1.02 if above else share == pytest.approx(1, abs=1e-6)


# Negative controls.


@pytest.mark.claim("residual-T", kind="control")
def test_with_one_local_step_it_is_of_order_one_over_n_squared():
    n = 500
    assert n * residual(n, 1, 0.31) < 2e-3
    assert residual(n, 1, 0.31) <= 1 / (n + 1) ** 2


@pytest.mark.claim("residual-T", kind="control")
def test_with_equal_curvatures_and_projections_the_axis_is_balanced():
    n = 500
    u, v = normals(1 / math.sqrt(2 * n), 1.0)
    problem = LeastSquares([[u / math.sqrt(2)], [v / math.sqrt(2)]], [[0.0], [0.0]])
    trace = run(problem, [1.0, 0.0], local_steps=2, step_size=1.0, rounds=n)
    assert n * trace.grad_norm_sq[-1] < 2e-3
