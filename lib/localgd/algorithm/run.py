"""Algorithm 1: every node takes its local steps, then the models are averaged."""

from __future__ import annotations

import math
import os
import platform
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from localgd import __version__
from localgd.algorithm.checkpoint import Checkpoint, Keeper, fingerprint
from localgd.algorithm.local_phase import Leap
from localgd.algorithm.rounds import Measure, Rounds
from localgd.algorithm.rules import Rule, ToOptimum, as_rule
from localgd.algorithm.trace import Recorder, Trace
from localgd.engine.backend import deterministic, memory_errors
from localgd.engine.evaluator import Engine, Evaluator, divide
from localgd.fingerprint import plain
from localgd.problem import Problem


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
    chunk_size: int | None = None,
    tf32: bool = False,
    checkpoint: str | os.PathLike[str] | Checkpoint | None = None,
    measure: Measure | None = None,
    progress: bool = False,
) -> Trace:
    """x_{n+1} = (1/m) Σ x^{i,T_i} with x^{i,0} = x_n and x^{i,t+1} = x^{i,t} − η_i ∇f_i(x^{i,t}).

    Algorithm 1 of Zhang & Li (2019), all m nodes advancing together.

    `x0`: the start, shape (d,); None asks the problem (zeros unless it says otherwise,
    `seed` feeding whatever is random in it).  `local_steps`: T, one T_i per node, or a
    `Rule`.  `step_size`: η, or one η_i per node.  `rounds`: how many averages to take at
    most.  `stop`: end as soon as ‖∇f(x_n)‖² ≤ `stop`, or `stop(trace)` is true of the trace
    so far.  `device`: "auto" takes a GPU where there is one and the problem gains by it.
    `dtype`: the problem's own unless given.  `progress`: show a bar.  `measure`: a function
    of x_n, shape (d,) on the device of the run, that returns numbers by name (a test loss);
    it is called for every row and fills `Trace.measures`.

    `engine`: how the local steps are taken; all ways agree to rounding.  "closed": all T_i at
    once, where the problem has a closed form; a round then costs the same for every T.
    "eager": one by one.  "compiled": one by one, in a program that `torch.compile`'s
    back-end has compiled (on a CPU it needs a C++ compiler; half a minute the first time).
    "graph": in blocks of 16, each one CUDA graph that runs without returning to Python.
    "auto": the closed form where there is one; else on a GPU, for a network, the graph; else
    eager steps, compiled from the round on in which the work done and known to come is
    worth it, silently eager where there is no compiler.
    `chunk_size`: how many nodes at most are evaluated together; None takes as many as half of
    the machine's memory holds, and on a CPU one after another where they convolve much.
    `tf32`: let a GPU multiply float32 matrices with a 10-bit mantissa; off unless asked for.

    `checkpoint`: a path, or a `Checkpoint`: what has been computed is kept there, within a
    round too, and the same call takes the run up again, with `rounds` or `stop` changed if
    you like.  A run that was killed and taken up ends bit for bit like one that was not.

    Row 0 of the trace is x_0, before any communication.  A round in which no node moved
    ends the run with reason "frozen", for nothing can change after it; an interrupt
    (Ctrl-C) ends it with reason "interrupted", the rows so far, and a word on stderr on how
    to go on.

    The same call on the same machine gives the same trace, bit for bit but for the wall
    times.  This ends where the device, the number of threads, the engine, the chunk size or
    PyTorch's version changes; on a GPU, where the module uses operations that PyTorch has no
    deterministic version of.

    Raises `ValueError` or `TypeError`, before any step, for input that cannot be run, with
    the value, the rule and the node, for a module that cannot be batched and for a checkpoint
    of another run, with what differs; `DivergenceError` where a value stops being finite;
    `MemoryError` where the nodes do not fit, with what to do.
    """
    rule = as_rule(local_steps)
    rule.check(problem.num_nodes)
    if isinstance(rule, ToOptimum) and problem.projection() is None:
        raise ValueError(f"{type(problem).__name__} has no projection: T = ∞ cannot be run exactly")
    etas = problem.check_step_size(step_size)
    _check_count(rounds, "rounds", 0)
    if chunk_size is not None:
        _check_count(chunk_size, "chunk_size", 1)
    if stop is not None and not callable(stop):
        stop = float(stop)
        if not (math.isfinite(stop) and stop > 0):
            raise ValueError(f"stop={stop} must be a positive tolerance or a callable")
    target = pick_device(device, problem)
    problem = problem.to(target, dtype or problem.dtype)
    x = _start(problem, x0, seed, target)
    leap = _leap(problem, etas, engine)
    with deterministic(target, tf32), memory_errors(chunk_size):
        evaluator = Evaluator(engine, problem, target)
        chunks = divide(problem, target, chunk_size)
        settings = {
            "local_steps": repr(rule),
            "step_size": etas.tolist(),
            "seed": int(seed),
            "engine": engine,
            "chunks": [len(chunk.nodes) for chunk in chunks],
            "tf32": tf32,
        }
        provenance = _provenance(problem, settings, target)
        limits = {"rounds": int(rounds), "stop": plain(stop)}
        recorder = Recorder(problem.num_nodes, provenance | {"settings": settings | limits})
        loop = Rounds(problem, rule, etas, x, leap, recorder, evaluator, chunks, measure)
        keeper = None
        if checkpoint is not None:
            where = checkpoint if isinstance(checkpoint, Checkpoint) else Checkpoint(checkpoint)
            course = {name: provenance[name] for name in ("device", "dtype", "threads", "versions")}
            keeper = Keeper(
                where, fingerprint(problem, rule, x, evaluator.identity, settings | course)
            )
            keeper.take_up(loop)
            recorder.provenance = {**recorder.provenance, "settings": settings | limits}
        return _course(loop, int(rounds), stop, keeper, progress)


