"""Rules that choose T while running: against plain NumPy, the clock, checkpoints, errors."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from localgd import BalancedSteps, FittedSteps, LocalPaths, PowerLoss, Rule, ScheduledSteps, run
from localgd.algorithm.baselines import AdaComm, AdaptiveTau, PaddleAdaptive, QuadraticSync
from localgd.algorithm.rules import Plan, RoundInfo
from localgd.theory import optimal_steps_linear, optimal_steps_power
from strategies import distance_cases, linear_cases


def path_of(squares, *, loss=None, eta=0.1, step=0.0, message=0.0) -> LocalPaths:
    """One node's path with these ‖∇f‖²."""
    squares = np.atleast_2d(np.asarray(squares, float))
    losses = squares if loss is None else np.atleast_2d(np.asarray(loss, float))
    return LocalPaths(losses, squares, np.full(len(squares), eta), step, message)


def decisions(case, cost_ratio, rounds):
    """T of every round, by loops and NumPy alone, from the definition of the rule."""
    x, T, taken = np.asarray(case.x0, float), max(1, math.ceil(1 / cost_ratio)), []
    for _ in range(rounds):
        taken.append(T)
        ends, moves = [], np.zeros(2 * T)
        for node, eta in zip(case.nodes, case.etas, strict=True):
            z = x
            for t in range(T):
                g = node.gradient(z)
                moves[2 * t] += eta * 2 * node.loss(z)
                moves[2 * t + 1] += eta * (2 * node.loss(z) - eta * g @ g)
                z = z - eta * g
            ends.append(z)
        x = np.mean(ends, axis=0)
        best, value = 1, 0.0
        for count in range(1, 2 * T + 1):
            worth = sum(moves[:count]) / (1 + cost_ratio * count)
            if worth > value * (1 + 1e-9):
                best, value = count, worth
        T = best
    return taken


@pytest.mark.parametrize("engine", ["auto", "eager"])
@given(st.one_of(linear_cases(), linear_cases(power=4), distance_cases()), st.data())
def test_balanced_steps_decide_as_plain_numpy_does(engine, case, data):
    r = data.draw(st.sampled_from([2.0, 1.0, 0.3, 0.1]))
    rule = BalancedSteps(r)
    trace = run(
        case.problem, case.x0, local_steps=rule, step_size=case.etas, rounds=3, engine=engine
    )
    expected = decisions(case, r, 3)
    for n, counts in enumerate(trace.local_steps[1:]):
        if trace.loss[n] < 1e-12:  # what is left is rounding
            return
        assert counts.tolist() == [expected[n]] * case.problem.num_nodes


def test_the_first_round_computes_as_long_as_it_communicates():
    info = RoundInfo(1, 1.0, 1.0, np.ones(3), None)
    counts = {r: BalancedSteps(r).plan(info, 3).max_steps.tolist() for r in (5.0, 1.0, 0.3, 0.01)}
    assert counts == {5.0: [1] * 3, 1.0: [1] * 3, 0.3: [4] * 3, 0.01: [100] * 3}
    assert BalancedSteps("measured").next_steps == 1
    assert BalancedSteps(1e-300, max_steps=50).next_steps == 50


def test_steps_at_most_double_and_stay_below_max_steps():
    rule = BalancedSteps("measured", max_steps=6)
    taken = []
    for _ in range(5):
        taken.append(rule.next_steps)
        rule.observe(path_of(np.ones(rule.next_steps), eta=1e-6, step=1.0, message=1e6))
    assert taken == [1, 2, 4, 6, 6]


def test_a_measured_ratio_is_the_median_of_the_last_rounds():
    rule = BalancedSteps("measured")
    for step, message in [(1.0, 10.0), (1.0, 10.0), (50.0, 10.0)]:
        rule.observe(path_of([1.0], step=step, message=message))
    assert rule.ratio.value == pytest.approx(0.1)
    rule.load_state_dict(rule.state_dict())
    assert rule.ratio.value == pytest.approx(0.1)


def test_free_communication_means_one_step():
    rule = BalancedSteps("measured")
    rule.next_steps = 8
    rule.observe(path_of(np.ones(8), eta=1e-6, step=1.0, message=0.0))
    assert rule.next_steps == 1


def test_the_run_measures_and_its_decisions_can_be_replayed():
    problem = PowerLoss([[[1.0, 0.2]], [[0.3, 1.0]]], [[1.0], [-1.0]])
    first = run(
        problem,
        local_steps=BalancedSteps("measured"),
        step_size=0.05,
        rounds=6,
    )
    again = run(
        problem, local_steps=ScheduledSteps(first.local_steps[1:]), step_size=0.05, rounds=6
    )
    np.testing.assert_array_equal(first.loss, again.loss)
    np.testing.assert_array_equal(first.x, again.x)


