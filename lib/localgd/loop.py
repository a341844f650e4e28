"""Algorithm 1: every node takes its local steps, then the models are averaged."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from localgd import __version__
from localgd.local import Leap, LocalPhase, local_phase
from localgd.problem import Problem
from localgd.rules import RoundInfo, Rule, ToOptimum, as_rule
from localgd.trace import DivergenceError, Recorder, Trace

Engine = Literal["auto", "closed", "eager"]


def run(
    problem: Problem,
    x0: Any = None,
    *,
    local_steps: int | Sequence[int] | Rule,
    step_size: float | Sequence[float],
    rounds: int,
    stop: float | Callable[[Trace], bool] | None = None,
    device: str | torch.device = "auto",
    dtype: torch.dtype | None = None,
    seed: int = 0,
    engine: Engine = "auto",
    progress: bool = False,
) -> Trace:
    """x_{n+1} = (1/m) Σ x^{i,T_i} with x^{i,0} = x_n and x^{i,t+1} = x^{i,t} − η_i ∇f_i(x^{i,t}).

    Algorithm 1 of Zhang & Li (2019), all m nodes advancing together.

    `x0`: the start, shape (d,); None asks the problem (zeros unless it says otherwise,
    `seed` feeding whatever is random in it).  `local_steps`: T, one T_i per node, or a
    `Rule`.  `step_size`: η, or one η_i per node.  `rounds`: how many averages to take at
    most.  `stop`: end as soon as ‖∇f(x_n)‖² ≤ `stop`, or `stop(trace)` is true of the trace
    so far.  `device`: "auto" takes a GPU where there is one and the problem gains by it.
    `dtype`: the problem's own unless given.  `engine`: "closed" takes all T_i steps at once
    where the problem has a closed form for them, "eager" takes them one by one, "auto" the first
    where it exists; the trajectories agree to rounding.  `progress`: show a bar.

    Row 0 of the trace is x_0, before any communication.  A round in which no node moved
    ends the run with reason "frozen", for nothing can change after it; an interrupt
    (Ctrl-C) ends it with reason "interrupted" and the rows so far.

    Raises `ValueError` or `TypeError`, before any step, for input that cannot be run, with
    the value, the rule and the node; `DivergenceError` where a value stops being finite.
    """
    rule = as_rule(local_steps)
    rule.check(problem.num_nodes)
    if isinstance(rule, ToOptimum) and problem.projection() is None:
        raise ValueError(f"{type(problem).__name__} has no projection: T = ∞ cannot be run exactly")
    etas = problem.check_step_size(step_size)
    if isinstance(rounds, bool) or not isinstance(rounds, int | np.integer) or rounds < 0:
        raise ValueError(f"rounds={rounds!r} must be an integer ≥ 0")
    if stop is not None and not callable(stop) and not (math.isfinite(stop) and stop > 0):
        raise ValueError(f"stop={stop} must be a positive tolerance or a callable")
    target = pick_device(device, problem)
    problem = problem.to(target, dtype or problem.dtype)
    x = _start(problem, x0, seed, target)
    settings = {
        "local_steps": repr(rule),
        "step_size": etas.tolist(),
        "rounds": int(rounds),
        "stop": stop if stop is None or not callable(stop) else repr(stop),
        "seed": seed,
        "engine": engine,
    }
    recorder = Recorder(problem.num_nodes, _provenance(problem, settings, target))
    loop = _Loop(problem, rule, etas, x, _leap(problem, etas, engine), recorder)
    try:
        reason = "rounds"
        for _ in tqdm(range(rounds), unit="round", disable=not progress):
            if loop.should_stop(stop):
                break
            if not loop.round():
                reason = "frozen"
                break
        if loop.should_stop(stop):
            reason = "stop"
    except KeyboardInterrupt:
        reason = "interrupted"
    return loop.trace(reason)


def average(x: Tensor) -> Tensor:
    """(1/m) Σ x_i over the nodes, (m, d) → (d,): the only communication of a round."""
    return x.mean(0)


def pick_device(device: str | torch.device, problem: Problem) -> torch.device:
    """Return the device to run on; "auto" is the GPU for problems that gain by one.

    Raises `ValueError` where a GPU is asked for and there is none.
    """
    if device == "auto":
        return torch.device("cuda" if problem.prefers_gpu and torch.cuda.is_available() else "cpu")
    chosen = torch.device(device)
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device={device!r} asks for a GPU, and PyTorch sees none")
    return chosen


class _View(NamedTuple):
    """All that is evaluated at x_n."""

    gradients: Tensor  # (m, d) ∇f_i(x_n): the record's and the first local step's
    loss: float
    grad_norm_sq: float


class _Loop:
    """The run between rounds: x_n, what was evaluated there, and the rows so far."""

    def __init__(
        self,
        problem: Problem,
        rule: Rule,
        etas: NDArray[np.float64],
        x: Tensor,
        leap: Leap | None,
        recorder: Recorder,
    ) -> None:
        self.problem, self.rule, self.x, self.leap = problem, rule, x, leap
        self.recorder = recorder
        self.etas = torch.as_tensor(etas, dtype=x.dtype, device=x.device)[:, None]
        self.traffic = 2 * problem.num_nodes * x.numel() * x.element_size()
        self.number = 0
        self.last_steps: NDArray[np.float64] | None = None
        began = time.perf_counter()
        self.view = self._evaluate(x)
        self._record(None, time.perf_counter() - began)

    def round(self) -> bool:
        """Do one round; return whether any node moved."""
        began = time.perf_counter()
        self.number += 1
        norms = (self.view.gradients**2).sum(1).cpu().numpy().astype(np.float64)
        info = RoundInfo(
            self.number, self.view.loss, self.view.grad_norm_sq, norms, self.last_steps
        )
        plan = self.rule.plan(info, self.problem.num_nodes)
        phase = local_phase(self.problem, self.x, self.view.gradients, self.etas, plan, self.leap)
        self._check(phase.x)
        moved = not torch.equal(phase.x, self.x.expand_as(phase.x))
        if moved:
            x = average(phase.x)
            self.view, self.x = self._evaluate(x), x
        self._record(phase, time.perf_counter() - began)
        self.last_steps = phase.steps
        return moved

    def should_stop(self, stop: float | Callable[[Trace], bool] | None) -> bool:
        """Whether the caller's criterion is met at x_n."""
        if callable(stop):
            return bool(stop(self.trace("rounds")))
        return stop is not None and self.view.grad_norm_sq <= stop

    def trace(self, reason: str) -> Trace:
        """Return the rows so far."""
        return self.recorder.trace(self.x.cpu().numpy(), reason)

    def _evaluate(self, x: Tensor) -> _View:
        losses, gradients = self.problem.evaluate(x.expand(self.problem.num_nodes, -1))
        self._check(losses[:, None])
        self._check(gradients)
        norm_sq = float((average(gradients) ** 2).sum())
        return _View(gradients, float(losses.mean()), norm_sq)

    def _check(self, values: Tensor) -> None:
        """Raise `DivergenceError` where a row of `values` (m, ·) is not finite."""
        finite = torch.isfinite(values).all(1)
        if not bool(finite.all()):
            node = int((~finite).nonzero()[0])
            raise DivergenceError(self.number, node, self.trace("diverged"))

    def _record(self, phase: LocalPhase | None, seconds: float) -> None:
        m = self.problem.num_nodes
        self.recorder.add(
            loss=self.view.loss,
            grad_norm_sq=self.view.grad_norm_sq,
            dist=self.problem.distance(self.x),
            local_steps=np.zeros(m) if phase is None else phase.steps,
            met=None if phase is None else phase.met,
            seconds=seconds,
            bytes=0 if phase is None else self.traffic,
        )


