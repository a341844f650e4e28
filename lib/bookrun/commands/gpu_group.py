"""Check that a run of several processes on a GPU ends where the run of one process does."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn

from bookrun.commands.gpu_agreement import TOLERANCE, lenet_problem
from localgd import (
    Anderson,
    Average,
    FixedSteps,
    NetworkProblem,
    Processes,
    Trace,
    UntilStationary,
    run,
)
from localgd.algorithm.processes import Reduction

_RULES = (FixedSteps(17), UntilStationary(1e-3, 40))
_SERVERS = (Average(), Anderson(3))
_REDUCTIONS: tuple[Reduction, ...] = ("sum", "ordered")


def group(device: str = "cuda") -> dict[str, Any]:
    """Compare one process under NCCL, and two that share the GPU under gloo, with no group.

    NCCL takes one process a GPU, so that two of them are tried with gloo, whose messages go through
    the host.
    """
    problem = lenet_problem(torch.float64)
    expected = _runs(problem, device, None)
    with tempfile.TemporaryDirectory() as directory:
        backend = "nccl" if device == "cuda" else "gloo"
        with _member(backend, Path(directory) / "one", rank=0, size=1):
            found = {f"{backend}, one process": _runs(problem, device, "world")}
        spawn(_half, (directory, device), nprocs=2)  # type: ignore[no-untyped-call]
        found["gloo, two processes"] = dict(np.load(Path(directory) / "ends.npz"))
    apart = {
        f"{label}: {case}": float(np.abs(there[case] - end).max() / np.abs(end).max())
        for label, there in found.items()
        for case, end in expected.items()
    }
    return {
        "passed": max(apart.values()) <= TOLERANCE,
        "cases": len(apart),
        "largest": max(apart.values()),
        "tolerance": TOLERANCE,
    }


def _runs(problem: NetworkProblem, device: str, members: str | None) -> dict[str, Any]:
    """Return where each rule, server and reduction ends: x and the losses, one after the other."""
    return {
        f"{rule!r} {type(server).__name__} {reduction}": _end(
            run(
                problem,
                local_steps=rule,
                step_size=0.05,
                rounds=3,
                server=server,
                device=device,
                engine="graph" if device == "cuda" else "eager",
                group=members and Processes(members, reduction),
            )
        )
        for rule in _RULES
        for server in _SERVERS
        for reduction in _REDUCTIONS
    }


def _end(trace: Trace) -> Any:
    return np.concatenate([trace.x, trace.loss])


def _half(rank: int, directory: str, device: str) -> None:
    """Run one of two processes, each with half of the nodes; the first one saves the ends."""
    mine = lenet_problem(torch.float64, slice(2 * rank, 2 * rank + 2))
    with _member("gloo", Path(directory) / "two", rank, 2):
        ends = _runs(mine, device, "world")
    if rank == 0:
        np.savez(Path(directory) / "ends.npz", **ends)


@contextlib.contextmanager
def _member(backend: str, meeting: Path, rank: int, size: int) -> Iterator[None]:
    """Be a process of a group whose members meet at a file."""
    dist.init_process_group(
        backend, init_method=meeting.absolute().as_uri(), rank=rank, world_size=size
    )
    try:
        yield
    finally:
        dist.destroy_process_group()
