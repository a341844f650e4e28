"""Nodes spread unevenly over two processes: the run of one process, and what a round sends."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn

from localgd import LeastSquares, Trace, run

NODES, D, ROUNDS = 3, 7, 4
SHARES = (slice(0, 2), slice(2, 3))


def problem(own):
    rng = np.random.default_rng(0)
    A = rng.standard_normal((NODES, 2, D))
    return LeastSquares(A[own], A.sum(2)[own])


def carry_out(own, **more):
    call = {"local_steps": 5, "step_size": 0.05, "rounds": ROUNDS, "engine": "eager"}
    return run(problem(own), **call, **more)


def process(rank, folder):
    if sys.platform == "linux":
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    meeting = (Path(folder) / "meeting").as_uri()
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
    carry_out(SHARES[rank], group="world").save(Path(folder) / f"{rank}.npz")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    spawn(process, (str(folder),), nprocs=2)
    return [Trace.load(folder / f"{rank}.npz") for rank in range(2)]


@pytest.mark.claim("machines")
@pytest.mark.mutation(
    "formula",
    "message[:d] / self.num_nodes",
    "message[:d] / self.size",
    within="lib/localgd/algorithm/process_group.py",
)
def test_two_processes_end_where_one_does_with_the_same_trace(two):
    one = carry_out(slice(0, NODES))
    for trace in two:
        np.testing.assert_allclose(trace.x, one.x, rtol=1e-10)
        np.testing.assert_allclose(trace.loss, one.loss, rtol=1e-10)
    np.testing.assert_array_equal(two[0].x, two[1].x)


@pytest.mark.claim("machines")
@pytest.mark.mutation("constant", "9 * NODES", "8 * NODES")
def test_a_round_sends_two_vectors_and_nine_numbers_a_node_from_every_process_and_back(two):
    numbers = 2 * D + 9 * NODES
    for trace in two:
        np.testing.assert_array_equal(trace.bytes[1:], len(two) * 2 * numbers * 8)


@pytest.mark.claim("machines", kind="control")
def test_the_mean_of_the_processes_means_is_another_method(two):
    ends = [carry_out(own).x for own in SHARES]
    assert abs(np.mean(ends, axis=0) - two[0].x).max() > 1e-3
