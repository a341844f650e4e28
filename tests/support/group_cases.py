"""Runs that several processes share, and the same runs in one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from localgd import (
    AffineSubspace,
    Anderson,
    BalancedSteps,
    Ball,
    ConjugateGradient,
    Extrapolated,
    FittedSteps,
    HalfSpace,
    LeastSquares,
    Nesterov,
    NetworkProblem,
    PowerLoss,
    Problem,
    Relaxed,
    SaturatedDistance,
    ScheduledSteps,
    SquaredDistance,
    ToOptimum,
    Trace,
    UntilStationary,
    run,
)
from modules import CROSS_ENTROPY, problem_parts

NODES = 6
#: How many nodes each process holds, by the number of processes: unevenly, where it can be.
SPREAD = {1: (6,), 2: (4, 2), 3: (1, 3, 2), 4: (2, 1, 1, 2)}
RAGGED = [3, 5, 4, 5, 2, 3]
EVEN = [4] * NODES

Make = Callable[[slice], Problem]
Settings = Callable[[slice], dict[str, Any]]


def linear(own: slice, power: int = 2) -> Problem:
    """Systems in 12 unknowns with a common solution, of 1 to 3 equations a node."""
    rng = np.random.default_rng(3)
    A = [rng.standard_normal((1 + node % 3, 12)) for node in range(NODES)]
    b = [each.sum(1) for each in A]
    return LeastSquares(A[own], b[own]) if power == 2 else PowerLoss(A[own], b[own], power=power)


def sets(own: slice) -> Problem:
    """Balls, half-spaces and lines in the plane, all through one point."""
    each = [
        Ball([1.0, 0.0], 1.0),
        HalfSpace([1.0, 0.5], 0.0),
        AffineSubspace([0.0, 0.0], [[1.0, -1.0]]),
        Ball([0.0, -2.0], 2.0),
        HalfSpace([-1.0, 3.0], 0.0),
        AffineSubspace([0.0, 0.0], [[0.3, 1.0]]),
    ]
    return SquaredDistance(each[own])


def saturated(own: slice) -> Problem:
    """The quasi-convex losses of the same kind of sets."""
    each = [Ball([1.0 + node, 0.0], 1.0 + node) for node in range(NODES)]
    return SaturatedDistance(each[own])


def network(kind: str, sizes: list[int]) -> Make:
    """A small module in float64, and its nodes' samples."""

    def make(own: slice) -> Problem:
        module, inputs, targets = problem_parts(kind, sizes, 5)
        return NetworkProblem(module, inputs[own], targets[own], CROSS_ENTROPY)

    return make