@pytest.mark.parametrize("rule", [BalancedSteps(0.05), FittedSteps(0.05), AdaComm(9)], ids=repr)
def test_a_run_taken_up_ends_like_one_that_was_not_stopped(rule, tmp_path):
    problem = PowerLoss([[[1.0, 0.2]], [[0.3, 1.0]]], [[1.0], [-1.0]])
    options = {"local_steps": rule, "step_size": 0.05, "checkpoint": tmp_path / "checkpoint"}
    whole = run(problem, **{**options, "checkpoint": None}, rounds=9)
    run(problem, **options, rounds=4)
    resumed = run(problem, **options, rounds=9)
    assert len(set(whole.local_steps[1:, 0])) > 1
    np.testing.assert_array_equal(whole.local_steps, resumed.local_steps)
    np.testing.assert_array_equal(whole.x, resumed.x)


def test_a_rule_serves_two_runs():
    problem = PowerLoss([[[1.0, 0.2]], [[0.3, 1.0]]], [[1.0], [-1.0]])
    rule = BalancedSteps(0.05)
    one, two = (run(problem, local_steps=rule, step_size=0.05, rounds=5) for _ in range(2))
    np.testing.assert_array_equal(one.local_steps, two.local_steps)


class Watching(Rule):
    """Takes these steps and keeps what it is told."""

    wants_paths = True
    told: list[LocalPaths] = []  # noqa: RUF012

    def __init__(self, steps):
        self.steps = steps

    def plan(self, info, num_nodes):
        return Plan(np.array(self.steps))

    def observe(self, paths):
        self.told.append(paths)


@pytest.mark.parametrize("engine", ["auto", "eager"])
@pytest.mark.parametrize("chunk_size", [None, 1])
@settings(max_examples=20)
@given(st.one_of(linear_cases(), linear_cases(power=4), distance_cases()), st.data())
def test_a_rule_is_told_every_loss_and_gradient(engine, chunk_size, case, data):
    m = case.problem.num_nodes
    steps = data.draw(st.lists(st.integers(1, 6), min_size=m, max_size=m))
    Watching.told.clear()
    run(
        case.problem,
        case.x0,
        local_steps=Watching(steps),
        step_size=case.etas,
        rounds=1,
        engine=engine,
        chunk_size=chunk_size,
    )
    (paths,) = Watching.told
    assert paths.loss.shape == (m, max(steps))
    for i, (node, eta) in enumerate(zip(case.nodes, case.etas, strict=True)):
        x = np.asarray(case.x0, float)
        for t in range(steps[i]):
            g = node.gradient(x)
            assert paths.loss[i, t] == pytest.approx(node.loss(x), rel=1e-8, abs=1e-12)
            assert paths.grad_norm_sq[i, t] == pytest.approx(g @ g, rel=1e-8, abs=1e-12)
            x = x - eta * g
        assert np.isnan(paths.loss[i, steps[i] :]).all()
        assert np.isnan(paths.grad_norm_sq[i, steps[i] :]).all()


def test_an_unknown_least_value_leaves_the_gradients():
    halving = 4.0 ** -np.arange(6)
    far = BalancedSteps(0.05, optimum=None, max_steps=99)
    far.next_steps = 6
    far.observe(path_of(halving, loss=7 + halving, eta=0.25))
    known = BalancedSteps(0.05, optimum=7.0, max_steps=99)
    known.next_steps = 6
    known.observe(path_of(4 * halving, loss=7 + halving, eta=0.25))
    assert far.next_steps == known.next_steps > 1


def test_fitted_steps_take_the_papers_formulas():
    t = np.arange(40)
    rule = FittedSteps(0.01)
    rule.next_steps = 40
    rule.observe(path_of(3 * 0.9**t))
    assert rule.next_steps == round(optimal_steps_linear(0.9, 0.01))
    rule.next_steps = 40
    rule.observe(path_of(3 * (1 + 0.5 * t) ** -2.0))
    assert rule.next_steps == round(optimal_steps_power(0.5, 2.0, 0.01))


@pytest.mark.parametrize("squares", [np.ones(5), 1.1 ** np.arange(5), np.arange(1, 6) ** -0.5])
def test_fitted_steps_double_where_nothing_is_to_be_fitted(squares):
    rule = FittedSteps(1e-6)
    rule.next_steps = 5
    rule.observe(path_of(squares))
    assert rule.next_steps == 10


