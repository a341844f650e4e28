"""Check that a GPU gives the right numbers, and that no block waits for the host."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from localgd import (
    AffineSubspace,
    Ball,
    Checkpoint,
    FixedSteps,
    HalfSpace,
    LeastSquares,
    NetworkProblem,
    PowerLoss,
    Problem,
    SaturatedDistance,
    SquaredDistance,
    ToOptimum,
    Trace,
    UntilStationary,
    run,
)
from localgd.algorithm import checkpoint, local_steps
from localgd.engine.backend import deterministic
from localgd.engine.convolutions import Form, convolutions
from localgd.networks import LeNet, ResNet18, SoftmaxLayer, seeded

CROSS_ENTROPY = nn.CrossEntropyLoss(reduction="none")
FORMS: tuple[Form, ...] = ("products", "alone products", "alone", "grouped")
#: Relative to the largest entry, in float64.
TOLERANCE = 1e-8


def networks() -> dict[str, Any]:
    """Graph against eager against the CPU: every network, rule and form of convolution."""
    differences: dict[str, Any] = {}
    rules = (FixedSteps(17), FixedSteps([17, 1, 40, 5]), UntilStationary(1e-3, 40))
    for name, problem in _networks().items():
        for rule in rules:
            call: dict[str, Any] = {"local_steps": rule, "step_size": 0.05, "rounds": 3}
            expected = run(problem, device="cpu", engine="eager", **call)
            convolves = name in ("lenet", "resnet18") and rule is rules[0]
            for form in FORMS if convolves else FORMS[:1]:
                for engine in ("graph", "eager") if form == FORMS[0] else ("graph",):
                    with convolutions(form):
                        label = f"{name} {rule!r} {form} {engine}"
                        differences[label] = _tried(
                            expected, problem, device="cuda", engine=engine, **call
                        )
    return _judged(differences)


def convex() -> dict[str, Any]:
    """Compare every convex problem and rule on the GPU with the CPU, as far as each can be run."""
    differences: dict[str, Any] = {}
    for name, problem in _convex().items():
        constants = problem.smoothness()
        eta = 1e-5 if constants is None else 1 / float(constants.max())
        for rule in (FixedSteps(17), UntilStationary(1e-3, 40), ToOptimum()):
            if isinstance(rule, ToOptimum) and problem.projection() is None:
                continue
            call: dict[str, Any] = {"local_steps": rule, "step_size": eta, "rounds": 3}
            call["x0"] = np.ones(problem.dim)
            expected = run(problem, device="cpu", engine="eager", **call)
            for engine in ("auto", "eager", "graph"):
                label = f"{name} {rule!r} {engine}"
                differences[label] = _tried(expected, problem, device="cuda", engine=engine, **call)
    return _judged(differences)


def cudnn() -> dict[str, Any]:
    """Look whether cuDNN is on within a run, and off or on after it as before."""
    before = torch.backends.cudnn.enabled
    with deterministic(torch.device("cuda", 0), tf32=False):
        inside = torch.backends.cudnn.enabled
    after = torch.backends.cudnn.enabled
    return {"passed": before == inside == after, "inside": inside}


def repeated() -> dict[str, Any]:
    """Make the same call twice, in float32: equal bit for bit."""
    problem = lenet_problem(torch.float32)
    same = {}
    for form in FORMS:
        with convolutions(form):
            one, two = (_run_lenet(problem) for _ in range(2))
        same[form] = bool(np.array_equal(one.x, two.x) and np.array_equal(one.loss, two.loss))
    return {"passed": all(same.values()), "same": same}


def resumed() -> dict[str, Any]:
    """Interrupt a run within a round and take it up: equal bit for bit."""
    problem = lenet_problem(torch.float32)
    whole = _run_lenet(problem, local_steps=100)
    with tempfile.TemporaryDirectory() as directory:
        kept = Checkpoint(Path(directory) / "run.pt", every_seconds=0)
        with _interrupted(after=9), contextlib.redirect_stderr(io.StringIO()):
            cut = _run_lenet(problem, local_steps=100, checkpoint=kept)
        again = _run_lenet(problem, local_steps=100, checkpoint=kept)
    passed = cut.reason == "interrupted" and np.array_equal(again.x, whole.x)
    return {"passed": bool(passed), "rounds_before": len(cut) - 1, "of": len(whole) - 1}


def no_waiting() -> dict[str, Any]:
    """Captured blocks with PyTorch's synchronisation check set to raise an error."""
    seen: set[Any] = set()
    plain = local_steps.LocalSteps._block
    count = 0

    def watched(self: Any, at: Any, steps: int, captures: Any) -> Any:
        nonlocal count
        key = (id(captures), steps)
        if key not in seen:  # it is captured now, and that may wait
            seen.add(key)
            return plain(self, at, steps, captures)
        torch.cuda.set_sync_debug_mode("error")
        try:
            result = plain(self, at, steps, captures)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        count += 1
        return result

    problem = lenet_problem(torch.float32)
    with _replaced(local_steps.LocalSteps, "_block", watched):
        for form in FORMS:
            with convolutions(form):
                _run_lenet(problem, local_steps=100)
                _run_lenet(problem, local_steps=UntilStationary(1e-4, 100))
    return {"passed": count > 0, "blocks": count}


