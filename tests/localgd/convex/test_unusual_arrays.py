"""Arrays that hold no plain numbers are refused by name; those of another layout are read."""

import numpy as np
import pytest
import torch
from torch import nn

from localgd import LeastSquares, NetworkProblem, ToOptimum, run
from modules import CROSS_ENTROPY

MASKED = np.ma.masked_array([[1.0, 999.0], [1.0, 2.0]], [[0, 1], [0, 0]])
CALL = {"local_steps": 1, "step_size": 0.1, "rounds": 1}


@pytest.mark.parametrize(
    ("A", "message"),
    [
        (MASKED, "A of node 0 has masked entries"),
        (np.eye(2) + 1j, "A of node 0 holds complex128"),
        (np.full((2, 2), np.datetime64("2020-01-01")), r"A of node 0 holds datetime64\[D\]"),
        (np.full((2, 2), "1"), "A of node 0 holds <U1"),
    ],
)
def test_what_holds_no_plain_numbers_is_refused(A, message):
    with pytest.raises(ValueError, match=message):
        LeastSquares([A], [np.ones(2)])


@pytest.mark.parametrize(
    "A",
    [
        np.array([[2.0, 1.0], [3.0, 4.0]])[:, ::-1],
        np.array([[1.0, 2.0], [4.0, 3.0]], ">f8"),
        np.array([[1.0, 2.0], [4.0, 3.0]], np.longdouble),
        torch.tensor([[1.0, 2.0], [4.0, 3.0]], requires_grad=True),
        torch.tensor([[1.0, 2.0], [4.0, 3.0]], dtype=torch.bfloat16),
    ],
    ids=["reversed", "big-endian", "long", "gradient", "bfloat16"],
)
def test_arrays_of_another_layout_are_read(A):
    np.testing.assert_array_equal(LeastSquares([A], [np.ones(2)]).A[0], [[1, 2], [4, 3]])


@pytest.mark.parametrize(
    ("x0", "message"),
    [
        (np.array([1j, 0]), "x0 holds complex128"),
        (torch.tensor([1j, 0]), r"x0 holds torch\.complex64"),
        (np.ma.masked_array([1.0, 2.0], [1, 0]), "x0 has masked entries"),
    ],
)
def test_a_start_that_holds_no_plain_numbers_is_refused(x0, message):
    with pytest.raises(ValueError, match=message):
        run(LeastSquares([np.eye(2)], [np.ones(2)]), x0, **CALL)


def test_a_start_that_overflows_the_type_is_named():
    problem = LeastSquares([np.eye(2)], [np.ones(2)])
    with pytest.raises(ValueError, match=r"x0 holds an entry that is infinite in torch\.float32"):
        run(problem, np.full(2, 1e39), dtype=torch.float32, **CALL)


@pytest.mark.parametrize("make", [lambda a: a[::-1], lambda a: a.astype(">f4"), np.longdouble])
def test_samples_of_another_layout_are_read(make):
    samples = np.arange(12, dtype=np.float32).reshape(4, 3)
    problem = NetworkProblem(nn.Linear(3, 2), [make(samples)], [np.zeros(4, int)], CROSS_ENTROPY)
    found = problem.contents()["inputs 0"][0]
    np.testing.assert_array_equal(found, np.asarray(make(samples), np.float32))


def test_masked_samples_are_refused():
    with pytest.raises(ValueError, match="inputs of node 0 has masked entries"):
        NetworkProblem(nn.Linear(2, 2), [MASKED], [[0, 1]], CROSS_ENTROPY)


def test_data_whose_squares_vanish_are_refused():
    with pytest.raises(ValueError, match="A of node 1 is so small that its squares are 0"):
        LeastSquares([np.eye(2), 1e-170 * np.eye(2)], [np.ones(2)] * 2).strong_convexity()


def test_small_data_that_contradict_each_other_have_no_common_minimiser():
    rows = [[[1.0, 0.0]]] * 2
    apart, same = (
        run(LeastSquares(rows, targets), **CALL).dist
        for targets in ([[1e-9], [3e-9]], [[3e-9], [3e-9]])
    )
    assert apart is None
    np.testing.assert_allclose(same, [3e-9, 2.4e-9], rtol=1e-9)


@pytest.mark.parametrize(
    ("A", "b", "expected"),
    [
        ([[0.0, -5e15], [-4.0, -5.0]], [-5e15, 7.0], [-3, 1]),
        ([[-40.0, 20.0], [-2e11, 0.0]], [100.0, 2e11], [-1, 3]),
    ],
)
def test_rows_of_very_different_scale_are_all_solved(A, b, expected):
    problem = LeastSquares([A], [b])
    size = 1 / problem.smoothness().max()
    trace = run(problem, local_steps=ToOptimum(), step_size=size, rounds=1)
    np.testing.assert_allclose(trace.x, expected, rtol=1e-12)
