"""The saturated distance: loss, gradient, constant, projection, and Algorithm 1 on it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from localgd import AffineSubspace, Ball, ToOptimum, UntilStationary, run
from localgd.convex import SaturatedDistance
from localgd.theory import contraction_factor
from reference import Node, local_gd
from strategies import distance_cases


def saturated(case):
    """The case's sets under SaturatedDistance, and the same nodes in NumPy."""

    def twin(node):
        def loss(x):
            s = float(np.linalg.norm(x - node.project(x)))
            return s**2 / (1 + s**2)

        def gradient(x):
            gap = x - node.project(x)
            return 2 * gap / (1 + gap @ gap) ** 2

        return Node(loss, gradient, node.project)

    return SaturatedDistance(case.problem.sets), [twin(node) for node in case.nodes]


def stacked(problem, x):
    return torch.as_tensor(x).expand(problem.num_nodes, -1).clone()


@given(distance_cases())
def test_loss_and_gradient_against_the_definition_and_finite_differences(case):
    problem, nodes = saturated(case)
    x, h = stacked(problem, case.x0), 1e-6
    losses, gradients = problem.evaluate(x)
    np.testing.assert_allclose(losses, [n.loss(case.x0) for n in nodes], rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(gradients, [n.gradient(case.x0) for n in nodes], atol=1e-9)
    for k in range(problem.dim):
        shift = torch.zeros_like(x)
        shift[:, k] = h
        slope = (problem.evaluate(x + shift)[0] - problem.evaluate(x - shift)[0]) / (2 * h)
        torch.testing.assert_close(gradients[:, k], slope, rtol=1e-4, atol=1e-5)


@settings(max_examples=50)
@given(distance_cases(), st.integers(1, 5))
def test_algorithm_1_against_the_plain_loop(case, T):
    problem, nodes = saturated(case)
    trace = run(problem, case.x0, local_steps=T, step_size=case.etas, rounds=5)
    plain = local_gd(nodes, case.x0, etas=case.etas, rounds=5, steps=[T] * len(nodes))
    n = len(trace)  # a run that freezes ends early
    np.testing.assert_allclose(trace.loss, plain.loss[:n], rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(trace.grad_norm_sq, plain.grad_norm_sq[:n], rtol=1e-6, atol=1e-10)
    np.testing.assert_allclose(trace.x, plain.x[-1], rtol=1e-7, atol=1e-9)


@given(distance_cases(), st.integers(0, 10**6))
def test_gradient_is_lipschitz_with_constant_two(case, seed):
    problem, _ = saturated(case)
    rng = np.random.default_rng(seed)
    x, step = 2 * rng.standard_normal((2, problem.num_nodes, problem.dim))
    x, y = torch.as_tensor(x), torch.as_tensor(x + 0.1 * step)
    change = torch.linalg.vector_norm(problem.gradients(x) - problem.gradients(y), dim=1)
    length = torch.linalg.vector_norm(x - y, dim=1)
    assert bool((change <= 2 * length * (1 + 1e-12) + 1e-14).all())
    assert problem.smoothness().tolist() == [2.0] * problem.num_nodes


def test_the_constant_two_is_attained_at_the_set():
    problem = SaturatedDistance([AffineSubspace([0.0], [])])
    slope = problem.gradients(torch.tensor([[1e-6]], dtype=torch.float64)) / 1e-6
    assert float(slope) == pytest.approx(2, rel=1e-9)


@given(distance_cases(kinds=("affine",)))
def test_projection_and_distance_are_those_of_the_sets(case):
    problem, _ = saturated(case)
    x = stacked(problem, case.x0)
    torch.testing.assert_close(problem.projection()(x), case.problem.projection()(x))
    assert problem.distance(torch.as_tensor(case.x0)) == case.problem.distance(
        torch.as_tensor(case.x0)
    )
    projected = problem.projection()(x)
    torch.testing.assert_close(problem.gradients(projected), torch.zeros_like(x))


@settings(max_examples=25)
@given(distance_cases(kinds=("affine",)))
def test_local_descent_ends_in_the_projection(case):
    problem, _ = saturated(case)
    etas = [min(eta, 0.6) for eta in case.etas]
    near = UntilStationary(1e-20, 100_000)
    stepped = run(problem, case.x0 / 3, local_steps=near, step_size=etas, rounds=1)
    exact = run(problem, case.x0 / 3, local_steps=ToOptimum(), step_size=etas, rounds=1)
    assert stepped.met[1].all()
    np.testing.assert_allclose(stepped.x, exact.x, atol=1e-8)


def test_far_away_and_close_by_no_digit_is_lost():
    problem = SaturatedDistance([AffineSubspace([0.0], [])])
    for s, loss in ((1e-9, 1e-18), (1e9, 1 - 1e-18), (1e200, 1.0)):
        losses, gradients = problem.evaluate(torch.tensor([[s]], dtype=torch.float64))
        assert float(losses) == pytest.approx(loss, rel=1e-15)
        assert float(gradients) == pytest.approx(
            2 * s / (1 + s**2) ** 2 if s < 1e9 else 0, abs=1e-26
        )


def test_it_is_not_quadratic_and_has_no_exact_factor_or_closed_form():
    problem = SaturatedDistance([AffineSubspace([0.0], [])])
    assert problem.hessian_spectra() is None
    assert problem.closed_form(np.array([0.25])) is None
    with pytest.raises(ValueError, match="SaturatedDistance is not quadratic"):
        contraction_factor(problem, 1, 0.5)


def test_it_is_not_convex_but_its_sublevel_sets_are():
    problem = SaturatedDistance([AffineSubspace([0.0], [])])
    x = torch.tensor([[1.0], [2.0], [3.0]], dtype=torch.float64)
    low, middle, high = (float(problem.evaluate(row[None])[0]) for row in x)
    assert middle > (low + high) / 2
    assert middle <= max(low, high)


def test_other_types_and_common_sets_are_kept():
    ball = Ball([0.0, 0.0], 1.0)
    problem = SaturatedDistance([ball, ball], common=ball)
    moved = problem.to(torch.device("cpu"), torch.float32)
    assert isinstance(moved, SaturatedDistance)
    assert moved.dtype == torch.float32
    assert moved.distance(torch.tensor([3.0, 4.0])) == pytest.approx(4.0)
    with pytest.raises(ValueError, match="not below 2/L = 1"):
        run(problem, [3.0, 4.0], local_steps=1, step_size=1.0, rounds=1)
    landed = run(problem, [3.0, 4.0], local_steps=ToOptimum(), step_size=0.5, rounds=1)
    assert landed.dist[1] == pytest.approx(0, abs=1e-12)
