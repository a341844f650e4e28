"""Rates for every round. T = 1, η = 1/L: d ≥ (n+1)g + h/g; finite T: (d²/η)√(T/(n+1)).

g = ‖∇f(x_n)‖ and h = f(x_n) − f* − g²/2, for L = 1.
"""

import math
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from hypothesis import assume, given, settings

from rounds import one_round
from smooth import INFINITY
from strategies import federations

TOL = 1e-9


@pytest.mark.claim("whole-sequence", kind="symbolic")
def test_the_sum_of_the_inequalities_is_a_square():
    n, k, r = sp.symbols("n k r", nonnegative=True)
    in_g = sp.summation(2 * (n - k) + 1, (k, 0, n))
    assert sp.expand(r**2 + 2 * (n + 1) * r + in_g - (n + 1 + r) ** 2) == 0
    loss = (4 * n + 2) * (r + sp.Rational(1, 2))
    assert sp.expand((n + 1 + r) ** 2 - loss - (n - r) ** 2) == 0


@pytest.mark.claim("whole-sequence", kind="numeric")
@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_huber_attains_both(n):
    for slope, loss, residual in (
        (Fraction(1, 2 * n + 1), Fraction(1, 4 * n + 2), None),
        (Fraction(1, n + 1), None, Fraction(1, (n + 1) ** 2)),
    ):
        x = Fraction(1)
        for _ in range(n):
            x -= min(x, slope)
        g = min(x, slope)
        assert loss is None or g * x - g**2 / 2 == loss
        assert residual is None or g**2 == residual


def mean_loss(case, x):
    return float(np.mean([node.loss(x) for node in case.nodes]))


def mean_gradient(case, x):
    return np.mean([node.gradient(x) for node in case.nodes], 0)


def equal(case, steps=None):
    """The case with η = 1/L at every node, L the largest, and these steps."""
    L = max(node.L for node in case.nodes)
    case.etas = [1 / L] * len(case.nodes)
    if steps is not None:
        case.steps = [steps] * len(case.nodes)
    return L


@pytest.mark.claim("whole-sequence", kind="numeric")
@settings(max_examples=200)
@given(federations(counts=(1,), max_nodes=4))
def test_one_local_step_keeps_the_theorem_in_every_round(case):
    L, x = equal(case, 1), case.x0
    d = float(np.linalg.norm(x - case.point))  # case.point lies in S
    for n in range(12):
        g = float(np.linalg.norm(mean_gradient(case, x))) / L
        h = mean_loss(case, x) / L - g * g / 2
        assert h >= -TOL * (1 + d * d)
        assert (n + 1) * g * g + h <= d * g + TOL * (1 + d * d)
        assert mean_loss(case, x) <= L * d * d / (4 * n + 2) + TOL * (1 + L * d * d)
        x = one_round(case, x).end


@pytest.mark.claim("whole-sequence", kind="numeric")
@settings(max_examples=200)
@given(federations(counts=(1, 2, 3, 7), largest_step=0.5, max_nodes=4))
def test_any_finite_t_keeps_the_root_law_and_its_steps(case):
    x, T, eta = case.x0, max(case.steps), min(case.etas)
    d = float(np.linalg.norm(x - case.point))
    moves = []
    for n in range(10):
        excess = mean_loss(case, x)
        assert excess <= d * d / eta * math.sqrt(T / (n + 1)) + TOL * (1 + d * d)
        end = one_round(case, x).end
        moves.append(float(np.linalg.norm(end - x)))
        assert moves[n] <= moves[max(n - 1, 0)] * (1 + TOL) + TOL
        assert excess * eta <= d * moves[n] + TOL * (1 + d * d)
        x = end
    assert sum(m * m for m in moves) <= T * d * d * (1 + TOL) + TOL


@pytest.mark.claim("whole-sequence", kind="numeric")
def test_the_gradient_norms_need_not_be_monotone():
    u = [sp.Matrix([1, 0]), sp.Matrix([10, -10])]

    def residual(x):
        g = sum((v * v.dot(x) for v in u), sp.zeros(2, 1)) / 2
        return g.dot(g)

    x = sp.Matrix([1, 1])
    after = sum((x - v * v.dot(x) / v.dot(v) for v in u), sp.zeros(2, 1)) / 2
    assert residual(x) == sp.Rational(1, 4)
    assert residual(after) > 1200
    assert after.dot(after) < x.dot(x)


# Negative controls.


@pytest.mark.claim("whole-sequence", kind="control")
def test_a_smaller_constant_fails():
    x, slope, n = Fraction(1), Fraction(1, 11), 5
    for _ in range(n):
        x -= min(x, slope)
    assert slope * x - slope**2 / 2 > Fraction(1, 4 * n + 3)


@pytest.mark.claim("whole-sequence", kind="control")
def test_without_a_common_minimiser_the_loss_stays():
    # f_1 = x²/2, f_2 = 2(x − 1)², each to its optimum: x_n = 1/2 for ever, f is least at 4/5
    d, n = Fraction(4, 5), 1000
    loss = (Fraction(1, 4) / 2 + 2 * Fraction(1, 4)) / 2
    least = (Fraction(16, 25) / 2 + 2 * Fraction(1, 25)) / 2
    assert loss - least > 4 * d**2 * 4 / (4 * n + 2)


@pytest.mark.claim("whole-sequence", kind="control")
@given(federations(counts=(1,), largest_step=0.5, max_nodes=1))
def test_infinitely_many_steps_have_no_averagedness_constant(case):
    # a node that goes half way, (I − g) with η = 1/(2L): T steps leave (1/2)^T, so that
    # ‖x − Gx‖² (T + 1)/T exceeds ‖x‖² − ‖Gx‖² once the 1/T is replaced by 1
    assume(case.steps[0] != INFINITY)
    T = 5
    left = 0.5**T
    assert (1 - left) ** 2 <= (1 - left**2) * T
    assert 4 * (1 - 0.9**T) ** 2 > (1 - 0.9 ** (2 * T))
