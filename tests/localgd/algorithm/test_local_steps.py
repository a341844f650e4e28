"""Within a round: who is done stays put, and is left behind, without a trace in the result."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from captures import capturing
from localgd import LeastSquares, NetworkProblem, UntilStationary, run
from localgd.algorithm import local_steps
from localgd.algorithm.local_steps import LocalSteps, Position
from localgd.engine.evaluator import Evaluator
from modules import CROSS_ENTROPY, problem_parts

CPU = torch.device("cpu")


def network(sizes=(3, 4, 3, 5), kind="mlp", seed=0) -> NetworkProblem:
    return NetworkProblem(*problem_parts(kind, list(sizes), seed), CROSS_ENTROPY)


def begin(problem: NetworkProblem, limits, grad_tol=None) -> tuple[LocalSteps, Position]:
    evaluator = Evaluator("eager", problem, CPU)
    (chunk,) = problem.chunks()
    bound = evaluator.bind(chunk)
    m = problem.num_nodes
    etas = torch.full((m, 1), 0.1, dtype=torch.float64)
    counts = np.broadcast_to(np.asarray(limits, np.int64), m)
    going = LocalSteps(evaluator, bound, etas, counts, grad_tol, problem.num_buffers)
    x = problem.initial(torch.Generator()).expand(m, -1)
    return going, going.first(x, bound.gradients(x))


def finish(going: LocalSteps, start: Position) -> tuple[list[Position], Position]:
    """All places that come between, the start among them, and the end."""
    places = going.others(start)
    seen = [start]
    while True:
        try:
            seen.append(next(places).whole())
        except StopIteration as end:
            return seen, end.value


@settings(max_examples=25)
@given(st.lists(st.integers(1, 9), min_size=4, max_size=4), st.sampled_from([None, 0.3]))
def test_a_node_that_is_done_keeps_its_parameters_bit_for_bit(limits, grad_tol):
    going, start = begin(network(), limits, grad_tol)
    seen, end = finish(going, start)
    for earlier, later in zip(seen, [*seen[1:], end], strict=True):
        still = earlier.steps == later.steps
        assert torch.equal(earlier.x[still], later.x[still])
    assert (end.steps <= torch.tensor(limits)).all()


@settings(max_examples=25)
@given(
    st.lists(st.integers(1, 40), min_size=5, max_size=5),
    st.sampled_from([None, 0.3]),
    st.data(),
)
def test_any_place_between_steps_is_one_to_go_on_from(limits, grad_tol, data):
    problem = network((3, 4, 3, 5, 2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_steps, "SHED_STEPS", 4)
        going, start = begin(problem, limits, grad_tol)
        seen, end = finish(going, start)
        middle = data.draw(st.sampled_from(seen))
        _, again = finish(begin(problem, limits, grad_tol)[0], middle)
    assert torch.equal(again.x, end.x)
    assert torch.equal(again.steps, end.steps)
    assert torch.equal(again.above, end.above)


def test_nodes_that_are_done_are_left_behind(monkeypatch):
    monkeypatch.setattr(local_steps, "SHED_STEPS", 5)
    limits = [3, 3, 30, 3, 8]
    going, start = begin(network((3, 4, 3, 5, 2)), limits)
    seen, end = finish(going, start)
    assert end.steps.tolist() == limits
    taking_part = [at.rows.tolist() for at in seen]
    assert taking_part[0] == [0, 1, 2, 3, 4]
    assert taking_part[-1] == [2]
    assert sorted({len(rows) for rows in taking_part}, reverse=True) == [5, 2, 1]


def test_leaving_nodes_behind_does_not_change_the_result(monkeypatch):
    rule = UntilStationary(0.02, max_steps=300)
    call = {"local_steps": rule, "step_size": 0.2, "rounds": 2, "device": "cpu"}
    whole = run(network(), **call)
    monkeypatch.setattr(local_steps, "SHED_STEPS", 3)
    shed = run(network(), **call)
    assert len(set(whole.local_steps[1].tolist())) > 1
    np.testing.assert_array_equal(shed.local_steps, whole.local_steps)
    np.testing.assert_array_equal(shed.met, whole.met)
    np.testing.assert_allclose(shed.x, whole.x, rtol=1e-12, atol=1e-13)


def test_carried_statistics_stop_with_their_node():
    # T = (1, 3): the counter of the first BatchNorm node stands at 1, of the second at 3.
    problem = network((4, 4), "normalised")
    going, start = begin(problem, [1, 3])
    _, end = finish(going, start)
    counters = [
        problem.unflatten(end.x[node]).state_dict()["1.num_batches_tracked"] for node in (0, 1)
    ]
    assert [int(counter) for counter in counters] == [1, 3]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_captured_block_is_the_steps_one_by_one():
    problem = network()
    call = {"local_steps": [3, 40, 17, 1], "step_size": 0.1, "rounds": 2, "device": "cuda"}
    captured, eager = (run(problem, engine=name, **call) for name in ("graph", "eager"))
    np.testing.assert_allclose(captured.x, eager.x, rtol=1e-10)


@pytest.mark.parametrize("kind", ["mlp", "normalised", "convolutional"])
@pytest.mark.parametrize("size", [None, 1, 3])
def test_a_captured_block_takes_the_same_steps(kind, size):
    """The host's side of captured blocks, with a graph that runs the function again."""
    for rule in (37, [3, 40, 17, 1], UntilStationary(0.02, max_steps=90)):
        call = {"local_steps": rule, "step_size": 0.2, "rounds": 3, "device": "cpu"}
        stepwise = run(network(kind=kind), chunk_size=size, **call)
        with capturing():
            blocks = run(network(kind=kind), chunk_size=size, **call)
        np.testing.assert_array_equal(blocks.local_steps, stepwise.local_steps)
        np.testing.assert_allclose(blocks.x, stepwise.x, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("others", [0, 3])
def test_a_tie_at_the_tolerance_falls_the_same_way_in_any_company(others):
    m = 1 + others
    problem = LeastSquares([[[1.0]]] * m, [[0.0]] * m).to(CPU, torch.float32)
    call = {"step_size": [0.1] + [0.01] * others, "rounds": 1, "device": "cpu"}
    one = run(problem, [0.7], local_steps=1, dtype=torch.float32, **call | {"step_size": 0.1})
    x = torch.from_numpy(one.x).expand(m, -1)
    norm = float(local_steps.square_norms(problem.gradients(x), 0)[0])
    between = (norm * 3 + float(np.nextafter(np.float32(norm), np.float32(0)))) / 4
    assert between < norm == float(np.float32(between))  # below it, and equal when rounded
    rule = UntilStationary(between, 3)
    trace = run(problem, [0.7], local_steps=rule, dtype=torch.float32, **call)
    assert trace.local_steps[1].tolist() == [1.0] + [3.0] * others
