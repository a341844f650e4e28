"""Lemma 6: affine subspaces that meet are separated, with c = 1/σ.

The best c obeys σ^{-1/2} ≤ c ≤ min(1/σ, √m σ^{-1/2}), and is 1 iff all S_i are equal. The printed
proof of the last part infers equal Π_i from the norm of their mean, which does not follow.
"""

import math
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from hypothesis import assume, given, settings

from localgd import AffineSubspace
from localgd.geometry import separation_constant, sigma_min
from rounds import nearest_common_point, smallest_angle_eigenvalue
from strategies import AFFINE, federations

REL = 1e-9


def subspaces(case):
    """The S_i of the case; at least one is not the whole space."""
    assume(any(len(node.normals) for node in case.nodes))
    return [AffineSubspace.from_normals(case.point, node.normals) for node in case.nodes]


def distances(case):
    """d(x_0, S) and the d(x_0, S_i)."""
    to_common = math.dist(case.x0, nearest_common_point(case, case.x0))
    return to_common, np.array([node.distance(case.x0) for node in case.nodes])


def all_equal(case):
    """Whether the projectors Π_i are the same."""
    projectors = [node.normals.T @ node.normals for node in case.nodes]
    return all(np.allclose(p, projectors[0], atol=1e-9) for p in projectors)


# The proof.


@pytest.mark.claim("lem6", kind="symbolic")
@pytest.mark.mutation("exponent", "(m * mean) ** 2 - m * mean_sq", "(m * mean) ** 2 - mean_sq")
@pytest.mark.parametrize("m", range(1, 9))
def test_three_identities_in_the_lengths(m):
    a = sp.symbols(f"a:{m}", nonnegative=True)  # a_i = ‖Π_i x‖ ≤ 1
    mean, mean_sq = sum(a) / m, sum(x**2 for x in a) / m
    # mean a ≥ mean a² = xᵀQx ≥ σ: c ≤ 1/σ
    assert sp.expand(mean - mean_sq - sum(x * (1 - x) for x in a) / m) == 0
    # Σa ≥ √Σa²: c ≤ √m σ^{-1/2}
    crossed = sum(2 * x * y for k, x in enumerate(a) for y in a[:k])
    assert sp.expand((m * mean) ** 2 - m * mean_sq - crossed) == 0
    # mean a ≤ √mean a²: c ≥ σ^{-1/2}
    pairs = sum((x - y) ** 2 for k, x in enumerate(a) for y in a[:k])
    assert sp.expand(mean_sq - mean**2 - pairs / m**2) == 0


@pytest.mark.claim("lem6", kind="symbolic")
def test_a_projector_measures_its_own_length():
    # ‖Πx‖² = xᵀΠx for Π = nnᵀ/‖n‖², so Qx = 0 makes every Π_i x vanish.
    n, x = (sp.Matrix(sp.symbols(f"{k}:3", real=True)) for k in "nx")
    Pi = n * n.T / n.dot(n)
    assert sp.simplify((Pi * x).dot(Pi * x) - x.dot(Pi * x)) == 0


@pytest.mark.claim("lem6", kind="symbolic")
def test_two_lines_in_closed_form():
    # Q = diag(sin²φ, cos²φ); on a line the distances are 0 and sin 2φ.
    phi = sp.symbols("varphi", positive=True)
    normals = [sp.Matrix([-sp.sin(t), sp.cos(t)]) for t in (phi, -phi)]
    Q = sum((n * n.T for n in normals), sp.zeros(2)) / 2
    assert sp.simplify(Q - sp.diag(sp.sin(phi) ** 2, sp.cos(phi) ** 2)) == sp.zeros(2)
    on_first = sp.Matrix([sp.cos(phi), sp.sin(phi)])
    assert sp.simplify(normals[0].dot(on_first)) == 0
    assert sp.simplify(normals[1].dot(on_first) - sp.sin(2 * phi)) == 0
    # between the lines (angle t from the axis) the sum is 2 sin φ cos t, concave in t
    t = sp.symbols("t", real=True)
    between = sp.sin(phi - t) + sp.sin(phi + t)
    assert sp.simplify(sp.expand_trig(between) - 2 * sp.sin(phi) * sp.cos(t)) == 0


@pytest.mark.claim("lem6", kind="symbolic")
def test_root_m_is_attained_only_where_sigma_is_one_over_m():
    # one a_i ≠ 0 at the bottom eigenvector: σx = Πx/m, and a projector's eigenvalues are 0 and 1
    e, m, sigma = sp.symbols("e m sigma", positive=True)
    solutions = sp.solve([e**2 - e, e - m * sigma], [e, sigma], dict=True)
    assert [s[sigma] for s in solutions] == [1 / m]
    assert sp.simplify(sp.sqrt(m) * (1 / m) ** sp.Rational(-1, 2) - m) == 0


# The inequalities over random families.


@pytest.mark.claim("lem6", kind="numeric")
@pytest.mark.mutation("constant", "each.mean() / sigma *", "each.mean() *")
@settings(max_examples=1000)
@given(federations(kinds=AFFINE))
def test_the_printed_inequality(case):
    to_common, each = distances(case)
    sigma = smallest_angle_eigenvalue(case)
    assert each.mean() <= to_common * (1 + REL) + 1e-9
    assert to_common <= each.mean() / sigma * (1 + 1e-7) + 1e-7
    assert to_common <= math.sqrt(len(each) / sigma) * each.mean() * (1 + 1e-7) + 1e-7


