"""Columns and rows of very different scales: rank, projection, distance, loss as in scaled ones."""

import numpy as np
import pytest
import torch

from localgd import LeastSquares, PowerLoss, ToOptimum, run
from localgd.geometry import graded

SHAPES = [(6, 3), (4, 4), (3, 6), (20, 5)]
SPANS = [0, 3, 6, 9, 12]


def scaled_system(n, d, span, seed, rank=None):
    """B of full or given rank, and column scales between 10^−span and 10^span."""
    rng = np.random.default_rng(seed)
    B = rng.standard_normal((n, d))
    if rank is not None:
        B = rng.standard_normal((n, rank)) @ rng.standard_normal((rank, d))
    return B, 10.0 ** rng.permutation(np.linspace(-span, span, d)), rng.standard_normal(d)


@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_no_scale_of_columns_or_rows_changes_the_rank(n, d, span):
    for rank in range(1, min(n, d) + 1):
        B, columns, _ = scaled_system(n, d, span, seed=rank, rank=rank)
        rows = 10.0 ** np.linspace(span, -span, n)
        assert np.linalg.matrix_rank(B) == rank
        assert graded.numerical_rank(B * columns) == rank
        assert graded.numerical_rank(B * rows[:, None]) == rank
        assert len(graded.factors(torch.from_numpy(B * columns))[1]) == rank


def test_a_zero_matrix_has_rank_zero():
    assert graded.numerical_rank(np.zeros((3, 4))) == 0
    A, b = [np.zeros((3, 4)), np.ones((2, 4))], [np.ones(3), np.ones(2)]
    assert LeastSquares(A, b).smoothness()[0] == 0.0


@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize(("n", "d"), [(6, 3), (4, 4), (20, 5)])
@pytest.mark.parametrize("consistent", [True, False])
def test_the_optimum_is_that_of_the_scaled_problem(n, d, span, consistent):
    B, columns, z = scaled_system(n, d, span, seed=7)
    b = B @ z + (0 if consistent else np.linspace(-1, 1, n))
    problem = LeastSquares([B * columns], [b])
    expected = np.linalg.lstsq(B, b, rcond=None)[0]
    eta = 0.9 / problem.smoothness()[0]
    trace = run(problem, local_steps=ToOptimum(), step_size=eta, rounds=3)
    np.testing.assert_allclose(trace.x * columns, expected, rtol=1e-9, atol=1e-12)
    least = float(((B @ expected - b) ** 2).mean())
    np.testing.assert_allclose(trace.loss[1:], least, rtol=1e-9, atol=1e-24)
    start = np.linalg.norm(expected / columns)
    np.testing.assert_allclose(trace.dist[0], start, rtol=1e-9)
    assert (trace.dist[1:] <= 1e-9 * start).all()


@pytest.mark.parametrize("span", SPANS)
def test_nodes_that_differ_in_a_small_column_alone_meet_in_one_point(span):
    # Rows (s, ε) and (s, −ε): the angle between them is 2ε/s.
    s, eps = 10.0**span, 10.0**-span
    A, b = [np.array([[s, eps]]), np.array([[s, -eps]])], [np.array([3.0]), np.array([-1.0])]
    meeting = np.array([1.0 / s, 2.0 / eps])
    problem = LeastSquares(A, b)
    at = torch.as_tensor(meeting)
    assert problem.distance(at) <= 1e-9 * np.linalg.norm(meeting)
    np.testing.assert_allclose(
        problem.distance(torch.zeros(2, dtype=torch.float64)), np.linalg.norm(meeting), rtol=1e-9
    )
    assert PowerLoss(A, b).distance(torch.zeros(2, dtype=torch.float64)) is not None
    apart = LeastSquares([A[0], A[0]], [b[0], b[0] + 1])
    assert apart.distance(at) is None


@pytest.mark.parametrize("span", SPANS)
def test_a_projection_solves_the_equations_to_rounding(span):
    B, columns, z = scaled_system(3, 6, span, seed=3)
    b = B @ z
    problem = LeastSquares([B * columns], [b])
    x = torch.as_tensor(np.random.default_rng(1).standard_normal((1, 6)) / columns)
    project = problem.projection()
    for _ in range(3):
        x = project(x)
        assert float(problem.evaluate(x)[0]) <= 1e-24
    # x is the nearest: what was moved is in the row space, and a shorter move does not do
    assert problem.solution_sets()[0].normals.shape == (3, 6)


@pytest.mark.parametrize("span", SPANS)
def test_the_constants_keep_the_smallest_direction(span):
    # Orthogonal columns: the eigenvalues of 2AᵀA/n are 2‖a_k‖²/n.
    Q = np.linalg.qr(np.random.default_rng(0).standard_normal((5, 3)))[0]
    columns = 10.0 ** np.array([span, 0.0, -span])
    problem = LeastSquares([Q * columns], [np.ones(5)])
    np.testing.assert_allclose(problem.smoothness()[0], 2 * columns[0] ** 2 / 5, rtol=1e-9)
    np.testing.assert_allclose(problem.strong_convexity()[0], 2 * columns[2] ** 2 / 5, rtol=1e-9)
    assert len(problem.hessian_spectra()[0].values) == 3


def dependent_system(span):
    """Two dependent columns far above three others, the largest 10^span; and a start."""
    B = np.array([[1.0, -3.0, -2.0, -2.0, -2.0], [-1, 1, 2, 0, -2], [1, 2, -2, -2, 2]])
    columns = 10.0 ** (span * np.array([0.7, -0.8, 1.0, -1.0, -0.7]))
    return LeastSquares([B * columns], [np.array([1.0, 2.0, -1.0])]), 1 / columns


@pytest.mark.parametrize("span", [3, 6])
def test_dependent_columns_are_solved_where_the_small_ones_are_above_their_rounding(span):
    problem, start = dependent_system(span)
    eta = 0.5 / problem.smoothness()[0]
    trace = run(problem, start, local_steps=ToOptimum(), step_size=eta, rounds=1)
    assert trace.loss[1] <= 1e-12 * trace.loss[0]


@pytest.mark.parametrize("span", [10, 12])
def test_a_projection_that_rounding_would_spoil_is_refused(span):
    problem, start = dependent_system(span)
    call = {"step_size": 0.5 / problem.smoothness()[0], "rounds": 1}
    with pytest.raises(ValueError, match="nearest minimiser of node 0 is lost in rounding"):
        run(problem, start, local_steps=ToOptimum(), **call)
    assert run(problem, start, local_steps=1, **call).dist is None