def test_adacomm_follows_the_root_of_the_loss_and_halves_where_that_would_not_decrease():
    rule, taken = AdaComm(16), []
    for n, loss in enumerate([4.0, 1.0, 1.0, 0.04], start=1):
        plan = rule.plan(RoundInfo(n, loss, 1.0, np.ones(2), None), 2)
        taken.append(plan.max_steps.tolist())
    assert taken == [[16] * 2, [8] * 2, [4] * 2, [2] * 2]


def test_paddle_keeps_its_first_number_under_the_root_and_between_1_and_16():
    rule, taken = PaddleAdaptive(100), []
    for n, loss in enumerate([1.0, 9.0, 0.25, 0.0], start=1):
        taken.append(rule.plan(RoundInfo(n, loss, 1.0, np.ones(1), None), 1).max_steps.item())
    assert taken == [100, 16, 5, 1]


def test_the_quadratic_rule_is_constant_at_a_constant_step_size():
    info = RoundInfo(1, 1.0, 1.0, np.ones(1), None)
    assert QuadraticSync(4, 0.1, 0.1).plan(info, 1).max_steps.item() == 4
    assert QuadraticSync(4, 0.5, 0.1).plan(info, 1).max_steps.item() == 25


def test_adaptive_tau_minimises_its_bound():
    rule = AdaptiveTau(0.01, budget=1e3, smoothness=2.0)
    info = RoundInfo(1, 1.0, 1.0, np.array([1.0, 1.5]), None)
    assert rule.plan(info, 2).max_steps.tolist() == [1, 1]
    rule.observe(path_of([[1.0], [1.5]], eta=0.1))
    chosen = rule.plan(info, 2).max_steps[0]
    rho, delta, eta, beta, phi = (1 + math.sqrt(1.5)) / 2, 0.5, 0.1, 2.0, 0.025

    def bound(tau):
        h = delta / beta * ((eta * beta + 1) ** tau - 1) - eta * delta * tau
        left = (1e3 - 1.01) * tau / (0.01 * tau + 1)
        root = math.sqrt(1 + 4 * left**2 * phi * rho * eta * h / tau)
        return (1 + root) / (2 * left * eta * phi) + rho * h

    assert chosen == min(range(1, 11), key=bound)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: BalancedSteps(0.0), "cost_ratio=0.0 must be positive"),
        (lambda: BalancedSteps(math.nan), "cost_ratio=nan"),
        (lambda: BalancedSteps("clock"), "'measured'"),
        (lambda: BalancedSteps(1.0, max_steps=0), "max_steps=0"),
        (lambda: BalancedSteps(1.0, optimum=[0.0]).check(2), "optimum has shape"),
        (lambda: ScheduledSteps([1, 0]), "whole numbers"),
        (lambda: ScheduledSteps([[1, 2]]).check(3), "2 nodes"),
        (lambda: AdaComm(0), "first=0"),
        (lambda: AdaComm(4, shrink=1.0), "shrink=1.0"),
        (lambda: AdaptiveTau(0.1, -1.0, 1.0), "budget=-1.0"),
        (lambda: QuadraticSync(4, 0.0, 0.1), "alpha=0.0"),
    ],
)
def test_what_cannot_be_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_a_loss_below_its_optimum_names_the_node():
    problem = PowerLoss([[[1.0]], [[1.0]]], [[1.0], [1.0]])
    with pytest.raises(ValueError, match="of node 0 after 0 local steps is below optimum=2"):
        run(problem, local_steps=BalancedSteps(1.0, optimum=2.0), step_size=0.1, rounds=2)


def test_a_schedule_that_ends_too_soon_says_so():
    problem = PowerLoss([[[1.0]]], [[1.0]])
    with pytest.raises(ValueError, match="holds 2 rounds, and this is 3"):
        run(problem, local_steps=ScheduledSteps([2, 3]), step_size=0.1, rounds=3)


def test_a_network_is_told_of_too():
    from localgd import NetworkProblem

    inputs = [np.ones((3, 4)), np.full((3, 4), 0.5)]
    module = torch.nn.Linear(4, 2)
    loss = torch.nn.CrossEntropyLoss(reduction="none")
    problem = NetworkProblem(module, inputs, [np.array([0, 1, 1])] * 2, loss)
    Watching.told.clear()
    trace = run(problem, local_steps=Watching([3, 3]), step_size=0.1, rounds=2)
    first, second = Watching.told
    assert first.loss[:, 0].mean() == pytest.approx(trace.loss[0], rel=1e-6)
    assert second.loss[:, 0].mean() == pytest.approx(trace.loss[1], rel=1e-6)
    assert (np.diff(first.loss, axis=1) < 0).all()
    assert first.seconds_step > 0