class Parabolas(Problem):
    """f_i(x) = (x − c_i)²: a step of size 1/4 halves the distance to c_i.  Notes where it goes."""

    dim = 1

    def __init__(self, centres: list[float]) -> None:
        self.num_nodes, self.centres = len(centres), torch.tensor(centres)[:, None].double()
        self.seen: list[list[float]] = []

    def evaluate(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.seen.append(x[:, 0].tolist())
        return (x - self.centres)[:, 0] ** 2, 2 * (x - self.centres)

    def to(self, device: torch.device, dtype: torch.dtype) -> Parabolas:
        return self


def loose(own: slice) -> dict[str, Any]:
    """A safe step for every problem above."""
    return {"step_size": 0.02, "rounds": 6}


def settings(**given: Any) -> Settings:
    """The same settings for all nodes."""
    return lambda own: loose(own) | given


def each_its_own(own: slice) -> dict[str, Any]:
    """A number of steps and a step size for every node."""
    return loose(own) | {
        "local_steps": [1, 4, 2, 7, 3, 2][own],
        "step_size": [0.01, 0.02, 0.015, 0.005, 0.02, 0.01][own],
    }


def scheduled(own: slice) -> dict[str, Any]:
    """A number of steps for every round and node."""
    steps = np.arange(6 * NODES).reshape(6, NODES) % 5 + 1
    return loose(own) | {"local_steps": ScheduledSteps(steps[:, own])}


def first_loss_below(trace: Trace) -> bool:
    """Stop when the loss is a third of what it was."""
    return bool(trace.loss[-1] < trace.loss[0] / 3)


def measured(x: torch.Tensor) -> dict[str, float]:
    """The norm of x."""
    return {"norm": float(torch.linalg.vector_norm(x))}


SEVEN = settings(local_steps=7)
CASES: dict[str, tuple[Make, Settings]] = {
    "least squares, closed": (linear, settings(local_steps=7, engine="closed")),
    "least squares, step by step": (linear, settings(local_steps=7, engine="eager")),
    "least squares, T = ∞": (linear, settings(local_steps=ToOptimum())),
    "least squares, threshold": (linear, settings(local_steps=UntilStationary(1e-2, 40))),
    "least squares, own T and η": (linear, each_its_own),
    "least squares, schedule": (linear, scheduled),
    "fourth power": (lambda own: linear(own, 4), settings(local_steps=7, step_size=1e-3)),
    "fourth power, threshold": (
        lambda own: linear(own, 4),
        settings(local_steps=UntilStationary(1.0, 20), step_size=1e-3),
    ),
    "sets": (sets, settings(local_steps=7, step_size=0.1, x0=[-4.0, 3.0])),
    "sets, T = ∞": (sets, settings(local_steps=ToOptimum(), x0=[-4.0, 3.0])),
    "saturated": (saturated, settings(local_steps=3, step_size=0.1, x0=[-2.0, 3.0])),
    "network, ragged": (network("mlp", RAGGED), SEVEN),
    "network, threshold": (network("mlp", RAGGED), settings(local_steps=UntilStationary(0.3, 9))),
    "network, shared weights": (network("shared", RAGGED), SEVEN),
    "network, convolutions": (network("convolutional", RAGGED), SEVEN),
    "network, BatchNorm": (network("normalised", RAGGED), SEVEN),
    "network, BatchNorm, Nesterov": (
        network("normalised", RAGGED),
        settings(local_steps=2, server=Nesterov()),
    ),
    "relaxed": (linear, settings(local_steps=2, server=Relaxed(1.5, safeguard=True))),
    "Pierra": (linear, settings(local_steps=2, server=Extrapolated())),
    "Pierra on a network, safeguard": (
        network("mlp", RAGGED),
        settings(local_steps=2, step_size=0.5, server=Extrapolated(safeguard=True)),
    ),
    "FedExP": (linear, settings(local_steps=2, server=Extrapolated("fedexp", safeguard=True))),
    "Nesterov": (linear, settings(local_steps=2, server=Nesterov())),
    "Anderson": (linear, settings(local_steps=2, server=Anderson(3))),
    "conjugate gradients": (linear, settings(local_steps=2, server=ConjugateGradient())),
    "balanced": (linear, settings(local_steps=BalancedSteps(0.1))),
    "balanced, network": (network("mlp", RAGGED), settings(local_steps=BalancedSteps(0.1))),
    "fitted": (linear, settings(local_steps=FittedSteps(0.1))),
    "stop at a tolerance": (linear, settings(local_steps=7, rounds=400, stop=1e-3)),
    "stop when told": (linear, settings(local_steps=7, rounds=400, stop=first_loss_below)),
    "measured": (linear, settings(local_steps=3, measure=measured)),
    "frozen": (linear, settings(local_steps=UntilStationary(1e6, 5))),
    "no rounds": (linear, settings(local_steps=3, rounds=0)),
}
#: Nodes of one size, each evaluated alone: where one process does the same work.
ALIKE: dict[str, tuple[Make, Settings]] = {
    f"{kind}, {name}": (network(kind, EVEN), settings(chunk_size=1, engine="eager", **given))
    for kind in ("mlp", "convolutional", "normalised")
    for name, given in {
        "T = 3": {"local_steps": 3},
        "threshold": {"local_steps": UntilStationary(0.3, 6)},
        "Anderson": {"local_steps": 2, "server": Anderson(3)},
        "balanced": {"local_steps": BalancedSteps(0.2)},
    }.items()
}


def wide(own: slice) -> Problem:
    """Least squares in 20,000 unknowns, so that messages are long."""
    rng = np.random.default_rng(4)
    A = [rng.standard_normal((1, 20_000)) / 150 for _ in range(NODES)]
    return LeastSquares(A[own], [each.sum(1) for each in A[own]])


COMPILED = (network("mlp", RAGGED), settings(local_steps=7, engine="compiled"))
WIDE = (wide, settings(local_steps=3, step_size=0.1, engine="eager"))
WHOLE = slice(0, NODES)


def own_nodes(rank: int, size: int) -> slice:
    """The nodes of a process."""
    before = sum(SPREAD[size][:rank])
    return slice(before, before + SPREAD[size][rank])


def carry_out(case: tuple[Make, Settings], own: slice = WHOLE, **more: Any) -> Trace:
    """Run a case on some of its nodes."""
    make, given = case
    return run(make(own), **(given(own) | {"seed": 1} | more))
