"""Theorem 7: quasi-convex losses with affine optimal sets, T = ∞.

False as printed, for the limit of local descent need not be in S_i. Where it is,
x_{n+1} − x* = (I − Q)(x_n − x*) and the exact factor per round is 1 − σ ≤ √(1 − c⁻²).
"""

import math
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from localgd import AffineSubspace, ToOptimum, run
from localgd.convex import SaturatedDistance
from localgd.geometry import separation_constant, sigma_min
from quasi import inflection, saturated_descent
from rounds import (
    iterates,
    nearest_common_point,
    smallest_angle_eigenvalue,
    squared_norm,
    stacked_normals,
)
from smooth import INFINITY
from strategies import AFFINE, Choices, federations

EXACT = {"kinds": AFFINE, "counts": (INFINITY,)}


def distance(case, x):
    """d(x, S)."""
    return math.sqrt(squared_norm(x - nearest_common_point(case, x)))


# The counterexample: f_1 = p(x), f_2 = p(y) with p = 3z⁴ − 8z³ + 6z², S = {0}.


@pytest.mark.claim("thm7", kind="counterexample")
@pytest.mark.mutation(
    "hypothesis", "x = (Fraction(1), Fraction(1))", "x = (Fraction(1, 2), Fraction(1, 2))"
)
@pytest.mark.parametrize("eta", [Fraction(1, 50), Fraction(1)])
def test_two_polynomials_never_move(eta):
    x = (Fraction(1), Fraction(1))
    for n in range(1, 6):
        for _ in range(3):  # local steps; every further one does the same
            x = (x[0] - eta * inflection(x[0]), x[1] - eta * inflection(x[1]))
        # c = 2 for the two axes: d(x_n, S)² ≤ (3/4)ⁿ·2 is promised
        assert x[0] ** 2 + x[1] ** 2 == 2 > Fraction(3, 4) ** n * 2


@pytest.mark.claim("thm7", kind="counterexample")
def test_a_single_node_should_arrive_in_one_round():
    # m = 1: c = 1 and the bound is 0, but local descent from 1 ends in 1.
    x = Fraction(1) - inflection(Fraction(1)) / 50
    assert x == 1 > 0


# The theorem.


@pytest.mark.claim("thm7", kind="corrected")
@pytest.mark.mutation("constant", "Fraction(4, 5) ** n, 0", "Fraction(3, 5) ** n, 0")
def test_two_lines_exactly():
    # y = ±x/2: σ = 1/5, c = 5/2. From (1, 0) the factor is 4/5, and 4/5 < √(21/25).
    x, y = Fraction(1), Fraction(0)
    for n in range(1, 6):
        ends = [((2 * x + k * y) * 2 / 5, (2 * x + k * y) * k / 5) for k in (1, -1)]
        x, y = sum(e[0] for e in ends) / 2, sum(e[1] for e in ends) / 2
        assert (x, y) == (Fraction(4, 5) ** n, 0)
        assert x**2 < (1 - Fraction(2, 5) ** 2) ** n


@pytest.mark.claim("thm7", kind="corrected")
@pytest.mark.parametrize("m", [1, 2, 3])
def test_a_round_is_the_identity_minus_q(m):
    x = sp.Matrix(sp.symbols("x:3", real=True))
    total, Q = sp.zeros(3, 1), sp.zeros(3)
    for i in range(m):
        n = sp.Matrix(sp.symbols(f"n{i}_:3", real=True))
        Pi = n * n.T / n.dot(n)
        total, Q = total + (x - Pi * x) / m, Q + Pi / m
    assert sp.simplify(total - (sp.eye(3) - Q) * x) == sp.zeros(3, 1)


