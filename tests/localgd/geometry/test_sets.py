"""Projections, intersections, σ and exact contraction factors."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from localgd import AffineSubspace, Ball, HalfSpace, LeastSquares, SquaredDistance, run
from localgd.geometry import intersection, sigma_min
from localgd.theory import contraction_factor
from strategies import distance_cases, linear_cases


def lines(*angles: float) -> list[AffineSubspace]:
    """Lines through the origin of the plane at the given angles."""
    return [AffineSubspace([0.0, 0.0], [[math.cos(a), math.sin(a)]]) for a in angles]


@given(distance_cases(), st.integers(0, 10**6))
def test_projection_satisfies_its_variational_inequality(case, seed):
    # y = P(x) ⇔ y in the set and ⟨x − y, z − y⟩ ≤ 0 for every z in the set.
    rng = np.random.default_rng(seed)
    x = torch.as_tensor(case.x0)
    for convex_set in case.problem.sets:
        y = convex_set.project(x)
        z = convex_set.project(torch.as_tensor(rng.standard_normal(case.problem.dim) * 3))
        assert float(convex_set.distance(y)) == pytest.approx(0, abs=1e-9)
        assert float((x - y) @ (z - y)) <= 1e-9


def test_a_point_inside_stays_bit_for_bit():
    x = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)
    for inside in (Ball([0.0, 0.0, 0.0], 1.0), HalfSpace([1.0, 1.0, 1.0], 5.0)):
        assert torch.equal(inside.project(x), x)
    assert torch.equal(Ball([0.1, 0.2, 0.3], 0.0).project(x), x)


def test_affine_subspace_two_ways():
    x = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    plane = [
        AffineSubspace([0.0, 0.0, 1.0], [[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [2.0, 1.0, 0.0]]),
        AffineSubspace.from_normals([5.0, 5.0, 1.0], [[0.0, 0.0, 7.0], [0.0, 0.0, 1.0]]),
    ]
    for same in plane:
        np.testing.assert_allclose(same.project(x), [1.0, 2.0, 1.0], atol=1e-15)
        assert float(same.distance(x)) == pytest.approx(2.0)


def test_a_point_and_the_whole_space_are_affine_subspaces():
    x = torch.tensor([3.0, 4.0], dtype=torch.float64)
    point = AffineSubspace([0.0, 0.0], [])
    whole = AffineSubspace([0.0, 0.0], np.eye(2))
    assert float(point.distance(x)) == 5.0
    assert float(whole.distance(x)) == 0.0


def test_intersection_of_lines_is_their_point_and_of_parallels_nothing():
    here = AffineSubspace([1.0, 2.0], [[1.0, 0.0]])
    across = AffineSubspace([1.0, 2.0], [[1.0, 1.0]])
    above = AffineSubspace([1.0, 3.0], [[1.0, 0.0]])
    met = intersection([here, across])
    assert met is not None
    np.testing.assert_allclose(met.point, [1.0, 2.0], atol=1e-12)
    assert met.normals.shape == (2, 2)
    assert intersection([here, above]) is None


@given(st.floats(1e-4, math.pi / 4))
def test_sigma_of_two_lines_at_angle_two_phi(phi):
    # Q has the eigenvalues sin²φ and cos²φ.
    assert sigma_min(lines(phi, -phi)) == pytest.approx(math.sin(phi) ** 2, rel=1e-6)


@given(distance_cases(kinds=("affine",)))
def test_sigma_is_the_smallest_non_zero_eigenvalue(case):
    projectors = [s.normals.T @ s.normals for s in case.problem.sets]
    Q = sum(projectors) / len(projectors)
    eigenvalues = torch.linalg.eigvalsh(Q).numpy()
    positive = eigenvalues[eigenvalues > 1e-9]
    if positive.size == 0:
        with pytest.raises(ValueError, match="every set is the whole space"):
            sigma_min(case.problem.sets)
    else:
        assert sigma_min(case.problem.sets) == pytest.approx(positive.min(), rel=1e-6)


@given(st.floats(1e-3, math.pi / 4))
def test_factor_of_two_lines_is_one_minus_sigma_at_infinity(phi):
    problem = SquaredDistance(lines(phi, -phi))
    assert contraction_factor(problem, math.inf, 0.25) == pytest.approx(math.cos(phi) ** 2)
    # One step of η = 1/4 on d² halves the normal part: 1 − σ/2.
    assert contraction_factor(problem, 1, 0.25) == pytest.approx(1 - math.sin(phi) ** 2 / 2)


@given(linear_cases(), st.integers(1, 40))
def test_no_round_shrinks_the_distance_less_than_the_factor(case, T):
    factor = contraction_factor(case.problem, T, case.etas)
    trace = run(case.problem, case.x0, local_steps=T, step_size=case.etas, rounds=3)
    assert np.all(trace.dist[1:] <= factor * trace.dist[:-1] + 1e-7)


@given(linear_cases(), st.integers(1, 40))
def test_factor_is_attained_by_its_eigenvector(case, T):
    problem, dim = case.problem, case.problem.dim
    round_map = np.zeros((dim, dim))
    for i, (n, eta) in enumerate(zip(problem.samples.tolist(), case.etas, strict=True)):
        A = problem.A[i].numpy()
        step = np.eye(dim) - eta * 2 * A.T @ A / n
        round_map += np.linalg.matrix_power(step, T) / problem.num_nodes
    eigenvalues = np.abs(np.linalg.eigvalsh(round_map))
    inside = eigenvalues[eigenvalues < 1 - 1e-9]
    expected = inside.max() if inside.size else 0.0
    if expected < 1 - 1e-6:  # else the tolerance decides what counts as a fixed point
        assert contraction_factor(problem, T, case.etas) == pytest.approx(expected, abs=1e-9)


def test_factor_takes_the_steps_of_each_node():
    # Orthogonal axes in the plane: M = diag(1 + (1 − η₁L)^{T₁}, 1 + (1 − η₂L)^{T₂})/2, L = 2.
    problem = SquaredDistance(lines(0.0, math.pi / 2))
    factor = contraction_factor(problem, [3, 1], [0.25, 0.1])
    assert factor == pytest.approx((1 + max(0.5**3, 0.8)) / 2)
    assert contraction_factor(problem, [1, 9], [0.1, 0.25]) == pytest.approx((1 + 0.8) / 2)


def test_factor_of_a_problem_without_curvature_is_zero():
    assert contraction_factor(LeastSquares([[[0.0]]], [[1.0]]), 1, 0.1) == 0.0


def test_factor_refuses_what_it_cannot_compute():
    with pytest.raises(ValueError, match="SquaredDistance is not quadratic"):
        contraction_factor(SquaredDistance([Ball([0.0], 1.0)]), 1, 0.1)
    with pytest.raises(ValueError, match="local_steps=0 must be ≥ 1"):
        contraction_factor(LeastSquares([[[1.0]]], [[1.0]]), 0, 0.1)
    with pytest.raises(ValueError, match="not below 2/L"):
        contraction_factor(LeastSquares([[[1.0]]], [[1.0]]), 1, 1.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Ball([0.0], -1.0), "radius=-1.0 must be a finite number ≥ 0"),
        (lambda: Ball([[0.0]], 1.0), r"center has shape \(1, 1\)"),
        (lambda: Ball([math.nan], 1.0), "center holds a NaN"),
        (lambda: HalfSpace([0.0, 0.0], 1.0), "normal is the zero vector"),
        (lambda: HalfSpace([1.0], math.inf), "offset=inf must be finite"),
        (lambda: AffineSubspace([0.0, 0.0], [[1.0]]), r"directions has shape \(1, 1\)"),
        (lambda: AffineSubspace([0.0], [[math.inf]]), "directions holds a NaN"),
    ],
)
def test_bad_sets_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
