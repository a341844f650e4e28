"""Every engine and every division into chunks gives the same trajectory."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from localgd import LeastSquares, NetworkProblem, UntilStationary, run
from localgd.engine import division, evaluator
from localgd.engine.division import divide
from localgd.engine.evaluator import has_compiler
from localgd.networks.node_function import NodeFunction
from modules import CROSS_ENTROPY, FACTORIES, problem_parts

CPU = torch.device("cpu")
ENGINES = ["compiled", *(["graph"] if torch.cuda.is_available() else [])]


def network(kind: str = "convolutional", sizes=(4, 6, 4), seed: int = 0) -> NetworkProblem:
    return NetworkProblem(*problem_parts(kind, list(sizes), seed), CROSS_ENTROPY)


@pytest.mark.parametrize("kind", ["convolutional", "normalised"])
@pytest.mark.parametrize("name", ENGINES)
def test_engines_agree(kind, name):
    device = "cuda" if name == "graph" else "cpu"
    for rule in (5, [1, 4, 7], UntilStationary(0.05, 40)):
        call = {"local_steps": rule, "step_size": 0.1, "rounds": 3}
        ours = run(network(kind, (4, 4, 4)), engine=name, device=device, **call)
        plain = run(network(kind, (4, 4, 4)), engine="eager", device="cpu", **call)
        np.testing.assert_array_equal(ours.local_steps, plain.local_steps)
        np.testing.assert_allclose(ours.x, plain.x, rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(ours.loss, plain.loss, rtol=1e-10)


@pytest.mark.parametrize("name", ENGINES)
def test_the_same_call_gives_the_same_bits(name):
    call = {"local_steps": 4, "step_size": 0.1, "rounds": 3, "engine": name}
    one, two = (run(network(sizes=(4, 4, 4)), **call) for _ in range(2))
    assert one.x.tobytes() == two.x.tobytes()
    assert one.loss.tobytes() == two.loss.tobytes()


def test_convex_problems_can_be_compiled_too():
    problem = LeastSquares([np.eye(3), np.ones((2, 3))], [np.arange(3.0), np.ones(2)])
    call = {"local_steps": [9, 4], "step_size": 0.1, "rounds": 5}
    compiled, eager = (run(problem, engine=name, **call) for name in ("compiled", "eager"))
    np.testing.assert_allclose(compiled.x, eager.x, rtol=1e-12)


def test_single_precision_stays_close_over_many_steps():
    module, inputs, targets = problem_parts("convolutional", [6, 6], 3)
    problem = NetworkProblem(module.float(), inputs, targets, CROSS_ENTROPY)
    call = {"local_steps": 50, "step_size": 0.05, "rounds": 4, "device": "cpu"}
    compiled, eager = (run(problem, engine=name, **call) for name in ("compiled", "eager"))
    np.testing.assert_allclose(compiled.loss, eager.loss, rtol=1e-4)


@settings(max_examples=20)
@given(st.sampled_from(sorted(FACTORIES)), st.integers(1, 5), st.integers(0, 2**20))
def test_chunks_of_any_size_give_the_same_result(kind, chunk_size, seed):
    problem = network(kind, (3, 4, 3, 4, 3), seed)
    call = {"local_steps": [1, 2, 3, 4, 5], "step_size": 0.1, "rounds": 2, "device": "cpu"}
    chunked = run(problem, chunk_size=chunk_size, **call)
    whole = run(problem, chunk_size=5, **call)
    np.testing.assert_allclose(chunked.x, whole.x, rtol=1e-10, atol=1e-12)
    assert max(chunked.provenance["settings"]["chunks"]) <= chunk_size


def test_every_node_is_in_one_chunk():
    for kind in ("mlp", "normalised"):
        for size in (1, 2, 3, None):
            chunks = divide(network(kind, (3, 4, 3, 4, 3)), CPU, size).chunks
            assert sorted(torch.cat([chunk.nodes for chunk in chunks]).tolist()) == [0, 1, 2, 3, 4]


def test_memory_decides_how_many_nodes_go_together(monkeypatch):
    problem = network("mlp", [50] * 8)
    assert [len(chunk.nodes) for chunk in divide(problem, CPU, None).chunks] == [8]
    monkeypatch.setattr(division, "memory_bytes", lambda _: 2 * 3 * 50 * (6 + 5 + 5) * 8)
    few = [len(chunk.nodes) for chunk in divide(problem, CPU, None).chunks]
    assert 1 <= max(few) < 8
    monkeypatch.setattr(division, "memory_bytes", lambda _: 1)
    assert [len(chunk.nodes) for chunk in divide(problem, CPU, None).chunks] == [1] * 8


def test_on_a_cpu_large_convolutions_run_one_node_after_another():
    module = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Flatten(), nn.Linear(8 * 36, 3))
    large, small = (
        NetworkProblem(
            module, torch.randn(4, n, 1, 8, 8), torch.zeros(4, n, dtype=torch.int64), CROSS_ENTROPY
        )
        for n in (300, 3)
    )
    assert [len(chunk.nodes) for chunk in divide(large, CPU, None).chunks] == [1] * 4
    assert [len(chunk.nodes) for chunk in divide(small, CPU, None).chunks] == [4]


class Counting:
    """Stands in for the compiler and counts what it is asked for."""

    def __init__(self, monkeypatch, error: Exception | None = None) -> None:
        self.programs, self.error = 0, error
        monkeypatch.setattr(evaluator, "_compiled", self)
        monkeypatch.setattr(evaluator, "has_compiler", lambda: True)

    def __call__(self, program, arguments):
        self.programs += 1
        if self.error:
            raise self.error
        return program


def test_a_short_run_is_never_compiled(monkeypatch):
    compiler = Counting(monkeypatch)
    run(network(), local_steps=20, step_size=0.1, rounds=3, device="cpu")
    assert compiler.programs == 0


@pytest.mark.parametrize("rule", [20, UntilStationary(1e-9, 20)], ids=repr)
def test_a_run_is_compiled_once_its_work_is_worth_it(monkeypatch, rule):
    compiler = Counting(monkeypatch)
    problem = network(sizes=(4, 4))
    one = evaluator.Evaluator("eager", problem, CPU).bind(problem.chunks()[0]).flops
    monkeypatch.setattr(evaluator, "COMPILE_AFTER_FLOPS", 45 * one)
    trace = run(problem, local_steps=rule, step_size=0.1, rounds=4, device="cpu")
    assert compiler.programs == 1
    eager = run(problem, local_steps=rule, step_size=0.1, rounds=4, device="cpu", engine="eager")
    np.testing.assert_array_equal(trace.loss, eager.loss)  # the stand-in compiles to the same


def test_known_work_is_compiled_after_the_first_round_unknown_work_when_it_is_done(monkeypatch):
    problem = network(sizes=(4, 4))
    bound = [evaluator.Evaluator("auto", problem, CPU).bind(c) for c in problem.chunks()]
    monkeypatch.setattr(evaluator, "COMPILE_AFTER_FLOPS", 100 * bound[0].flops)
    monkeypatch.setattr(evaluator, "has_compiler", lambda: True)
    chooser = evaluator.Evaluator("auto", problem, CPU)
    assert not chooser.reconsider(bound, 99)
    assert chooser.reconsider(bound, 100)
    worker = evaluator.Evaluator("auto", problem, CPU)
    worker.work = 99 * bound[0].flops
    assert not worker.reconsider(bound, 0)
    worker.work = 100 * bound[0].flops
    assert worker.reconsider(bound, 0)
    told = evaluator.Evaluator("eager", problem, CPU)
    assert not told.reconsider(bound, 10**9)


def test_without_a_compiler_the_automatic_choice_stays_eager(monkeypatch):
    monkeypatch.setattr(evaluator, "COMPILE_AFTER_FLOPS", 1)
    monkeypatch.setattr(evaluator, "has_compiler", lambda: False)
    call = {"local_steps": 3, "step_size": 0.1, "rounds": 3, "device": "cpu"}
    trace = run(network(), **call)
    assert trace.x.tobytes() == run(network(), engine="eager", **call).x.tobytes()
    with pytest.raises(ValueError, match=r"engine='compiled' needs a C\+\+ compiler"):
        run(network(), engine="compiled", **call)


def test_a_compiler_that_fails_is_no_reason_to_fail(monkeypatch):
    compiler = Counting(monkeypatch, RuntimeError("no Python.h"))
    monkeypatch.setattr(evaluator, "COMPILE_AFTER_FLOPS", 1)
    call = {"local_steps": 3, "step_size": 0.1, "rounds": 3, "device": "cpu"}
    trace = run(network(), **call)
    assert compiler.programs
    assert trace.reason == "rounds"
    with pytest.raises(RuntimeError, match=r"no Python\.h"):
        run(network(), engine="compiled", **call)


def test_this_machine_has_a_compiler_or_says_that_it_has_none(monkeypatch):
    assert has_compiler() in (True, False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    assert has_compiler() is False


def test_a_graph_needs_a_gpu():
    with pytest.raises(ValueError, match="engine='graph' captures CUDA graphs and cannot run on"):
        run(network(), local_steps=1, step_size=0.1, rounds=1, engine="graph", device="cpu")


@pytest.mark.parametrize("size", [0, -1, 1.5, True])
def test_a_chunk_holds_one_node_at_least(size):
    with pytest.raises(ValueError, match=r"chunk_size=.* must be an integer ≥ 1"):
        run(network(), local_steps=1, step_size=0.1, rounds=1, chunk_size=size)


def test_out_of_memory_says_what_to_do(monkeypatch):
    def run_out(*_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried …")

    problem = network()
    monkeypatch.setattr(NodeFunction, "node", run_out)
    monkeypatch.setattr(NetworkProblem, "to", lambda self, *_: self)
    call = {"local_steps": 1, "step_size": 0.1, "rounds": 1, "device": "cpu"}
    with pytest.raises(MemoryError, match="do not fit into memory: give chunk_size=1"):
        run(problem, **call)
    with pytest.raises(MemoryError, match="give a chunk_size below 2"):
        run(problem, chunk_size=2, **call)
