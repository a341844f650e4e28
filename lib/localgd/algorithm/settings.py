"""The settings of a run, checked before any work is done."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from localgd.algorithm.processes import Processes
from localgd.algorithm.rules import Rule, ToOptimum, as_rule
from localgd.algorithm.servers import Server, check_flag
from localgd.algorithm.trace import Trace
from localgd.engine.evaluator import Engine
from localgd.fingerprint import describe, digest, own_code, plain
from localgd.problem import ClosedForm, ClosedPaths, Problem, real_array

Stop = float | Callable[[Trace], bool]


@dataclass(frozen=True, eq=False)
class Settings:
    """The arguments of `run`, checked; the problem is on its device, in its type."""

    problem: Problem
    x0: Tensor  # (d,)
    rule: Rule
    server: Server
    etas: NDArray[np.float64]  # (m,)
    leap: ClosedForm | None
    trail: ClosedPaths | None  # where the rule wants paths and they have a closed form
    rounds: int
    stop: Stop | None
    device: torch.device
    seed: int
    engine: Engine
    chunk_size: int | None
    tf32: bool

    def course(self) -> dict[str, Any]:
        """Return what the iterates depend on, for the provenance."""
        return {
            "local_steps": repr(self.rule),
            "server": repr(self.server),
            "step_size": self.etas.tolist(),
            "seed": self.seed,
            "engine": self.engine,
            "tf32": self.tf32,
        }

    def in_common(self) -> dict[str, str]:
        """Return what is the same in all processes that hold nodes, and "nodes", how many."""
        return known_to_all(self.problem, self.rule, self.server, self.x0) | {
            "nodes": str(self.problem.num_nodes),
            "rounds": str(self.rounds),
            "stop": describe(self.stop),
            "seed": str(self.seed),
            "engine": self.engine,
            "tf32": str(self.tf32),
            "device": self.device.type,
        }

    def limits(self) -> dict[str, Any]:
        """Return what only says where the course ends."""
        return {"rounds": self.rounds, "stop": plain(self.stop)}


def known_to_all(problem: Problem, rule: Rule, server: Server, x0: Tensor) -> dict[str, str]:
    """Return what the course depends on and every process knows, whichever nodes it holds."""
    return dict(problem.in_common()) | {
        "x0": describe(x0),
        "local_steps": rule.in_common(),
        "server": f"{server!r} {digest(server)}{own_code(server)}",
    }


def check(
    problem: Problem,
    x0: Any,
    *,
    local_steps: int | Sequence[int] | Rule,
    step_size: float | Sequence[float],
    server: Server,
    rounds: int,
    stop: Stop | None,
    device: str | torch.device,
    dtype: torch.dtype | None,
    seed: int,
    engine: Engine,
    chunk_size: int | None,
    tf32: bool,
    processes: Processes | None = None,
) -> Settings:
    """Return the settings that the arguments of `run` stand for.

    `processes`: those that share the run, where there are others.
    Raises `ValueError` or `TypeError` for what cannot be run, with the value, rule and node.
    """
    if not isinstance(problem, Problem):
        raise TypeError(f"problem={problem!r} must be a Problem, with one node at least")
    rule = as_rule(local_steps)
    if not (processes and rule.wants_paths):  # which are those of all nodes
        rule.check(problem.num_nodes)
    if isinstance(rule, ToOptimum) and problem.projection() is None:
        raise ValueError(f"{type(problem).__name__} has no projection: T = ∞ cannot be run exactly")
    if not isinstance(server, Server):
        raise TypeError(f"server={server!r} must be a Server, such as Average()")
    etas = problem.check_step_size(step_size)
    _check_count(rounds, "rounds", 0)
    if chunk_size is not None:
        _check_count(chunk_size, "chunk_size", 1)
    if stop is not None and not callable(stop):
        if isinstance(stop, bool | str):
            raise TypeError(f"stop={stop!r} must be a positive tolerance or a callable")
        stop = float(stop)
        if not (math.isfinite(stop) and stop > 0):
            raise ValueError(f"stop={stop} must be a positive tolerance or a callable")
        if processes and processes.record == "loss":
            raise ValueError(f"stop={stop} needs ‖∇f(x_n)‖², which record='loss' leaves out")
    check_flag(tf32, "tf32")
    _check_seed(seed)
    target = pick_device(device, problem)
    problem = problem.to(target, _check_dtype(dtype, etas, problem))
    server.check(problem, rule)
    return Settings(
        problem=problem,
        x0=_start(problem, x0, seed, target),
        rule=rule if type(rule).state_dict is Rule.state_dict else copy.deepcopy(rule),
        server=copy.deepcopy(server),
        etas=etas,
        leap=_leap(problem, etas, engine),
        trail=problem.closed_paths(etas) if rule.wants_paths else None,
        rounds=int(rounds),
        stop=stop,
        device=target,
        seed=int(seed),
        engine=engine,
        chunk_size=chunk_size,
        tf32=tf32,
    )


def pick_device(device: str | torch.device, problem: Problem) -> torch.device:
    """Return the device to run on; "auto" is the GPU for problems that gain by one.

    Raises `ValueError` where a GPU is asked for and there is none, and for "meta".
    """
    if not isinstance(device, str | torch.device):
        raise TypeError(f"device={device!r} must be a name, such as 'cpu', or a torch.device")
    if device == "auto":
        device = "cuda" if problem.prefers_gpu and torch.cuda.is_available() else "cpu"
    chosen = torch.device(device)
    if chosen.type == "meta":
        raise ValueError(f"device={device!r} holds no numbers: nothing can be computed there")
    if chosen.type != "cuda":
        return chosen
    if not torch.cuda.is_available():
        raise ValueError(f"device={device!r} asks for a GPU, and PyTorch sees none")
    if str(chosen) == "cuda":
        return torch.device("cuda", torch.cuda.current_device())
    return chosen


def _leap(problem: Problem, etas: NDArray[np.float64], engine: Engine) -> ClosedForm | None:
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
    x = x0 if isinstance(x0, Tensor) else torch.from_numpy(real_array(x0, "x0").astype(float))
    if x.is_complex():
        raise ValueError(f"x0 holds {x.dtype}, expected real numbers")
    if x.shape != (problem.dim,):
        raise ValueError(f"x0 has shape {tuple(x.shape)}, expected ({problem.dim},)")
    if not bool(torch.isfinite(x).all()):
        raise ValueError("x0 holds a NaN or an infinity")
    x = x.detach().clone().to(device, problem.dtype)
    if not bool(torch.isfinite(x).all()):
        raise ValueError(f"x0 holds an entry that is infinite in {problem.dtype}")
    return x


def _check_dtype(
    dtype: torch.dtype | None, etas: NDArray[np.float64], problem: Problem
) -> torch.dtype:
    """Return the type to compute in, where it can be computed in and no η_i is 0 there."""
    if dtype not in (None, torch.float32, torch.float64):
        raise ValueError(f"dtype={dtype} must be torch.float32 or torch.float64")
    chosen = dtype or problem.dtype
    for node, eta in enumerate(etas):
        if float(torch.tensor(eta, dtype=chosen)) == 0:
            raise ValueError(f"step_size={eta:g} at node {node} is 0 in {chosen}")
    return chosen


def _check_seed(seed: Any) -> None:
    """Raise `ValueError` where `seed` is no integer that PyTorch takes."""
    whole = isinstance(seed, int | np.integer) and not isinstance(seed, bool)
    if not whole or not -(2**63) <= seed < 2**64:
        raise ValueError(f"seed={seed!r} must be an integer from −2⁶³ to 2⁶⁴ − 1")


def _check_count(value: Any, name: str, least: int) -> None:
    """Raise `ValueError` where `value` is not an integer ≥ `least`."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < least:
        raise ValueError(f"{name}={value!r} must be an integer ≥ {least}")
