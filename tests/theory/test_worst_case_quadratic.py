"""Quadratics with H_i ⪯ L and η = 1/L: f(x_n) ≤ (L/2) max_q q(1−q)^2n d², for every T, attained."""

import math

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from localgd import AffineSubspace, SquaredDistance, run
from localgd.theory import worst_case
from smooth import INFINITY
from strategies import AFFINE, federations

TOL = 1e-9


def largest(n):
    """max_q q(1 − q)^2n = (2n)^2n/(2n+1)^(2n+1)."""
    return (2 * n) ** (2 * n) / (2 * n + 1) ** (2 * n + 1)


@pytest.mark.claim("worst-case-quadratic", kind="symbolic")
def test_where_the_bound_is_largest():
    q, n = sp.symbols("q n", positive=True)
    slope = sp.diff(sp.log(q) + 2 * n * sp.log(1 - q), q)
    assert sp.solve(slope, q) == [1 / (2 * n + 1)]
    t = sp.symbols("t")
    for T in range(1, 7):
        product = (1 - t) * (1 - (1 - t) ** (T - 1))
        assert sp.expand(product - ((1 - t) - (1 - t) ** T)) == 0


def matrices(case, steps):
    """M_T and ηH with η = 1/L."""
    L, dim = max(node.L for node in case.nodes), len(case.x0)
    M, H = np.zeros((dim, dim)), np.zeros((dim, dim))
    for node, T in zip(case.nodes, steps, strict=True):
        left = np.maximum(1 - node.values / L, 0.0) ** T
        M += np.eye(dim) - (node.normals.T * (1 - left)) @ node.normals
        H += node.hessian / L
    return M / len(case.nodes), H / len(case.nodes)


@pytest.mark.claim("worst-case-quadratic", kind="numeric")
@settings(max_examples=500)
@given(federations(kinds=AFFINE, counts=(1, 2, 5, 50, INFINITY)), st.integers(0, 20))
def test_no_start_and_no_steps_exceed_it(case, n):
    M, H = matrices(case, case.steps)
    assert np.linalg.eigvalsh(np.eye(len(M)) - M - H)[0] >= -TOL  # ηH ⪯ I − M_T
    power = np.linalg.matrix_power(M, n)
    worst = np.linalg.eigvalsh(power @ H @ power)[-1]
    assert worst <= (largest(n) if n else 1) + TOL


@pytest.mark.claim("worst-case-quadratic", kind="numeric")
@pytest.mark.parametrize("T", [1, 2, 9])
@pytest.mark.parametrize("n", [1, 2, 6])
def test_two_lines_attain_it(n, T):
    q = 1 / (2 * n + 1)
    pair = [AffineSubspace([0.0, 0.0], [[math.sqrt(1 - q), s * math.sqrt(q)]]) for s in (1, -1)]
    trace = run(SquaredDistance(pair), [1.0, 0.0], local_steps=T, step_size=0.5, rounds=n)
    assert trace.loss[-1] == pytest.approx(largest(n), rel=1e-9)  # L = 2


@pytest.mark.claim("worst-case-quadratic", kind="numeric")
@pytest.mark.parametrize("T", [1, 3])
def test_the_semidefinite_program_finds_the_same(T):
    case = worst_case(1, T, quadratic=True)
    assert case.value == pytest.approx(2 / 27, abs=1e-6)
    trace = run(case.problem(), case.start, local_steps=T, step_size=1.0, rounds=1)
    assert trace.loss[-1] == pytest.approx(case.value, abs=1e-5)


# Negative controls.


@pytest.mark.claim("worst-case-quadratic", kind="control")
def test_a_convex_loss_that_is_no_quadratic_passes_it():
    assert worst_case(1, 1).value > 2 * 2 / 27


@pytest.mark.claim("worst-case-quadratic", kind="control")
def test_a_longer_step_passes_it():
    # one parabola, L = 1, η = 1.9: x_n = 0.9^n
    assert 5 * largest(10) / 2 < 0.9**20 / 2


@pytest.mark.claim("worst-case-quadratic", kind="control")
@pytest.mark.parametrize("n", [1, 4])
def test_one_power_more_is_too_much(n):
    q = 1 / (2 * n + 1)
    assert q * (1 - q) ** (2 * n) > max(p * (1 - p) ** (2 * n + 1) for p in np.linspace(0, 1, 999))
