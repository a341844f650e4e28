"""`run` against the plain reference, its record, its ends and its errors."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from localgd import (
    AffineSubspace,
    Ball,
    DivergenceError,
    FixedSteps,
    LeastSquares,
    Plan,
    PowerLoss,
    RoundInfo,
    Rule,
    SquaredDistance,
    ToOptimum,
    UntilStationary,
    run,
)
from reference import Reference, local_gd
from strategies import Case, distance_cases, linear_cases

AGREE = {"rtol": 1e-10, "atol": 1e-10}


def assert_agrees(trace, reference: Reference) -> None:
    rows = len(trace)
    np.testing.assert_allclose(trace.x, reference.x[rows - 1], **AGREE)
    np.testing.assert_allclose(trace.loss, reference.loss[:rows], **AGREE)
    np.testing.assert_allclose(trace.grad_norm_sq, reference.grad_norm_sq[:rows], **AGREE)
    np.testing.assert_array_equal(trace.local_steps, reference.local_steps[:rows])


def step_counts(case: Case, data) -> list[int]:
    m = case.problem.num_nodes
    return data.draw(st.lists(st.integers(1, 12), min_size=m, max_size=m))


any_case = st.one_of(
    linear_cases(), linear_cases(consistent=False), linear_cases(power=4), distance_cases()
)
projectable_case = st.one_of(linear_cases(), linear_cases(consistent=False), distance_cases())


@pytest.mark.claim("alg1", kind="numeric")
@pytest.mark.parametrize("engine", ["auto", "eager"])
@given(any_case, st.data())
def test_fixed_steps_agrees_with_reference(engine, case, data):
    steps = step_counts(case, data)
    trace = run(
        case.problem, case.x0, local_steps=steps, step_size=case.etas, rounds=5, engine=engine
    )
    assert_agrees(trace, local_gd(case.nodes, case.x0, etas=case.etas, steps=steps, rounds=5))


@pytest.mark.claim("alg1", kind="numeric")
@given(projectable_case)
def test_to_optimum_agrees_with_reference(case):
    trace = run(case.problem, case.x0, local_steps=ToOptimum(), step_size=case.etas, rounds=5)
    infinite = [math.inf] * case.problem.num_nodes
    assert_agrees(trace, local_gd(case.nodes, case.x0, etas=case.etas, steps=infinite, rounds=5))


@pytest.mark.claim("alg1", kind="numeric")
@given(any_case)
def test_until_stationary_agrees_with_reference(case):
    rule = UntilStationary(1e-3, max_steps=60)
    trace = run(case.problem, case.x0, local_steps=rule, step_size=case.etas, rounds=4)
    expected = local_gd(case.nodes, case.x0, etas=case.etas, grad_tol=1e-3, max_steps=60, rounds=4)
    assert_agrees(trace, expected)


@given(linear_cases())
def test_the_reduced_problem_has_the_same_trace(case):
    small, basis = case.problem.reduced()
    start = basis.numpy() @ case.x0
    along = run(small, start, local_steps=7, step_size=case.etas, rounds=6)
    full = run(case.problem, basis.numpy().T @ start, local_steps=7, step_size=case.etas, rounds=6)
    np.testing.assert_allclose(basis.numpy().T @ along.x, full.x, **AGREE)
    both = min(len(along), len(full))  # at zero, one may freeze a round before the other
    np.testing.assert_allclose(along.grad_norm_sq[:both], full.grad_norm_sq[:both], **AGREE)
    np.testing.assert_allclose(along.dist[:both], full.dist[:both], rtol=1e-7, atol=1e-7)


def two_parabolas() -> LeastSquares:
    """f_1 = (x − 1)², f_2 = (2x − 6)² on the line: minima 1 and 3, L = 2 and 8."""
    return LeastSquares([[[1.0]], [[2.0]]], [[1.0], [6.0]])


@pytest.mark.claim("alg1", kind="numeric")
def test_unequal_steps_known_answer():
    # η = (1/4, 1/16): each step halves the distance to the node's own minimum.
    # x = 9 → node 1, T = 3: 9 → 5 → 3 → 2;  node 2, T = 1: 9 → 6;  average 4
    # x = 4 → node 1: 4 → 2.5 → 1.75 → 1.375;  node 2: 4 → 3.5;  average 2.4375
    trace = run(two_parabolas(), [9.0], local_steps=[3, 1], step_size=[0.25, 0.0625], rounds=2)
    assert trace.x.tolist() == [2.4375]
    assert trace.loss.tolist() == [(64 + 144) / 2, (9 + 4) / 2, (1.4375**2 + 1.125**2) / 2]
    assert trace.local_steps.tolist() == [[0, 0], [3, 1], [3, 1]]
    assert trace.round.tolist() == [0, 1, 2]
    assert trace.bytes.tolist() == [0, 32, 32]  # two nodes, there and back, one float64
    assert trace.reason == "rounds"


def test_row_zero_is_before_any_communication():
    trace = run(two_parabolas(), [9.0], local_steps=1, step_size=0.01, rounds=0)
    assert len(trace) == 1
    assert trace.grad_norm_sq[0] == ((16 + 48) / 2) ** 2
    assert trace.x.tolist() == [9.0]


def test_until_stationary_reports_who_met_the_tolerance():
    # Node 1 halves its distance a step, node 2 barely moves: it runs into max_steps.
    trace = run(
        two_parabolas(),
        [9.0],
        local_steps=UntilStationary(1e-2, max_steps=20),
        step_size=[0.25, 1e-4],
        rounds=1,
    )
    # ‖∇f_1‖² = 4(x − 1)² ≤ 1e-2 ⇔ |x − 1| ≤ 0.05: from 8, after 8 halvings.
    assert trace.local_steps[1].tolist() == [8, 20]
    assert trace.met.tolist() == [[False, False], [True, False]]


def test_a_node_at_the_tolerance_takes_no_step():
    parabola = LeastSquares([[[1.0]]], [[0.0]])  # ‖∇f‖² = 4x²
    settings = {"step_size": 0.25, "rounds": 1}
    at = run(parabola, [1.0], local_steps=UntilStationary(4.0), **settings)
    assert (at.reason, at.local_steps[1].tolist(), at.met[1].tolist()) == ("frozen", [0], [True])
    below = run(parabola, [1.0], local_steps=UntilStationary(np.nextafter(4.0, 0.0)), **settings)
    assert below.local_steps[1].tolist() == [1]


def test_stop_is_met_where_the_residual_equals_it():
    parabola = LeastSquares([[[1.0]]], [[0.0]])
    trace = run(parabola, [1.0], local_steps=1, step_size=0.25, rounds=5, stop=4.0)
    assert (trace.reason, len(trace)) == ("stop", 1)


def test_a_frozen_round_ends_the_run_and_says_so():
    trace = run(
        LeastSquares([[[1.0]], [[2.0]]], [[1.0], [2.0]]),
        [1.5],
        local_steps=UntilStationary(1e-4),
        step_size=[0.25, 0.0625],
        rounds=50,
    )
    assert trace.reason == "frozen"
    assert trace.local_steps[-1].tolist() == [0, 0]
    assert trace.met[-1].all()
    assert 0 < trace.grad_norm_sq[-1] <= 1e-4  # not zero: the tolerance, not the optimum
    assert trace.grad_norm_sq[-1] == trace.grad_norm_sq[-2]
    assert len(trace) < 50


@given(linear_cases() | linear_cases(consistent=False), st.integers(2, 500))
def test_the_closed_form_is_the_trajectory_of_the_steps(case, T):
    settings = {"local_steps": T, "step_size": case.etas, "rounds": 4}
    closed = run(case.problem, case.x0, engine="closed", **settings)
    stepped = run(case.problem, case.x0, engine="eager", **settings)
    np.testing.assert_allclose(closed.x, stepped.x, rtol=1e-9, atol=1e-9)
    rows = min(len(closed), len(stepped))  # rounding decides in which round nothing moves
    np.testing.assert_allclose(closed.loss[:rows], stepped.loss[:rows], rtol=1e-9, atol=1e-12)


def test_a_round_of_a_million_steps_is_the_optimum():
    settings = {"step_size": 0.01, "rounds": 3}
    million = run(two_parabolas(), [9.0], local_steps=10**6, **settings)
    optimum = run(two_parabolas(), [9.0], local_steps=ToOptimum(), **settings)
    np.testing.assert_allclose(million.x, optimum.x, rtol=1e-14)
    assert million.local_steps[1].tolist() == [1e6, 1e6]


def test_a_step_across_the_boundary_has_no_closed_form():
    ball = SquaredDistance([Ball([0.0, 0.0], 1.0)])
    settings = {"local_steps": 3, "rounds": 1, "engine": "closed"}
    assert run(ball, [3.0, 0.0], step_size=0.5, **settings).x.tolist() == [1.0, 0.0]
    with pytest.raises(ValueError, match="SquaredDistance has no closed form"):
        run(ball, [3.0, 0.0], step_size=0.6, **settings)
    line = SquaredDistance([AffineSubspace([0.0, 0.0], [[1.0, 0.0]])])
    assert run(line, [0.0, 1.0], step_size=0.75, **settings).x.tolist() == [0.0, -0.125]


def test_an_unknown_engine_is_refused():
    with pytest.raises(ValueError, match="engine='warp' must be one of auto, closed, eager"):
        run(two_parabolas(), [9.0], local_steps=1, step_size=0.1, rounds=1, engine="warp")


def test_a_node_that_is_done_keeps_its_parameters_bit_for_bit():
    problem = LeastSquares([[[1.0]], [[1.0]]], [[0.1], [0.1]])
    settings = {"step_size": 0.1, "rounds": 1, "engine": "eager"}
    both = run(problem, [0.7], local_steps=[3, 3], **settings).x
    first = run(problem, [0.7], local_steps=[3, 50], **settings).x
    second = run(problem, [0.7], local_steps=[50, 50], **settings).x
    assert first[0] == (both[0] + second[0]) / 2


def test_stop_by_tolerance_and_by_callable():
    by_tolerance = run(two_parabolas(), [9.0], local_steps=2, step_size=0.02, rounds=500, stop=1e-3)
    assert by_tolerance.reason == "stop"
    assert by_tolerance.grad_norm_sq[-1] <= 1e-3 < by_tolerance.grad_norm_sq[-2]
    by_callable = run(
        two_parabolas(),
        [9.0],
        local_steps=2,
        step_size=0.02,
        rounds=500,
        stop=lambda t: len(t) == 4,
    )
    assert (by_callable.reason, len(by_callable)) == ("stop", 4)


def test_stop_is_met_by_the_last_round_too():
    trace = run(
        two_parabolas(), [9.0], local_steps=2, step_size=0.02, rounds=3, stop=lambda t: len(t) == 4
    )
    assert (trace.reason, len(trace)) == ("stop", 4)


class Doubling(Rule):
    """T = 2^{n−1}: a rule that looks at the round."""

    def plan(self, info: RoundInfo, num_nodes: int) -> Plan:
        assert info.local_grad_norm_sq.shape == (num_nodes,)
        assert (info.last_steps is None) == (info.round == 1)
        return Plan(np.full(num_nodes, 2 ** (info.round - 1)))


def test_a_rule_may_use_what_the_round_knows():
    trace = run(two_parabolas(), [9.0], local_steps=Doubling(), step_size=0.01, rounds=4)
    assert trace.local_steps[:, 0].tolist() == [0, 1, 2, 4, 8]


def test_same_call_same_trace_bit_for_bit():
    problem = LeastSquares([np.eye(3), np.ones((2, 3))], [np.arange(3.0), np.ones(2)])
    one, two = (run(problem, local_steps=9, step_size=0.1, rounds=20) for _ in range(2))
    assert one.grad_norm_sq.tobytes() == two.grad_norm_sq.tobytes()
    assert one.x.tobytes() == two.x.tobytes()


def test_float32_is_carried_through():
    trace = run(two_parabolas(), [9.0], local_steps=1, step_size=0.1, rounds=2, dtype=torch.float32)
    assert trace.x.dtype == np.float32
    assert trace.provenance["dtype"] == "float32"


def test_divergence_names_round_and_node_and_keeps_the_trace():
    problem = PowerLoss([[[1.0]], [[1.0]]], [[0.0], [0.0]])
    with pytest.raises(DivergenceError, match="diverged in round 2 at node 1") as caught:
        run(problem, [3.0], local_steps=[1, 3], step_size=[1e-3, 1.0], rounds=50)
    assert (caught.value.round, caught.value.node) == (2, 1)
    assert len(caught.value.trace) == 2
    assert np.isfinite(caught.value.trace.loss).all()
    assert caught.value.trace.reason == "diverged"


def test_divergence_at_the_start_has_an_empty_trace():
    with pytest.raises(DivergenceError, match="round 0 at node 0") as caught:
        run(PowerLoss([[[1.0]]], [[0.0]]), [1e200], local_steps=1, step_size=1.0, rounds=1)
    assert len(caught.value.trace) == 0
    assert caught.value.trace.to_frame().empty


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"local_steps": 0}, ValueError, "local_steps=0 must be ≥ 1"),
        ({"local_steps": [1, -3]}, ValueError, "local_steps=-3 must be ≥ 1"),
        ({"local_steps": 2.5}, TypeError, "local_steps=2.5 must be an integer"),
        ({"local_steps": True}, TypeError, "must be an integer, not a truth value"),
        ({"local_steps": math.inf}, TypeError, r"use ToOptimum\(\)"),
        ({"local_steps": [1, 2, 3]}, ValueError, "local_steps holds 3 values for 2 nodes"),
        ({"local_steps": []}, ValueError, "local_steps is empty"),
        ({"step_size": 0.3}, ValueError, "step_size=0.3 is not below 2/L = 0.25 at node 1"),
        ({"step_size": 0.0}, ValueError, "step_size=0.0 at node 0 must be positive"),
        ({"step_size": [0.1, -0.1]}, ValueError, "step_size=-0.1 at node 1 must be positive"),
        ({"step_size": math.nan}, ValueError, "step_size=nan at node 0"),
        ({"step_size": [0.1] * 3}, ValueError, r"step_size has shape \(3,\), expected one .* or 2"),
        ({"rounds": -1}, ValueError, "rounds=-1 must be an integer ≥ 0"),
        ({"rounds": 1.0}, ValueError, "rounds=1.0 must be an integer"),
        ({"stop": -1.0}, ValueError, "stop=-1.0 must be a positive tolerance"),
        ({"x0": [1.0, 2.0]}, ValueError, r"x0 has shape \(2,\), expected \(1,\)"),
        ({"x0": [math.nan]}, ValueError, "x0 holds a NaN"),
    ],
)
def test_bad_input_is_refused_with_value_rule_and_place(change, error, message):
    call = {"x0": [9.0], "local_steps": 1, "step_size": 0.1, "rounds": 1} | change
    with pytest.raises(error, match=message):
        run(two_parabolas(), **call)


def test_step_size_equal_to_the_bound_is_refused():
    with pytest.raises(ValueError, match="not below 2/L"):
        run(two_parabolas(), [9.0], local_steps=1, step_size=[0.1, 0.25], rounds=1)


@pytest.mark.parametrize("tolerance", [0.0, -1e-8, math.inf, math.nan])
def test_until_stationary_refuses_a_tolerance_that_is_not_positive(tolerance):
    with pytest.raises(ValueError, match=r"grad_tol=.* must be positive and finite"):
        UntilStationary(tolerance)


def test_until_stationary_refuses_fewer_than_one_step():
    with pytest.raises(ValueError, match="max_steps=0 must be ≥ 1"):
        UntilStationary(1e-3, max_steps=0)


def test_to_optimum_needs_a_projection():
    inconsistent = PowerLoss([[[1.0], [1.0]]], [[0.0, 1.0]])
    with pytest.raises(ValueError, match="PowerLoss has no projection"):
        run(inconsistent, local_steps=ToOptimum(), step_size=0.1, rounds=1)


def test_a_gpu_that_is_not_there_is_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="PyTorch sees none"):
        run(two_parabolas(), [9.0], local_steps=1, step_size=0.1, rounds=1, device="cuda")


def test_an_interrupt_keeps_the_rows_so_far():
    class Interrupting(FixedSteps):
        def plan(self, info, num_nodes):
            if info.round == 4:
                raise KeyboardInterrupt
            return super().plan(info, num_nodes)

    trace = run(two_parabolas(), [9.0], local_steps=Interrupting(2), step_size=0.1, rounds=10)
    assert (trace.reason, len(trace)) == ("interrupted", 4)


def test_progress_shows_rounds(capsys):
    run(two_parabolas(), [9.0], local_steps=1, step_size=0.1, rounds=3, progress=True)
    assert "3/3" in capsys.readouterr().err


def test_infinitely_many_steps_is_alternating_projection_on_two_lines():
    # Lines at angle 2φ = 90° meet in the origin: one average of projections halves x.
    lines = [AffineSubspace([0.0, 0.0], [[1.0, 0.0]]), AffineSubspace([0.0, 0.0], [[0.0, 1.0]])]
    trace = run(
        SquaredDistance(lines), [1.0, 1.0], local_steps=ToOptimum(), step_size=1.0 - 1e-9, rounds=3
    )
    np.testing.assert_allclose(trace.dist, [2**0.5 / 2**n for n in range(4)], rtol=1e-15)
    assert np.isinf(trace.local_steps[1:]).all()


class Tightening(Rule):
    """A tolerance that shrinks from round to round."""

    def plan(self, info, num_nodes):
        return Plan(np.full(num_nodes, 1000), 10.0 ** (2 - info.round))


class EveryOther(Rule):
    """No steps at all in odd rounds."""

    def plan(self, info, num_nodes):
        return Plan(np.full(num_nodes, (info.round + 1) % 2))


@pytest.mark.parametrize("rule", [Tightening(), EveryOther()], ids=repr)
def test_a_round_without_a_step_ends_no_run_of_an_adaptive_rule(rule):
    A, b = [[[1.0, 0.0]], [[0.0, 1.0]], [[1.0, 1.0]]], [[1.0], [2.0], [3.0]]
    trace = run(LeastSquares(A, b), [1.3, 1.1], local_steps=rule, step_size=0.2, rounds=8)
    assert trace.reason == "rounds"
    still = np.flatnonzero((trace.local_steps[1:] == 0).all(1)) + 1
    assert 0 < len(still) < 8
    np.testing.assert_array_equal(trace.loss[still], trace.loss[still - 1])
    assert trace.loss[-1] < trace.loss[0]


def test_a_rule_that_asks_for_the_exact_optimum_needs_a_projection():
    class Exact(Rule):
        def plan(self, info, num_nodes):
            return Plan(None)

    problem = PowerLoss([[[1.0]]], [[0.0]], power=4)
    problem.projection = lambda: None
    with pytest.raises(ValueError, match="PowerLoss has no projection"):
        run(problem, [1.0], local_steps=Exact(), step_size=0.01, rounds=1)


def test_divergence_names_the_node_that_went_farthest():
    # Node 2 leaps to 1e120: finite itself, but its fourth power at the average is not.
    problem = PowerLoss([[[1.0]]] * 4, [[0.0]] * 4, power=4)
    etas = [1e-6, 1e-6, 1e117, 1e-6]
    with pytest.raises(DivergenceError) as caught:
        run(problem, [10.0], local_steps=1, step_size=etas, rounds=3)
    assert (caught.value.round, caught.value.node) == (1, 2)


def test_a_criterion_is_asked_once_a_row():
    asked = []

    def stop(trace):
        asked.append(len(trace))
        return len(trace) == 3

    trace = run(two_parabolas(), [9.0], local_steps=1, step_size=0.05, rounds=9, stop=stop)
    assert (trace.reason, asked) == ("stop", [1, 2, 3])
