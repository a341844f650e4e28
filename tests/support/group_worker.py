"""One process of a group: `python group_worker.py JOB RANK SIZE FOLDER`, what it finds in FOLDER.

JOB is a function below; the processes find each other through a file, on this machine alone.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh

import group_cases
from localgd import (
    Average,
    Checkpoint,
    DivergenceError,
    LeastSquares,
    Processes,
    ProcessLostError,
    Relaxed,
    Trace,
    run,
)
from localgd.engine.evaluator import has_compiler

MANY = 150  # rounds, for a run that is killed over and over
RESUMED = group_cases.CASES["Anderson"]


def equality(rank: int, size: int, folder: Path) -> None:
    """Every case, with sums and in order; then what only two processes are asked."""
    own = group_cases.own_nodes(rank, size)
    for number, case in enumerate(group_cases.CASES.values()):
        trace = group_cases.carry_out(case, own, group=dist.group.WORLD)
        trace.save(folder / f"sum {number} {rank}.npz")
    even = slice(*(group_cases.NODES * part // size for part in (rank, rank + 1)))
    if group_cases.NODES % size == 0:
        for number, case in enumerate(group_cases.ALIKE.values()):
            trace = group_cases.carry_out(case, even, group=Processes(reduction="ordered"))
            trace.save(folder / f"ordered {number} {rank}.npz")
    steps(rank, size, folder)
    messages(rank, size, folder)
    kept(rank, size, folder)
    if size == 2:
        errors(rank, folder)
        interrupted(rank, folder)
        if has_compiler():
            trace = group_cases.carry_out(group_cases.COMPILED, own, group="world")
            trace.save(folder / f"compiled {rank}.npz")
        trace = group_cases.carry_out(RESUMED, own, rounds=MANY, group="world")
        trace.save(folder / f"undisturbed {rank}.npz")
    if size == 4:
        meshes(rank, folder)


def steps(rank: int, size: int, folder: Path) -> None:
    """Where the nodes of this process are evaluated, and the averages, in order."""
    if size != 2:
        return
    problem = group_cases.Parabolas([[1.0], [3.0]][rank])
    course: list[Any] = []

    def averaged(x: torch.Tensor) -> dict[str, float]:
        course.append([each[0] for each in problem.seen])
        problem.seen.clear()
        course.append(float(x[0]))
        return {}

    run(
        problem,
        [17.0],
        local_steps=4,
        step_size=[0.25],
        rounds=3,
        measure=averaged,
        group="world",
    )
    say(folder, rank, "steps", course)


def messages(rank: int, size: int, folder: Path) -> None:
    """What a round sends: with and without the gradients, in order, and with a square move."""
    own = group_cases.own_nodes(rank, size)
    problem = group_cases.linear(own)
    sent = {}
    for name, options, server in (
        ("sum", Processes(), Average()),
        ("loss", Processes(record="loss"), Average()),
        ("ordered", Processes(reduction="ordered"), Average()),
        ("safeguard", Processes(), Relaxed(1.0, safeguard=True)),
    ):
        trace = run(problem, local_steps=2, step_size=0.02, rounds=3, group=options, server=server)
        sent[name] = trace.bytes.tolist()
        if name == "loss":
            trace.save(folder / f"loss {rank}.npz")
    say(folder, rank, "messages", sent)


def kept(rank: int, size: int, folder: Path) -> None:
    """A run that another number of processes takes up, if another has been here before."""
    path = folder.parent / "shared.pt"
    own = group_cases.own_nodes(rank, size)
    there = path.exists()
    dist.barrier()
    trace = group_cases.carry_out(
        RESUMED, own, group="world", checkpoint=path, rounds=6 if there else 3
    )
    trace.save(folder / f"kept {rank}.npz")


def errors(rank: int, folder: Path) -> None:
    """What each process says of input that cannot be run."""
    own = group_cases.own_nodes(rank, 2)
    good = group_cases.linear(own)
    mlp = group_cases.network("mlp", group_cases.EVEN)(own)
    other = group_cases.network("linear", group_cases.EVEN)(own)
    checkpoint = folder / "errors.pt"
    (folder / "damaged.pt").write_bytes(b"no checkpoint")
    base: dict[str, Any] = {"local_steps": 2, "step_size": 0.02, "rounds": 2, "group": "world"}
    cases: dict[str, tuple[Any, dict[str, Any]]] = {
        "no nodes": ([good, None][rank], {}),
        "another module": ([mlp, other][rank], {}),
        "another type": (good, {"dtype": [torch.float64, torch.float32][rank]}),
        "another T": (good, {"local_steps": [2, 3][rank]}),
        "another server": (good, {"server": [Average(), Relaxed(1.5)][rank]}),
        "another start": (good, {"x0": [[0.0] * 12, [1.0] * 12][rank]}),
        "another number of rounds": (good, {"rounds": [2, 3][rank]}),
        "a step size too large": (good, {"step_size": [0.02, 50.0][rank]}),
        "another reduction": (good, {"group": Processes(reduction=["sum", "ordered"][rank])}),
        "a tolerance that nobody knows": (good, {"group": Processes(record="loss"), "stop": 1.0}),
        "one checkpoint": (good, {"checkpoint": [None, checkpoint][rank]}),
        "a damaged checkpoint": (good, {"checkpoint": folder / "damaged.pt"}),
        "a folder that is none": (good, {"checkpoint": folder / "damaged.pt" / "x.pt"}),
        "no group": (good, {"group": 7}),
    }
    said = {}
    for name, (problem, more) in cases.items():
        said[name] = error_of(lambda p=problem, m=more: run(p, **(base | m)))
    path = folder / "own.pt"
    run(good, **base, checkpoint=path)
    others = LeastSquares(good.A + 1, good.b) if rank else good
    said["other data"] = error_of(lambda: run(others, **(base | {"rounds": 3}), checkpoint=path))
    try:
        run(
            without_limits(own),
            local_steps=40,
            step_size=[0.02, 1e9][rank],
            rounds=30,
            group="world",
        )
    except DivergenceError as error:
        said["divergence"] = [str(error), error.node, len(error.trace)]
    say(folder, rank, "errors", said)


def without_limits(own: slice) -> LeastSquares:
    """Least squares that says nothing of the steps that it stands."""
    problem = group_cases.linear(own)
    problem.smoothness = lambda: None
    return problem


def interrupted(rank: int, folder: Path) -> None:
    """The second process is interrupted in the third round; the same call then goes on."""
    own = group_cases.own_nodes(rank, 2)
    rows = 0

    def interrupt(x: torch.Tensor) -> dict[str, float]:
        nonlocal rows
        rows += 1
        if rows == 4 and rank == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return {}

    case = group_cases.CASES["network, ragged"]
    more: dict[str, Any] = {"group": "world", "checkpoint": folder / "interrupted.pt"}
    trace = group_cases.carry_out(case, own, measure=interrupt, **more)
    trace.save(folder / f"interrupted {rank}.npz")
    group_cases.carry_out(case, own, **more).save(folder / f"taken up {rank}.npz")
    say(folder, rank, "handler", signal.getsignal(signal.SIGINT) is signal.default_int_handler)


def meshes(rank: int, folder: Path) -> None:
    """Two runs side by side in the rows of a mesh; a mesh of two dimensions is refused."""
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("runs", "nodes"))
    own = group_cases.own_nodes(rank % 2, 2)
    case = group_cases.CASES["least squares, closed"]
    trace = group_cases.carry_out(case, own, group=mesh["nodes"], local_steps=7 + rank // 2)
    trace.save(folder / f"mesh {rank}.npz")
    say(folder, rank, "mesh", error_of(lambda: group_cases.carry_out(case, own, group=mesh)))


def lost(rank: int, size: int, folder: Path) -> None:
    """Of two pairs one loses a process, and the other one waits for a process that hangs."""
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("runs", "nodes"))
    number = [signal.SIGKILL, signal.SIGSTOP][rank // 2]
    rows = 0

    def leave(x: torch.Tensor) -> dict[str, float]:
        nonlocal rows
        rows += 1
        if rows == 3 and rank % 2:
            os.kill(os.getpid(), number)
        return {}

    began = time.monotonic()
    own, case = group_cases.own_nodes(rank % 2, 2), group_cases.CASES["measured"]
    # Only the one that is to be left waits for so short a time, also for a machine that is busy.
    group = Processes(mesh["nodes"], timeout_seconds=4.0 if rank == 2 else 300.0)
    error = error_of(lambda: group_cases.carry_out(case, own, group=group, measure=leave))
    say(folder, rank, "lost", [error, time.monotonic() - began])
    os._exit(0)  # a group that has lost a process cannot be taken down in order


def killed(rank: int, size: int, folder: Path) -> None:
    """A run under `torchrun` of which a process is killed ten times, at random moments."""
    attempt = int(os.environ["TORCHELASTIC_RESTART_COUNT"])
    # Which process, how many rounds after it began, and how long after that.
    draws = torch.Generator().manual_seed(100 + attempt)
    victim, after, more = torch.rand(3, generator=draws).tolist()
    left = 1 + int(10 * after)

    def kill(x: torch.Tensor) -> dict[str, float]:
        nonlocal left
        left -= 1
        if attempt < 10 and int(2 * victim) == rank and not left:
            (folder / f"kill {attempt}").touch()
            threading.Timer(0.01 * more, os.kill, (os.getpid(), signal.SIGKILL)).start()
        time.sleep(0.003)
        return {}

    trace = group_cases.carry_out(
        RESUMED,
        group_cases.own_nodes(rank, size),
        rounds=MANY,
        group="world",
        measure=kill,
        checkpoint=Checkpoint(folder / "killed.pt", every_rounds=1),
    )
    trace.save(folder / f"killed {rank}.npz")


def hosts(rank: int, size: int, folder: Path) -> None:
    """A run over a cable, and what has passed through its end here."""
    counters = Path(f"/sys/class/net/{os.environ['GLOO_SOCKET_IFNAME']}/statistics")

    def counted(x: torch.Tensor) -> dict[str, float]:
        time.sleep(0.2)  # what the other end still acknowledges belongs to this round
        both = ("tx_bytes", "rx_bytes")
        return {"counted": sum(float((counters / name).read_text()) for name in both)}

    own = group_cases.own_nodes(rank, size)
    trace = group_cases.carry_out(group_cases.WIDE, own, group="world", measure=counted)
    trace.save(folder / f"hosts {rank}.npz")


def error_of(call: Callable[[], object]) -> str:
    """What a call says that fails."""
    try:
        call()
    except (ValueError, TypeError, OSError, ProcessLostError) as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def say(folder: Path, rank: int, name: str, what: object) -> None:
    """Leave what was found."""
    (folder / f"{name} {rank}.json").write_text(json.dumps(what), encoding="utf-8")


def load(folder: Path, name: str) -> Trace:
    """Read what was left."""
    return Trace.load(folder / f"{name}.npz")


def main() -> None:
    """Join the group, and do the job."""
    torch.set_num_threads(1)
    job, folder = sys.argv[1], Path(sys.argv[2])
    if job in ("killed", "hosts"):  # under `torchrun`
        place = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        {"killed": killed, "hosts": hosts}[job](*place, folder)
        return
    rank, size = int(sys.argv[3]), int(sys.argv[4])
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/rendezvous",
        rank=rank,
        world_size=size,
        timeout=timedelta(seconds=300),
    )
    {"equality": equality, "lost": lost}[job](rank, size, folder)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
