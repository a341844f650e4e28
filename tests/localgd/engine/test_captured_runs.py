"""Whole runs in which blocks are captured, by a stand-in for CUDA graphs."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from captures import Replayed, capturing
from localgd import NetworkProblem, UntilStationary, run
from localgd.engine import evaluator
from localgd.engine.division import WORKSPACE_BYTES, X_COPIES, fitting_on_gpu, recorded, start
from modules import CROSS_ENTROPY, problem_parts

CPU = torch.device("cpu")


def network(kind: str = "mlp", sizes: tuple[int, ...] = (3, 4, 3, 5)) -> NetworkProblem:
    return NetworkProblem(*problem_parts(kind, list(sizes), 0), CROSS_ENTROPY)


class Picks(nn.Module):
    """Takes the outputs that a mask lets through, which a GPU has to count first."""

    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 5)
        self.register_buffer("mask", torch.tensor([True, False, True, True, False]))

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.layer(x)
        return outputs[:, self.mask]


def picking() -> NetworkProblem:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(2, 4, 6, generator=generator) - 0.5
    return NetworkProblem(Picks(), inputs, torch.zeros(2, 4, dtype=torch.int64), CROSS_ENTROPY)


def test_one_graph_a_shape_and_count_serves_all_chunks_and_rounds():
    call: dict[str, Any] = {"local_steps": 38, "step_size": 0.1, "rounds": 3, "device": "cpu"}
    with capturing():
        run(network("mlp", (4, 4, 4, 4)), chunk_size=1, **call)
        assert len(Replayed.made) == 3  # the evaluation, blocks of 16 and of the 5 that remain


def test_all_graphs_share_one_pool(monkeypatch):
    pools = []
    monkeypatch.setattr(Replayed, "__init__", _noting(pools, Replayed.__init__))
    with capturing():
        monkeypatch.setattr(evaluator, "Pool", lambda device: object())
        run(network(), chunk_size=3, local_steps=20, step_size=0.1, rounds=2, device="cpu")
    assert len(pools) > 3
    assert len({id(each) for each in pools}) == 1


def _noting(pools: list[Any], build: Any) -> Any:
    def noting(self: Any, function: Any, arguments: Any, pool: Any) -> None:
        pools.append(pool)
        build(self, function, arguments, pool)

    return noting


def test_a_program_that_waits_for_values_is_run_step_by_step():
    problem = picking()
    call: dict[str, Any] = {"local_steps": 20, "step_size": 0.1, "rounds": 2, "device": "cpu"}
    plain = run(problem, chunk_size=1, **call)
    with capturing():
        trace = run(problem, chunk_size=1, **call)
        assert not Replayed.made
    np.testing.assert_array_equal(trace.x, plain.x)
    with capturing(), pytest.raises(ValueError, match=r"engine='graph' cannot capture aten\.index"):
        run(problem, chunk_size=1, engine="eager", **call)


class Asking(TorchDispatchMode):
    """Counts what would wait for a GPU: a tensor's value that the host asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func)
        self.count += "_local_scalar_dense" in name or "aten.equal" in name
        return func(*args, **(kwargs or {}))


def asked(T: Any, rounds: int) -> int:
    """How often a run asks: recording and capturing do as well, as often for any rounds."""
    problem = network("mlp", (4, 4, 4, 4))
    with capturing(), Asking() as asking:
        run(problem, local_steps=T, step_size=1e-3, rounds=rounds, device="cpu")
    return asking.count


def test_the_host_asks_once_or_twice_a_round_and_never_in_a_block():
    def a_round(T: Any) -> int:
        return (asked(T, 5) - asked(T, 2)) // 3

    assert a_round(17) <= 2
    assert a_round(400) == a_round(17)
    never = UntilStationary(1e-30, max_steps=170)
    assert a_round(never) - a_round(17) <= 170 // 16 + 2  # after each block, who is done


def test_the_estimate_counts_copies_and_workspaces():
    problem = network("mlp", (50, 50))
    (whole,) = problem.chunks()
    one = whole.take(torch.tensor([0]))
    x = start(problem, 1, CPU)
    program = recorded(problem, one, (x, *one.tensors))
    copies = X_COPIES * x.numel() * 8 + 2 * sum(t.numel() * t.element_size() for t in one.tensors)
    form, fitting = fitting_on_gpu(program, x, one, WORKSPACE_BYTES + 10 * copies)
    assert form == "grouped"
    assert 0 < fitting < 10  # the intermediate results count besides
    assert fitting_on_gpu(program, x, one, WORKSPACE_BYTES)[1] == 0