def lenet_problem(dtype: torch.dtype, part: slice = slice(None)) -> NetworkProblem:
    """LeNet on random images, for what does not depend on the data: a part of four nodes."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(4, 8, 1, 28, 28, generator=generator, dtype=dtype)
    targets = torch.randint(10, (4, 8), generator=generator)
    module = seeded(LeNet, 0).to(dtype)
    return NetworkProblem(module, inputs[part], targets[part], CROSS_ENTROPY)


def overwrite(x: Tensor) -> Mapping[str, float]:
    """Fill the memory that is free with NaN: what still reads it is found out."""
    if x.device.type == "cuda":
        sizes = (1, 16, 128, 1024, 2**14, 2**18, 2**22)
        kept = [
            torch.full((size,), float("nan"), device=x.device, dtype=x.dtype)
            for size in sizes
            for _ in range(16)
        ]
        del kept
    return {}


def _run_lenet(problem: NetworkProblem, **changed: Any) -> Trace:
    call: dict[str, Any] = {"local_steps": 17, "step_size": 0.05, "rounds": 3, "device": "cuda"}
    return run(problem, engine="graph", **(call | changed))


def _tried(expected: Trace, problem: Problem, **call: Any) -> Any:
    """Return how far the run's end and losses are off, relative, or its error."""
    try:
        trace = run(problem, measure=overwrite, **call)
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:500]
    if not np.array_equal(trace.local_steps, expected.local_steps):
        return f"other local steps: {trace.local_steps[-1]}, not {expected.local_steps[-1]}"
    return max(_relative(trace.x, expected.x), _relative(trace.loss, expected.loss))


def _relative(one: Any, two: Any) -> float:
    if not np.isfinite(one).all():
        return float("inf")
    return float(np.abs(one - two).max() / max(np.abs(two).max(), 1e-30))


def _judged(differences: dict[str, Any]) -> dict[str, Any]:
    wrong = {
        name: value
        for name, value in differences.items()
        if isinstance(value, str) or not value <= TOLERANCE
    }
    numbers = [value for value in differences.values() if not isinstance(value, str)]
    return {
        "passed": not wrong,
        "cases": len(differences),
        "largest": max(numbers, default=None),
        "tolerance": TOLERANCE,
        "wrong": wrong,
    }


def _networks() -> dict[str, NetworkProblem]:
    generator = torch.Generator().manual_seed(0)

    def problem(make: Callable[[], nn.Module], *shape: int) -> NetworkProblem:
        inputs = torch.rand(4, 5, *shape, generator=generator, dtype=torch.float64)
        targets = torch.randint(10, (4, 5), generator=generator)
        return NetworkProblem(seeded(make, 0).double(), inputs, targets, CROSS_ENTROPY)

    return {
        "lenet": problem(LeNet, 1, 28, 28),
        "resnet18": problem(lambda: ResNet18(width=4), 3, 32, 32),
        "mlp": problem(lambda: nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 10)), 8),
        "softmax": problem(lambda: SoftmaxLayer(pools=2), 1, 28, 28),
    }


def _convex() -> dict[str, Problem]:
    rng = np.random.default_rng(0)
    A = [rng.standard_normal((3, 12)) for _ in range(4)]
    solution = rng.standard_normal(12)
    b = [each @ solution for each in A]
    sets = [
        Ball(np.zeros(12), 1.0),
        HalfSpace(np.ones(12), 1.0),
        AffineSubspace(np.zeros(12), np.eye(12)[:2]),
    ]
    return {
        "least squares": LeastSquares(A, b),
        "quartic": PowerLoss(A, b, power=4),
        "squared distance": SquaredDistance(sets),
        "saturated distance": SaturatedDistance(sets),
    }


@contextlib.contextmanager
def _interrupted(after: int) -> Iterator[None]:
    """Interrupt the run at the ``after``-th place where it could write its checkpoint."""
    plain, calls = checkpoint.Keeper.when_due, 0

    def counted(self: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == after:
            raise KeyboardInterrupt
        plain(self)

    with _replaced(checkpoint.Keeper, "when_due", counted):
        yield


@contextlib.contextmanager
def _replaced(holder: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(holder, name)
    setattr(holder, name, value)
    try:
        yield
    finally:
        setattr(holder, name, before)
