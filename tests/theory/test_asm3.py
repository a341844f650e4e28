"""Assumption 3: d(x, S) ≤ c · (1/m) Σ d(x, S_i), with c the best constant.

c ≥ 1 wherever S is not the whole space, and "c > 1" excludes nothing: where 1 will do, so will 2.
With c₂ the best constant in d(x, S)² ≤ c₂² (1/m) Σ d(x, S_i)²: c₂ ≤ c ≤ √m c₂, and c₂² = 1/σ for
affine sets.
"""

import math
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import separation
from localgd import AffineSubspace
from localgd.geometry import sigma_min
from rounds import nearest_common_point, smallest_angle_eigenvalue, stacked_normals
from strategies import AFFINE, federations

REL = 1e-9

line_families = st.lists(st.integers(0, 359), min_size=2, max_size=8, unique=True).map(
    lambda ticks: np.array(ticks) * math.pi / 360
)


def normals_of(angles):
    """Unit normals of lines through the origin at `angles`, one a row."""
    return np.stack([np.sin(angles), -np.cos(angles)], axis=1)


@pytest.mark.claim("asm3", kind="symbolic")
@pytest.mark.mutation("constant", "sum(crossed) / m)", "2 * sum(crossed) / m)")
@pytest.mark.parametrize("m", range(1, 9))
def test_the_two_constants_compare_by_norms(m):
    # mean ≤ root mean square gives c₂ ≤ c; (Σ a_i)² ≥ Σ a_i² gives c ≤ √m c₂.
    a = sp.symbols(f"a:{m}", nonnegative=True)
    mean, mean_sq = sum(a) / m, sum(x**2 for x in a) / m
    pairs = [(x - y) ** 2 for k, x in enumerate(a) for y in a[:k]]
    assert sp.expand(mean_sq - mean**2 - sum(pairs) / m**2) == 0
    crossed = [2 * x * y for k, x in enumerate(a) for y in a[:k]]
    assert sp.expand(m * mean**2 - mean_sq - sum(crossed) / m) == 0


@pytest.mark.claim("asm3", kind="numeric")
@settings(max_examples=1000)
@given(federations())
def test_c_is_at_least_one(case):
    # S ⊆ S_i: no d(x, S_i) exceeds d(x, S), so the ratio is at least 1 wherever x ∉ S.
    to_common = math.dist(case.x0, nearest_common_point(case, case.x0))
    distances = [node.distance(case.x0) for node in case.nodes]
    assert np.mean(distances) <= max(distances) <= to_common * (1 + REL) + 1e-9


@pytest.mark.claim("asm3", kind="numeric")
@pytest.mark.mutation("inequality", "c2 * (1 - REL) <= c <=", "c2 * (1 - REL) >= c >=")
@settings(max_examples=1000)
@given(line_families, st.integers(0, 3599))
def test_lines_in_the_plane(angles, tick):
    normals, m = normals_of(angles), len(angles)
    c, c2 = separation.of_lines(angles), math.sqrt(m) / np.linalg.svd(normals)[1][-1]
    assert c2 * (1 - REL) <= c <= math.sqrt(m) * c2 * (1 + REL)
    x = np.array([math.cos(tick * math.pi / 1800), math.sin(tick * math.pi / 1800)])
    distances = np.abs(normals @ x)
    assert c * distances.mean() >= 1 - REL
    assert c2 * math.sqrt((distances**2).mean()) >= 1 - REL
    # attained on one of the lines
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert c * np.abs(directions @ normals.T).mean(1).min() == pytest.approx(1, rel=1e-9)


@pytest.mark.claim("asm3", kind="numeric")
@settings(max_examples=1000)
@given(federations(kinds=AFFINE, max_nodes=2))
def test_two_affine_sets_of_any_dimension(case):
    assume(len(case.nodes) == 2 and any(len(node.normals) for node in case.nodes))
    sigma = smallest_angle_eigenvalue(case)
    c, c2 = separation.of_two_subspaces(sigma), sigma**-0.5
    assert c2 * (1 - REL) <= c <= math.sqrt(2) * c2 * (1 + REL)
    to_common = math.dist(case.x0, nearest_common_point(case, case.x0))
    distances = [node.distance(case.x0) for node in case.nodes]
    assert to_common <= c * np.mean(distances) * (1 + REL) + 1e-9
    assert to_common <= c2 * math.sqrt(np.mean(np.square(distances))) * (1 + REL) + 1e-9
    # attained by the eigenvector of σ, moved into one of the two sets
    _, singular, right = np.linalg.svd(stacked_normals(case), full_matrices=False)
    worst = case.point + right[(singular > 1e-8).sum() - 1]
    if sigma < 0.75:
        worst = max((n.project(worst) for n in case.nodes), key=lambda x: math.dist(x, case.point))
    mean = np.mean([node.distance(worst) for node in case.nodes])
    assert math.dist(worst, nearest_common_point(case, worst)) == pytest.approx(c * mean, rel=1e-7)