def _course(
    loop: Rounds,
    rounds: int,
    stop: float | Callable[[Trace], bool] | None,
    keeper: Keeper | None,
    progress: bool,
) -> Trace:
    """Do the rounds that are still to be done, and keep what there is whatever happens."""
    if loop.done > rounds:
        raise ValueError(
            f"rounds={rounds} asks for fewer rounds than the {loop.done} that the checkpoint holds"
        )

    def save() -> None:
        if keeper:
            keeper.when_due(loop)

    reason = "rounds"
    try:
        loop.begin()
        if keeper:
            keeper.start(loop)
        with tqdm(total=rounds, initial=loop.done, unit="round", disable=not progress) as bar:
            while not (stopped := loop.should_stop(stop)):
                if loop.done == rounds or loop.frozen:
                    break
                loop.round(rounds - loop.done, save)
                if keeper:
                    keeper.check_rule(loop.rule)
                save()
                bar.update()
        if loop.frozen:
            reason = "frozen"
        if stopped:
            reason = "stop"
    except KeyboardInterrupt:
        reason = "interrupted"
    except Exception:
        if keeper:
            keeper.write(loop)
        raise
    try:
        if keeper:
            keeper.write(loop)
    except KeyboardInterrupt:  # one is no reason to lose what there is; a second one ends it all
        reason = "interrupted"
        if keeper:
            keeper.write(loop)
    if reason == "interrupted":
        print(_how_to_go_on(loop, keeper), file=sys.stderr)
    return loop.trace(reason)


def _how_to_go_on(loop: Rounds, keeper: Keeper | None) -> str:
    if keeper is None:
        return (
            f"Interrupted after round {loop.done}: the trace ends there. With checkpoint=PATH the "
            "same call could have been taken up again."
        )
    return (
        f"Interrupted after round {loop.done}: {keeper.path} keeps it. The same call with "
        "the same checkpoint goes on from there."
    )


def _check_count(value: Any, name: str, least: int) -> None:
    """Raise `ValueError` where `value` is not an integer ≥ `least`."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < least:
        raise ValueError(f"{name}={value!r} must be an integer ≥ {least}")


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


def _leap(problem: Problem, etas: NDArray[np.float64], engine: Engine) -> Leap | None:
    """Return the closed form that `engine` asks for, or say that there is none."""
    if engine not in get_args(Engine):
        raise ValueError(f"engine={engine!r} must be one of {', '.join(get_args(Engine))}")
    leap = problem.closed_form(etas) if engine in ("auto", "closed") else None
    if engine == "closed" and leap is None:
        raise ValueError(f"{type(problem).__name__} has no closed form with these step sizes")
    return leap


def _start(problem: Problem, x0: Any, seed: int, device: torch.device) -> Tensor:
    """Return x_0 as a finite (d,) tensor of the problem's type, or say what is wrong."""
    if x0 is None:
        x0 = problem.initial(torch.Generator().manual_seed(int(seed)))
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
        "problem": plain(problem.provenance()),
        "settings": settings,
        "device": f"{device.type} ({hardware})",
        "threads": torch.get_num_threads(),
        "dtype": str(problem.dtype).removeprefix("torch."),
        "versions": {
            "localgd": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
    }