@pytest.mark.claim("thm7", kind="corrected")
@pytest.mark.mutation("constant", "* 2 - sp.log(1 - sigma)", "* 3 - sp.log(1 - sigma)")
def test_the_paper_asks_for_twice_the_rounds():
    # c⁻² ≤ σ: √(1 − c⁻²) ≥ √(1 − σ) ≥ 1 − σ, since (1 − σ) − (1 − σ)² = σ(1 − σ).
    sigma = sp.symbols("sigma", positive=True)
    assert sp.expand((1 - sigma) - (1 - sigma) ** 2 - sigma * (1 - sigma)) == 0
    assert sp.simplify(sp.log(sp.sqrt(1 - sigma)) * 2 - sp.log(1 - sigma)) == 0


@pytest.mark.claim("thm7", kind="corrected")
@pytest.mark.mutation("constant", "(1 - sigma) ** n * start", "(1 - 2 * sigma) ** n * start")
@settings(max_examples=1000)
@given(federations(**EXACT))
def test_every_round_shrinks_the_distance_by_one_minus_sigma(case):
    sigma, start = smallest_angle_eigenvalue(case), distance(case, case.x0)
    for n, x in enumerate(iterates(case, 2)):
        d = distance(case, x)
        assert d <= (1 - sigma) ** n * start * (1 + 1e-9) + 1e-7
        assert (
            d <= max(1 - sigma**2, 0) ** (n / 2) * start * (1 + 1e-9) + 1e-7
        )  # as printed, c = 1/σ


@pytest.mark.claim("thm7", kind="corrected")
@settings(max_examples=200)
@given(federations(**EXACT, max_nodes=2))
def test_the_best_constant_allows_half_as_steep_a_line_at_most(case):
    assume(any(len(node.normals) for node in case.nodes))
    sets = [AffineSubspace.from_normals(case.point, node.normals) for node in case.nodes]
    printed_squared = max(1 - separation_constant(sets).c ** -2, 0)
    factor = 1 - smallest_angle_eigenvalue(case)
    assert factor <= printed_squared + 1e-9  # so factor² ≤ printed² twice over
    start = distance(case, case.x0)
    x = iterates(case, 1)[-1]
    assert distance(case, x) ** 2 <= printed_squared * start**2 * (1 + 1e-9) + 1e-9


@pytest.mark.claim("thm7", kind="corrected")
@settings(max_examples=1000)
@given(federations(**EXACT))
def test_the_factor_is_attained_at_the_eigenvector(case):
    _, singular, right = np.linalg.svd(stacked_normals(case), full_matrices=False)
    rank = int((singular > 1e-8).sum())
    assume(rank)
    case.x0 = case.point + right[rank - 1]
    sigma = smallest_angle_eigenvalue(case)
    for n, x in enumerate(iterates(case, 2)):
        assert distance(case, x) == pytest.approx((1 - sigma) ** n, abs=1e-7)


@pytest.mark.claim("thm7", kind="corrected")
@pytest.mark.parametrize("phi", [0.3, 0.7])
def test_the_library_runs_quasi_convex_losses_at_that_rate(phi):
    sets = [AffineSubspace([0.0, 0.0], [[math.cos(a), math.sin(a)]]) for a in (phi, -phi)]
    trace = run(
        SaturatedDistance(sets), [3.0, 0.0], local_steps=ToOptimum(), step_size=0.5, rounds=20
    )
    np.testing.assert_allclose(trace.dist, 3 * math.cos(phi) ** (2 * trace.round), rtol=1e-9)


@pytest.mark.claim("thm7", kind="numeric")
@settings(max_examples=200)
@given(federations(kinds=AFFINE, max_nodes=3), st.sampled_from([0.2, 0.5, 0.8]))
def test_many_steps_on_the_saturated_distance_come_to_the_same(case, eta):
    x = case.point + (case.x0 - case.point) / (1 + np.linalg.norm(case.x0 - case.point))
    ends = [saturated_descent(node, x, eta, 150) for node in case.nodes]
    exact = [node.project(x) for node in case.nodes]
    np.testing.assert_allclose(np.mean(ends, 0), np.mean(exact, 0), atol=1e-6)


