"""Functions through a table: exact at its points, convex, smooth; refused where there is none."""

import numpy as np
import pytest
import torch

from localgd.theory import worst_case_any_nodes
from localgd.theory.interpolation import InterpolatedLosses, QuadraticLosses


def table(mu=0.0):
    case = worst_case_any_nodes(2, 2, strong_convexity=mu, measure="grad_norm_sq", margin=1e-6)
    return case, case.problem()


def values(problem, x):
    """f_1 and ∇f_1 at x."""
    losses, gradients = problem.evaluate(torch.as_tensor(np.tile(x, (problem.num_nodes, 1))))
    return float(losses[0]), gradients[0].numpy()


@pytest.mark.parametrize("mu", [0.0, 0.3])
def test_it_has_the_values_and_gradients_of_the_table(mu):
    case, problem = table(mu)
    for x, g, f in zip(case.points[0], case.gradients[0], case.losses[0], strict=True):
        loss, gradient = values(problem, x)
        assert loss == pytest.approx(f, abs=1e-8)
        assert gradient == pytest.approx(g, abs=1e-6)
    assert values(problem, np.zeros(problem.dim))[0] == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize("mu", [0.0, 0.3])
def test_it_is_smooth_and_strongly_convex(mu):
    _, problem = table(mu)
    rng = np.random.default_rng(0)
    for _ in range(40):
        x, y = rng.standard_normal((2, problem.dim))
        (f, g), (f_y, g_y) = values(problem, x), values(problem, y)
        gap = f_y - f - g @ (y - x)
        change, distance = np.sum((g - g_y) ** 2), np.sum((x - y) ** 2)
        assert mu / 2 * distance - 1e-7 <= gap <= distance / 2 + 1e-7
        assert change <= distance * (1 + 1e-6)


def test_a_table_of_no_smooth_convex_function_is_refused():
    points = [np.array([[0.0], [1.0]])]
    with pytest.raises(ValueError, match="table of node 0 is not that of a 1-smooth convex"):
        InterpolatedLosses(points, [np.array([[0.0], [3.0]])], [np.array([0.0, 0.5])])


def test_quadratics_are_recovered_from_their_gradients():
    rng = np.random.default_rng(1)
    A = rng.standard_normal((2, 3))
    H, x = A.T @ A, rng.standard_normal((5, 3))
    problem = QuadraticLosses([x], [x @ H])
    assert problem.H[0].numpy() == pytest.approx(H, abs=1e-10)
    assert problem.smoothness()[0] == pytest.approx(np.linalg.eigvalsh(H)[-1])


def test_they_stay_in_double_precision():
    _, problem = table()
    with pytest.raises(ValueError, match="float64"):
        problem.to(torch.device("cpu"), torch.float32)
