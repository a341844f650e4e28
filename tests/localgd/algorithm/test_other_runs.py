"""A checkpoint is of one problem, one rule and one server, their code and sets included."""

import numpy as np
import pytest
import torch

from localgd import AffineSubspace, Ball, LeastSquares, Problem, Rule, Server, SquaredDistance, run
from localgd.algorithm.rules import Plan
from localgd.convex import SaturatedDistance

CALL = {"step_size": 0.2}
LEAST_SQUARES = LeastSquares([np.eye(2)], [np.ones(2)])
NAMED = 1.0


def relaxed(omega):
    class Relaxation(Server):
        def step(self, received):
            return received.x + omega * received.move

    return Relaxation()


class Global(Server):
    """Reads a global number."""

    def step(self, received):
        return received.x + NAMED * received.move


def planned(count):
    class Planned(Rule):
        def plan(self, info, num_nodes):
            return Plan(np.full(num_nodes, count))

    return Planned()


class OfArrays(Problem):
    """f_i(x) = ‖x − c_i‖², with the c_i in a NumPy array."""

    def __init__(self, centers):
        self.centers = np.asarray(centers, float)
        self.num_nodes, self.dim = self.centers.shape

    def evaluate(self, x):
        gap = x - torch.from_numpy(self.centers)
        return (gap**2).sum(1), 2 * gap

    def to(self, device, dtype):
        return self


def goes_on(path, first, second):
    """Run `first` for two rounds and go on as `second`; both are (problem, rule, server)."""
    for rounds, (problem, rule, server) in ((2, first), (4, second)):
        parts = {} if server is None else {"server": server}
        start = 3.0 + np.arange(problem.dim)
        trace = run(
            problem, start, local_steps=rule, rounds=rounds, checkpoint=path, **parts, **CALL
        )
    return len(trace) - 1


def lines(slope):
    return [AffineSubspace([0, 0], [[1, slope]]), AffineSubspace([0, 0], [[0, 1]])]


def on(problem):
    return problem, 2, None


def with_server(server):
    return LEAST_SQUARES, 2, server


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (on(SquaredDistance(lines(1))), on(SquaredDistance(lines(2)))),
        (on(SaturatedDistance(lines(1))), on(SaturatedDistance(lines(2)))),
        (
            on(SquaredDistance([Ball([0, 0], 1)])),
            on(SquaredDistance([Ball([0, 0], 1)], common=Ball([0, 0], 1))),
        ),
        (on(OfArrays(np.zeros((2, 3)))), on(OfArrays(np.ones((2, 3))))),
        (with_server(relaxed(1.0)), with_server(relaxed(0.5))),
        ((LEAST_SQUARES, planned(1), None), (LEAST_SQUARES, planned(2), None)),
    ],
    ids=["sets", "saturated", "common", "arrays", "server", "rule"],
)
def test_another_run_is_refused_and_the_same_goes_on(tmp_path, first, second):
    assert goes_on(tmp_path / "same", first, first) == 4
    with pytest.raises(ValueError, match="the checkpoint of another run"):
        goes_on(tmp_path / "other", first, second)


def test_a_server_that_reads_another_global_is_another_run(tmp_path, monkeypatch):
    goes_on(tmp_path / "run", with_server(Global()), with_server(Global()))
    monkeypatch.setattr(f"{__name__}.NAMED", 0.5)
    with pytest.raises(ValueError, match="the checkpoint of another run: server"):
        goes_on(tmp_path / "run", with_server(Global()), with_server(Global()))