@pytest.mark.claim("lem6", kind="numeric")
@settings(max_examples=1000)
@given(federations(kinds=AFFINE, max_nodes=2))
def test_the_best_constant_of_one_or_two_sets(case):
    found, sigma = separation_constant(subspaces(case)), smallest_angle_eigenvalue(case)
    m = len(case.nodes)
    assert sigma**-0.5 * (1 - 1e-7) <= found.c
    assert found.c <= min(1 / sigma, math.sqrt(m / sigma)) * (1 + 1e-7)
    assert found.gap <= 1e-12
    to_common, each = distances(case)
    assert to_common <= found.c * each.mean() * (1 + 1e-7) + 1e-7
    assert (found.c < 1 + 1e-6) == all_equal(case)


@pytest.mark.claim("lem6", kind="numeric")
@settings(max_examples=100)
@given(federations(kinds=AFFINE, max_nodes=4))
def test_the_best_constant_of_more_sets(case):
    found, sigma = separation_constant(subspaces(case)), smallest_angle_eigenvalue(case)
    m = len(case.nodes)
    assert sigma**-0.5 * (1 - 1e-7) <= found.c
    assert found.upper <= min(1 / sigma, math.sqrt(m / sigma)) * (1 + 1e-6)
    to_common, each = distances(case)
    assert to_common <= found.upper * each.mean() * (1 + 1e-7) + 1e-7
    assert (found.c < 1 + 1e-6) == all_equal(case)


@pytest.mark.claim("lem6", kind="numeric")
@settings(max_examples=1000)
@given(federations(kinds=AFFINE, max_nodes=4))
def test_sigma_is_one_exactly_for_equal_sets(case):
    assert (sigma_min(subspaces(case)) > 1 - 1e-9) == all_equal(case)


@pytest.mark.claim("lem6", kind="numeric")
@pytest.mark.parametrize("m", [2, 3, 5])
def test_orthogonal_hyperplanes_attain_all_upper_bounds(m):
    sets = [AffineSubspace.from_normals(np.zeros(m), [row]) for row in np.eye(m)]
    assert sigma_min(sets) == pytest.approx(1 / m)
    assert separation_constant(sets).c == pytest.approx(m)


@pytest.mark.claim("lem6", kind="numeric")
@pytest.mark.mutation("exponent", "sigma_min(sets) ** -0.5", "sigma_min(sets) ** -1")
@pytest.mark.parametrize(("m", "phi"), [(3, 0.2), (3, 0.4), (4, 0.3)])
def test_lines_on_a_cone_attain_the_lower_bound(m, phi):
    around = 2 * math.pi * np.arange(m) / m
    s, c = math.sin(phi), math.cos(phi)
    sets = [AffineSubspace([0.0] * 3, [[s * math.cos(t), s * math.sin(t), c]]) for t in around]
    found = separation_constant(sets)
    assert found.c == pytest.approx(sigma_min(sets) ** -0.5, rel=1e-9) == pytest.approx(1 / s)
    assert found.gap <= 1.001e-6  # certified


# Negative controls.


@pytest.mark.claim("lem6", kind="control")
def test_the_gap_in_the_printed_proof():
    # ‖Q‖ = 1 = mean ‖Π_i‖, and yet Π_1 and Π_2 are no multiples of each other.
    first, second = sp.diag(1, 1, 0), sp.diag(1, 0, 1)
    Q = (first + second) / 2
    assert Q.norm(2) == first.norm(2) == second.norm(2) == 1
    assert sp.Matrix.hstack(first.vec(), second.vec()).rank() == 2
    assert min(Q.eigenvals()) == sp.Rational(1, 2)  # σ, not 1


@pytest.mark.claim("lem6", kind="control")
def test_powers_of_sigma_between_the_bounds_are_not_constants():
    # Axes of the plane: at (1, 0) d = 1 and the mean is 1/2, so c = 2 = 1/σ and no less.
    d, mean, sigma = Fraction(1), Fraction(1, 2), Fraction(1, 2)
    assert d == mean / sigma
    assert d > mean * Fraction(142, 100)  # σ^{-1/2} = √2 fails


@pytest.mark.claim("lem6", kind="control")
@settings(max_examples=200)
@given(federations(kinds=AFFINE, max_nodes=2))
def test_with_a_smaller_constant_it_fails_at_the_point_returned(case):
    sets = subspaces(case)
    found = separation_constant(sets)
    x = case.point + found.point.numpy()
    mean = np.mean([node.distance(x) for node in case.nodes])
    assert 0.99 * found.c * mean < 1


@pytest.mark.claim("lem6", kind="control")
def test_sets_that_do_not_meet_have_no_constant():
    # y = 0 and y = 1: d(x, S) has no meaning.
    sets = [AffineSubspace([0.0, h], [[1.0, 0.0]]) for h in (0.0, 1.0)]
    with pytest.raises(ValueError, match="no point in common"):
        separation_constant(sets)