def _leap(problem: Problem, etas: NDArray[np.float64], engine: Engine) -> Leap | None:
    """Return the closed form that `engine` asks for, or say that there is none."""
    if engine not in get_args(Engine):
        raise ValueError(f"engine={engine!r} must be one of {', '.join(get_args(Engine))}")
    leap = None if engine == "eager" else problem.closed_form(etas)
    if engine == "closed" and leap is None:
        raise ValueError(f"{type(problem).__name__} has no closed form with these step sizes")
    return leap


def _start(problem: Problem, x0: Any, seed: int, device: torch.device) -> Tensor:
    """Return x_0 as a finite (d,) tensor of the problem's type, or say what is wrong."""
    if x0 is None:
        x0 = problem.initial(torch.Generator().manual_seed(seed))
    x = torch.as_tensor(x0 if isinstance(x0, Tensor) else np.asarray(x0, float))
    if x.shape != (problem.dim,):
        raise ValueError(f"x0 has shape {tuple(x.shape)}, expected ({problem.dim},)")
    if not bool(torch.isfinite(x).all()):
        raise ValueError("x0 holds a NaN or an infinity")
    return x.detach().clone().to(device, problem.dtype)


def _provenance(problem: Problem, settings: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Return what is needed to tell this run from another."""
    hardware = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "problem": dict(problem.provenance()),
        "settings": settings,
        "device": f"{device.type} ({hardware})",
        "dtype": str(problem.dtype).removeprefix("torch."),
        "versions": {
            "localgd": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
    }
