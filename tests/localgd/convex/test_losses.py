"""Losses, gradients, constants and optimal sets against independent computations."""

import numpy as np
import pytest
import torch
from hypothesis import given

from localgd import (
    AffineSubspace,
    Ball,
    HalfSpace,
    LeastSquares,
    PowerLoss,
    SquaredDistance,
    ToOptimum,
    run,
)
from strategies import distance_cases, linear_cases


def stacked(case):
    return torch.as_tensor(case.x0).expand(case.problem.num_nodes, -1).clone()


def finite_differences(problem, x, h=1e-6):
    """Return ∇f_i(x_i) by central differences, (m, d)."""
    columns = []
    for k in range(problem.dim):
        shift = torch.zeros_like(x)
        shift[:, k] = h
        columns.append((problem.evaluate(x + shift)[0] - problem.evaluate(x - shift)[0]) / (2 * h))
    return torch.stack(columns, 1)


@given(linear_cases() | linear_cases(consistent=False) | linear_cases(power=4) | distance_cases())
def test_gradient_is_the_derivative_of_the_loss(case):
    x = stacked(case)
    _, gradients = case.problem.evaluate(x)
    torch.testing.assert_close(gradients, case.problem.gradients(x), rtol=0, atol=0)
    numeric = finite_differences(case.problem, x)
    torch.testing.assert_close(gradients, numeric, rtol=1e-4, atol=1e-5)


@given(linear_cases() | linear_cases(consistent=False) | distance_cases())
def test_projection_is_the_nearest_minimiser(case):
    x = stacked(case)
    projected = case.problem.projection()(x)
    gradients = case.problem.gradients(projected)
    torch.testing.assert_close(gradients, torch.zeros_like(gradients), rtol=0, atol=1e-9)
    for i, node in enumerate(case.nodes):
        # The reference finds it another way; b off the range of A changes nothing.
        np.testing.assert_allclose(projected[i], node.project(case.x0), rtol=1e-8, atol=1e-8)


@given(linear_cases())
def test_constants_are_those_of_the_hessian(case):
    problem = case.problem
    for i, n in enumerate(problem.samples.tolist()):
        hessian = 2 * problem.A[i].T @ problem.A[i] / n
        eigenvalues = torch.linalg.eigvalsh(hessian).numpy()
        positive = eigenvalues[eigenvalues > 1e-10 * eigenvalues.max()]
        assert problem.smoothness()[i] == pytest.approx(positive.max(), rel=1e-9)
        assert problem.strong_convexity()[i] == pytest.approx(positive.min(), rel=1e-6)


@given(linear_cases())
def test_distance_is_zero_on_the_common_solution_and_orthogonal_elsewhere(case):
    problem = case.problem
    assert problem.distance(torch.as_tensor(case.solution)) == pytest.approx(0, abs=1e-7)
    A = np.vstack([problem.A[i, :n].numpy() for i, n in enumerate(problem.samples.tolist())])
    offset = case.x0 - case.solution
    expected = np.linalg.norm(np.linalg.pinv(A, rcond=1e-10) @ A @ offset)
    assert problem.distance(torch.as_tensor(case.x0)) == pytest.approx(expected, abs=1e-7)


def test_distance_is_unknown_where_the_optimal_sets_do_not_meet():
    apart = LeastSquares([[[1.0]], [[1.0]]], [[0.0], [1.0]])
    assert apart.distance(torch.zeros(1, dtype=torch.float64)) is None
    ball = SquaredDistance([Ball([0.0], 1.0)])
    assert ball.distance(torch.zeros(1, dtype=torch.float64)) is None


def test_distance_to_a_given_common_set():
    problem = SquaredDistance(
        [Ball([0.0, 1.0], 1.0), HalfSpace([0.0, 1.0], 0.0)],
        common=AffineSubspace([0.0, 0.0], []),
    )
    assert problem.distance(torch.tensor([3.0, 4.0], dtype=torch.float64)) == 5.0


def test_ragged_nodes_are_exact():
    ragged = LeastSquares([[[1.0, 2.0]], [[1.0, 0.0], [0.0, 3.0]]], [[1.0], [2.0, 3.0]])
    losses, gradients = ragged.evaluate(torch.tensor([[1.0, 1.0], [1.0, 1.0]], dtype=torch.float64))
    assert losses.tolist() == [4.0, 0.5]
    assert gradients.tolist() == [[4.0, 8.0], [-1.0, 0.0]]


def test_reduced_needs_no_more_coordinates_than_samples():
    rng = np.random.default_rng(0)
    problem = LeastSquares(
        [rng.standard_normal((3, 50)), rng.standard_normal((2, 50))], [[1] * 3, [1] * 2]
    )
    small, basis = problem.reduced()
    assert small.dim == 5
    assert basis.shape == (5, 50)
    np.testing.assert_allclose(small.smoothness(), problem.smoothness(), rtol=1e-12)


