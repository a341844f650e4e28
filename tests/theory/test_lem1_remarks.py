"""Remarks (1) and (3) after Lemma 1: with a constant step size all local gradients vanish.

If (1/m) Σ Σ α_i‖∇f_i(x^{i,t})‖² ≤ δ then ‖∇f_i(x^{i,t})‖² ≤ Cδ with C = m/min α_i, for t up to T_i
(the proof has T_i − 1), and the mean gradient needs no factor m. Remark (2) is `monotone-T`.
"""

from fractions import Fraction

import pytest
import sympy as sp
from hypothesis import assume, given, settings

from rounds import (
    alphas,
    decrease,
    mean_gradient,
    nearest_common_point,
    one_round,
    squared_norm,
)
from smooth import INFINITY
from strategies import AFFINE, federations

REL = 1e-10


@pytest.mark.claim("lem1-remarks", kind="numeric")
@pytest.mark.mutation("constant", "path.peak <= m / alpha", "path.peak <= 1 / alpha")
@settings(max_examples=1000)
@given(federations())
def test_every_local_gradient_is_below_m_over_alpha(case):
    done = one_round(case, case.x0)
    delta, alpha, m = decrease(case, done), alphas(case).min(), len(case.nodes)
    tolerance = 1 + REL
    for node, path in zip(case.nodes, done.paths, strict=True):
        assert path.peak <= m / alpha * delta * tolerance + 1e-15  # over t = 0, …, T_i
        # I − η∇f_i is non-expansive for η ≤ 2/L: the first gradient is the largest
        assert path.peak <= squared_norm(node.gradient(case.x0)) * tolerance + 1e-15
    assert squared_norm(mean_gradient(case, case.x0)) <= delta / alpha * tolerance + 1e-15


@pytest.mark.claim("lem1-remarks", kind="numeric")
@settings(max_examples=1000)
@given(federations(kinds=AFFINE))
def test_the_drop_in_distance_bounds_every_local_gradient(case):
    # As the remark uses it: δ = d(x_n, S)² − d(x_{n+1}, S)².
    done = one_round(case, case.x0)
    before = squared_norm(case.x0 - nearest_common_point(case, case.x0))
    drop = before - squared_norm(done.end - nearest_common_point(case, done.end))
    C = len(case.nodes) / alphas(case).min()
    for path in done.paths:
        assert path.peak <= C * (drop + REL * before) + 1e-15


@pytest.mark.claim("lem1-remarks", kind="symbolic")
@pytest.mark.mutation("constant", "== m", "== 2 * m")
def test_m_is_the_best_possible_factor():
    # f_1 = x²/2, all others zero, from x = 1, T = 1: ‖∇f_1‖² = 1, δ = 1 − (1 − η/m)².
    eta, m = sp.symbols("eta m", positive=True)
    delta, alpha = 1 - (1 - eta / m) ** 2, eta * (2 - eta)
    assert sp.limit(alpha / delta, eta, 0) == m


@pytest.mark.claim("lem1-remarks", kind="control")
def test_without_the_factor_m_it_fails():
    # f_1 = x²/2, f_2 = 0, η = 1 (α = 1), from x = 1: node 1 steps to 0, node 2 stays, x_1 = 1/2.
    x, eta = Fraction(1), Fraction(1)
    alpha = eta * (2 - eta)
    average = (x - eta * x + x) / 2
    drop = x**2 - average**2
    gradient_sq = x**2
    assert drop == Fraction(3, 4)
    assert gradient_sq > drop / alpha  # C = 1/min α
    assert gradient_sq <= 2 * drop / alpha  # C = m/min α
    decrease_only = alpha * gradient_sq / 2
    assert gradient_sq > decrease_only / alpha


@pytest.mark.claim("lem1-remarks", kind="control")
@pytest.mark.parametrize("T", [1, 2, INFINITY])
def test_without_a_common_minimiser_local_gradients_stay(T):
    # f_1 = x²/2, f_2 = (x − 1)²/2, η = 1/2: from the fixed point 1/2 nothing changes for ever.
    x = Fraction(1, 2)
    left = Fraction(0) if T == INFINITY else Fraction(1, 2) ** T
    ends = [left * x, 1 + left * (x - 1)]
    assert sum(ends) / 2 == x
    assert [x - 0, x - 1] == [Fraction(1, 2), Fraction(-1, 2)]


@pytest.mark.claim("lem1-remarks", kind="control")
@given(federations(kinds=("quadratic",), max_nodes=1))
def test_beyond_two_over_l_the_gradient_grows(case):
    # η = 5/(2L) along the stiffest direction: a factor of −3/2 a step.
    (node,) = case.nodes
    assume(len(node.values) > 0)
    x = case.point + node.normals[0]
    gradient = node.gradient(x)
    after = node.gradient(x - 2.5 / node.L * gradient)
    assert squared_norm(after) == pytest.approx(2.25 * squared_norm(gradient))