# Dividing nodes.


def projector(rows):
    """Π onto the row space, exactly."""
    basis = sp.Matrix([list(row) for row in sp.Matrix(rows).rowspace()])
    return basis.T * (basis * basis.T).inv() * basis


def sigma_of(*blocks):
    """σ of nodes with these rows, exactly."""
    Q = sum((projector(b) for b in blocks), sp.zeros(len(blocks[0][0]))) / len(blocks)
    return min(value for value in Q.eigenvals() if value != 0)


ONE, FOUR = [[1, 0]], [[1, 0], [0, 1], [1, 1], [1, -1]]

blocks = st.binary(min_size=80, max_size=80)


def divided(data):
    """Random integer rows at 1 to 4 nodes, each cut in two; those without a row are 0."""
    choices = Choices(data)
    m, dim = choices.below(4) + 1, choices.below(3) + 2
    nodes = []
    for _ in range(m):
        count = 2 + choices.below(3)
        cut = 1 + choices.below(count - 1)
        rows = choices.integers(count, dim, bound=2)
        nodes.append((rows[:cut], rows[cut:]))
    assume(any(rows.any() for pair in nodes for rows in pair))
    return nodes


def sigma_float(groups):
    return sigma_min([AffineSubspace.from_normals(np.zeros(b.shape[1]), b) for b in groups])


@pytest.mark.claim("thm7", kind="numeric")
@settings(max_examples=1000)
@given(blocks)
def test_dividing_every_node_or_one(data):
    nodes = divided(data)
    m, whole = len(nodes), [np.vstack(pair) for pair in nodes]
    before = sigma_float(whole)
    assert sigma_float([half for pair in nodes for half in pair]) <= before * (1 + 1e-7)
    after = sigma_float([*nodes[0], *whole[1:]])
    assert after <= min(2 * m / (m + 1) * before, (m * before + 1) / (m + 1)) * (1 + 1e-7)
    first, second = (
        AffineSubspace.from_normals(np.zeros(b.shape[1]), b).normals.numpy() for b in nodes[0]
    )
    if not len(first) or not len(second) or np.abs(first @ second.T).max() < 1e-9:  # orthogonal
        assert after <= m / (m + 1) * before * (1 + 1e-7)


# Negative controls.


@pytest.mark.claim("thm7", kind="control")
def test_dividing_one_node_can_raise_sigma_and_attain_the_bounds():
    before, after = sigma_of(ONE, FOUR), sigma_of(ONE, FOUR[:2], FOUR[2:])
    assert (before, after) == (sp.Rational(1, 2), sp.Rational(2, 3))
    assert after == sp.Rational(4, 3) * before == (2 * before + 1) / 3
    assert sigma_of(ONE, ONE, FOUR[:2], FOUR[2:]) == before  # both divided: no gain


@pytest.mark.claim("thm7", kind="control")
def test_it_can_even_where_no_row_of_the_node_is_redundant():
    # (2, 1), (2, −1) at node 1, (0, 1) at nodes 2 and 3: σ rises from 1/3 to 2/5.
    pair, other = [[2, 1], [2, -1]], [[0, 1]]
    assert sigma_of(pair, other, other) == sp.Rational(1, 3)
    assert sigma_of(pair[:1], pair[1:], other, other) == sp.Rational(2, 5)


@pytest.mark.claim("thm7", kind="control")
def test_a_smaller_factor_fails():
    # y = ±x/2: 4/5 a round; 1 − 1.01σ would be 0.798.
    assert Fraction(4, 5) > 1 - Fraction(101, 100) * Fraction(1, 5)


@pytest.mark.claim("thm7", kind="control")
def test_the_inverse_of_c_in_place_of_its_square_fails():
    # The printed Theorem 3 with κ = 1: (4/5)² > 1 − c⁻¹ = 3/5.
    assert Fraction(4, 5) ** 2 > 1 - Fraction(2, 5)