def test_a_zero_block_has_no_strong_convexity_constant():
    flat = LeastSquares([[[0.0, 0.0]]], [[1.0]])
    assert flat.smoothness().tolist() == [0.0]
    with pytest.raises(ValueError, match="A of node 0 is zero"):
        flat.strong_convexity()


@pytest.mark.parametrize("kind", [LeastSquares, PowerLoss])
@pytest.mark.parametrize(
    ("A", "b", "message"),
    [
        ([], [], "A holds 0 nodes and b 0"),
        ([[[1.0]]], [[1.0], [2.0]], "A holds 1 nodes and b 2"),
        ([[1.0]], [[1.0]], r"A of node 0 has shape \(1,\), expected \(n_i, d\)"),
        ([[[1.0]], [[1.0, 2.0]]], [[1.0], [1.0]], r"A of node 1 has shape \(1, 2\)"),
        ([[[1.0]], np.zeros((0, 1))], [[1.0], []], "node 1 is empty"),
        ([[[1.0]]], [[1.0, 2.0]], r"b of node 0 has shape \(2,\), expected \(1,\)"),
        ([[[1.0]], [[np.nan]]], [[1.0], [1.0]], r"A of node 1 holds nan at index \(0, 0\)"),
        ([[[1.0]], [[1.0]]], [[1.0], [np.inf]], r"b of node 1 holds inf at index \(0,\)"),
    ],
)
def test_bad_data_is_refused_with_node_and_array(kind, A, b, message):
    with pytest.raises(ValueError, match=message):
        kind(A, b)


@pytest.mark.parametrize("power", [2, 3, 5, 0, -4])
def test_power_must_be_even_and_at_least_four(power):
    with pytest.raises(ValueError, match=f"power={power} must be an even integer ≥ 4"):
        PowerLoss([[[1.0]]], [[1.0]], power=power)


def test_sets_must_share_a_dimension():
    with pytest.raises(ValueError, match="sets is empty"):
        SquaredDistance([])
    with pytest.raises(ValueError, match=r"the set of node 1 is in R\^2, expected R\^1"):
        SquaredDistance([Ball([0.0], 1.0), Ball([0.0, 0.0], 1.0)])
    with pytest.raises(ValueError, match=r"the set of common is in R\^2"):
        SquaredDistance([Ball([0.0], 1.0)], common=Ball([0.0, 0.0], 1.0))


@pytest.mark.parametrize("slow", [1e-6, 1e-7, 1e-8])
def test_the_closed_form_keeps_the_digits_of_slow_directions(slow):
    problem = LeastSquares([np.diag([1.0, slow])], [np.ones(2)])
    T = 200_000
    trace = run(problem, local_steps=T, step_size=0.5, rounds=1, engine="closed")
    exact = -np.expm1(T * np.log1p(-0.5 * slow**2)) / slow
    np.testing.assert_allclose(trace.x, [1.0, exact], rtol=1e-12)


def test_rank_and_slow_directions_are_those_of_the_data_in_any_precision():
    rng = np.random.default_rng(0)
    deficient = rng.normal(size=(6, 3)) @ rng.normal(size=(3, 5))
    target = deficient @ rng.normal(size=5) + 0.1 * rng.normal(size=6)
    problem = LeastSquares([deficient, rng.normal(size=(2, 5))], [target, rng.normal(size=2)])
    for local_steps in (1000, 10**6, ToOptimum()):
        call = {"local_steps": local_steps, "step_size": 0.01, "rounds": 3}
        single = run(problem, dtype=torch.float32, **call)
        double = run(problem, **call)
        assert single.x.dtype == np.float32
        np.testing.assert_allclose(single.loss, double.loss, rtol=1e-5)
        np.testing.assert_allclose(single.x, double.x, rtol=1e-4, atol=1e-6)
    rounded = problem.to(torch.device("cpu"), torch.float32)
    np.testing.assert_array_equal(rounded.strong_convexity(), problem.strong_convexity())
    assert rounded.to(torch.device("cpu"), torch.float64).A.equal(problem.A)


@pytest.mark.parametrize("kind", ["scipy", "torch"])
def test_sparse_arrays_are_named(kind):
    import scipy.sparse

    A = scipy.sparse.eye(3) if kind == "scipy" else torch.eye(3).to_sparse()
    with pytest.raises(ValueError, match=r"A of node 1 is sparse: give it dense \(\.to"):
        LeastSquares([np.eye(3), A], [np.ones(3)] * 2)


def test_one_sparse_matrix_for_all_nodes_is_named():
    import scipy.sparse

    with pytest.raises(ValueError, match="A is one sparse matrix: give a list of dense ones"):
        LeastSquares(scipy.sparse.csr_array(np.eye(3)), [np.ones(3)] * 3)