@pytest.mark.claim("asm3", kind="numeric")
@pytest.mark.mutation("constant", "sigma * to_common**2 <=", "1.5 * sigma * to_common**2 <=")
@settings(max_examples=1000)
@given(federations(kinds=AFFINE))
def test_squared_constant_is_one_over_sigma(case):
    assume(any(len(node.normals) for node in case.nodes))  # else S is the whole space
    sigma = smallest_angle_eigenvalue(case)
    to_common = math.dist(case.x0, nearest_common_point(case, case.x0))
    mean_square = np.mean([node.distance(case.x0) ** 2 for node in case.nodes])
    assert sigma * to_common**2 <= mean_square * (1 + REL) + 1e-10
    _, singular, right = np.linalg.svd(stacked_normals(case), full_matrices=False)
    worst = case.point + right[(singular > 1e-8).sum() - 1]
    attained = np.mean([node.distance(worst) ** 2 for node in case.nodes])
    assert attained == pytest.approx(sigma, rel=1e-7)


@pytest.mark.claim("asm3", kind="numeric")
@given(federations(kinds=AFFINE))
def test_the_library_knows_sigma(case):
    assume(any(len(node.normals) for node in case.nodes))
    sets = [AffineSubspace.from_normals(case.point, node.normals) for node in case.nodes]
    assert sigma_min(sets) == pytest.approx(smallest_angle_eigenvalue(case), rel=1e-9)


@pytest.mark.claim("asm3", kind="numeric")
@settings(max_examples=200)
@given(federations(kinds=AFFINE, max_nodes=2))
def test_c_is_one_exactly_where_all_sets_are_equal(case):
    # "c > 1" leaves equal sets in: they satisfy the assumption with 1, and so with 2
    assume(len(case.nodes) == 2 and all(len(node.normals) for node in case.nodes))
    one, other = (node.normals.T @ node.normals for node in case.nodes)
    sigma = smallest_angle_eigenvalue(case)
    equal = np.abs(one - other).max() < 1e-9
    assert (sigma > 1 - 1e-9) == equal
    assert (separation.of_two_subspaces(sigma) < 1 + 1e-9) == equal


# Negative controls.


@pytest.mark.claim("asm3", kind="control")
@given(federations(kinds=AFFINE))
def test_below_one_it_fails_everywhere_off_the_intersection(case):
    to_common = math.dist(case.x0, nearest_common_point(case, case.x0))
    assume(to_common > 1e-6)
    assert to_common > 0.99 * np.mean([node.distance(case.x0) for node in case.nodes])


@pytest.mark.claim("asm3", kind="control")
def test_the_factor_root_m_is_needed_and_attained():
    # The axes of the plane: c = 2 = √2 · √2 with c₂ = √2; and y = ±x/2: c = 5/2 > c₂ = √5.
    axes = np.array([0.0, math.pi / 2])
    assert separation.of_lines(axes) == pytest.approx(2)
    assert np.linalg.svd(normals_of(axes))[1][-1] == pytest.approx(1)  # σ = 1/2
    # at (2, 1), on one line, the other is at distance 4/√5: d = √5, mean d_i = 2/√5
    d_sq, mean_sq = Fraction(5), (Fraction(4) / 2) ** 2 / 5
    assert d_sq == Fraction(5, 2) ** 2 * mean_sq
    assert d_sq > 5 * mean_sq  # c₂² = 1/σ = 5 in place of c² fails


@pytest.mark.claim("asm3", kind="control")
@given(line_families)
def test_with_a_smaller_c_it_fails(angles):
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    means = np.abs(directions @ normals_of(angles).T).mean(1)
    assert 0.99 * separation.of_lines(angles) * means.min() < 1


@pytest.mark.claim("asm3", kind="control")
@pytest.mark.parametrize("c", [2, 10, 1000])
def test_touching_sets_have_no_constant(c):
    # y = 0 and the parabola y ≥ x²: at (x, x²) the mean distance is x²/2 and d(x, S) ≥ x.
    x = Fraction(1, c)
    assert x > c * x**2 / 2
