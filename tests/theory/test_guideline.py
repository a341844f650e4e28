"""Section 4's last paragraph: T chosen while running, and what the choice rests on."""

import math
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

from localgd import LeastSquares, LocalPaths
from localgd.algorithm.gain import local_gains, round_gains
from localgd.theory import contraction_factor
from strategies import Case, distance_cases, linear_cases


def walk(case: Case, steps: int):
    """Every node's points along `steps` local steps from x_0, and what a rule is told of them."""
    points, losses, squares = [], [], []
    for node, eta in zip(case.nodes, case.etas, strict=True):
        x, track = np.asarray(case.x0, float), []
        for _ in range(steps + 1):
            track.append(x)
            x = x - eta * node.gradient(x)
        points.append(track)
        losses.append([node.loss(x) for x in track[:-1]])
        squares.append([node.gradient(x) @ node.gradient(x) for x in track[:-1]])
    etas = np.asarray(case.etas, float)
    return points, LocalPaths(np.array(losses), np.array(squares), etas, 0.0, 0.0)


@pytest.mark.claim("guideline", kind="symbolic")
def test_a_local_step_takes_off_the_gain_by_convexity():
    eta, gap, inner, square = sp.symbols("eta gap inner square", real=True)
    taken_off = 2 * eta * inner - eta**2 * square  # ‖e‖² − ‖e − ηg‖², inner = ⟨g, e⟩
    q = 2 * eta * gap - eta**2 * square  # gap = f − f*
    assert sp.expand(taken_off - q - 2 * eta * (inner - gap)) == 0  # inner ≥ gap is convexity


@pytest.mark.claim("guideline", kind="numeric")
@given(st.one_of(linear_cases(), linear_cases(power=4), distance_cases()), st.integers(1, 12))
def test_the_gains_are_a_lower_bound(case, steps):
    points, paths = walk(case, steps)
    apart = [[float((x - case.solution) @ (x - case.solution)) for x in row] for row in points]
    taken_off = -np.diff(np.array(apart), axis=1).mean(0)
    assert (taken_off >= local_gains(paths) - 1e-9 * (1 + np.max(apart))).all()


@pytest.mark.claim("guideline", kind="control")
def test_a_wrong_least_value_breaks_the_bound():
    x = np.array([[1.0, 0.5, 0.25]])  # f = x², η = 1/4: x halves
    paths = LocalPaths(x**2, 4 * x**2, np.array([0.25]), 0.0, 0.0)
    taken_off = (x**2 - (x / 2) ** 2)[0]
    assert (taken_off >= local_gains(paths)).all()
    assert (taken_off < local_gains(paths, optimum=-2.0)).all()


@pytest.mark.claim("guideline", kind="symbolic")
def test_losses_half_way_tell_what_a_round_gains_on_quadratics_in_fractions():
    H = sp.Matrix([[2, 1], [1, 3]]) / 5
    e, eta = sp.Matrix([1, -2]), sp.Rational(2, 3)
    step = sp.eye(2) - eta * H
    track = [step**t * e for t in range(7)]
    losses = [float(z.dot(H * z) / 2) for z in track[:3]]
    squares = [float((H * z).dot(H * z)) for z in track[:3]]
    told = round_gains(LocalPaths(np.array([losses]), np.array([squares]), np.array([2 / 3]), 0, 0))
    exact = [(track[t] - track[t + 1]).dot(e) for t in range(6)]
    assert told == pytest.approx([float(each) for each in exact], rel=1e-14)
    gaps = [z.dot(H * z) / 2 for z in track]
    for s in range(3):  # the identities themselves
        assert exact[2 * s] == eta * 2 * gaps[s]
        assert exact[2 * s + 1] == eta * (2 * gaps[s] - eta * (H * track[s]).dot(H * track[s]))


@pytest.mark.claim("guideline", kind="control")
def test_losses_of_the_same_step_in_place_of_half_way_are_wrong():
    x, eta = Fraction(1), Fraction(1, 4)  # f = x²
    track = [x * Fraction(1, 2) ** t for t in range(5)]
    exact = [(track[t] - track[t + 1]) * track[0] for t in range(4)]
    assert exact[2] == eta * 2 * track[1] ** 2
    assert exact[2] != eta * 2 * track[2] ** 2


@st.composite
def quadratics(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    m, dim = int(rng.integers(2, 5)), int(rng.integers(2, 6))
    A = [rng.standard_normal((int(rng.integers(1, dim)), dim)) for _ in range(m)]
    problem = LeastSquares(A, [np.zeros(len(block)) for block in A])
    return problem, rng.uniform(0.05, 1.0, m) / problem.smoothness()


def per_round(problem, etas, counts):
    """−log ρ(T)."""
    return np.array([-math.log(contraction_factor(problem, T, etas)) for T in counts])


@pytest.mark.claim("guideline", kind="numeric")
@given(quadratics(), st.floats(-3, 0.5))
def test_as_many_steps_as_a_communication_is_worth_cost_at_most_twice_the_least(case, exponent):
    problem, etas = case
    r = 10**exponent
    counts = np.unique(np.r_[1:30, np.geomspace(30, 30_000, 40)].round())
    balanced = max(1, math.ceil(1 / r))
    cost = (1 + r * counts) / per_round(problem, etas, counts)
    assert (1 + r * balanced) / per_round(problem, etas, [balanced])[0] <= 2 * cost.min() * (
        1 + 1e-9
    )


@pytest.mark.claim("guideline", kind="numeric")
@given(quadratics())
def test_a_rounds_worth_is_concave_in_the_steps_on_quadratics(case):
    worth = np.r_[0.0, per_round(*case, range(1, 25))]
    assert (np.diff(worth, 2) <= 1e-9 * (1 + worth[-1])).all()


@pytest.mark.claim("guideline", kind="control")
def test_ten_times_as_many_steps_can_cost_more_than_twice():
    problem = LeastSquares([[[1.0, 0.0]], [[0.6, 0.8]]], [[0.0], [0.0]])
    etas = 1 / problem.smoothness()  # one step is as good as any number
    assert (1 + 10) / per_round(problem, etas, [10])[0] > 2 * 2 / per_round(problem, etas, [1])[0]
