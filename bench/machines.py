"""`python -m bench.machines [--output FILE]`: two hosts on links of 1 to 1000 Mbit/s, by the clock.

Two network namespaces on this machine, joined by a link whose bandwidth `tc tbf` bounds (root and
iproute2 are needed), run least squares on colon-cancer (one node a host, an intercept, until the
loss is a tenth of the first) and LeNet on 1000 images of MNIST (five nodes a host, from a model
that has left the plateau, until the loss is 0.5): T fixed, T chosen by `BalancedSteps`, and
Anderson's server.  A run is stopped after `--most` seconds; its seconds to the target are then
those of its rounds times the rounds that one process needs, and `reached` is false.  About a
quarter of an hour on two quiet cores.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from bench.hosts import two_hosts
from bench.machine import describe
from bookrun import Case, network_problem
from localgd import (
    Anderson,
    Average,
    BalancedSteps,
    FittedSteps,
    LeastSquares,
    NetworkProblem,
    Problem,
    Processes,
    Trace,
    datasets,
    run,
)
from localgd.algorithm.rules import Rule
from localgd.algorithm.servers import Server
from localgd.files import write_atomically

MBIT = (1000, 100, 10, 1)
STEPS = {"colon-cancer": (1, 2, 5, 10, 20, 50), "LeNet": (1, 2, 5, 10, 20, 50)}
#: Bytes of the messages that the link is timed with.
SIZES = (64, 4096, 32_768, 180_000)
REPEATS = 5
#: LeNet's start: the model after so many rounds of T = 20, η = 0.1.
LENET = Case("lenet", samples=1000, nodes=10, step_size=0.1, rounds=5, local_steps=20)
MOST_ROUNDS = 400
HOSTS = 2

Row = dict[str, Any]


class Task:
    """One problem, its start and its target, on all nodes or on those of one host."""

    def __init__(self, name: str, rank: int | None, start: np.ndarray | None = None) -> None:
        self.name = name
        if name == "colon-cancer":
            data = datasets.colon_cancer(source="real").with_intercept()
            A, b = data.split(HOSTS)
            self.eta = float(1 / LeastSquares(A, b).smoothness().max())
            own = slice(None) if rank is None else slice(rank, rank + 1)
            self.problem: Problem = LeastSquares(A[own], b[own], data=data.source)
            self.x0 = np.zeros(self.problem.dim)
            self.share, self.least = 0.1, 0.0
        else:
            whole = network_problem(LENET, "real")
            self.eta = LENET.step_size
            self.x0 = _lenet_start(whole) if start is None else start
            each = LENET.nodes // HOSTS
            self.problem = whole if rank is None else _part(whole, rank * each, each)
            self.share, self.least = 0.0, 0.5

    def reached(self, trace: Trace) -> bool:
        """Return whether the last loss is at the target."""
        return bool(trace.loss[-1] <= max(self.share * trace.loss[0], self.least))

    def run(self, rule: int | Rule, server: Server, **more: Any) -> Trace:
        """Run step by step."""
        return run(
            self.problem,
            self.x0,
            local_steps=rule,
            step_size=self.eta,
            rounds=MOST_ROUNDS,
            server=server,
            engine="eager",
            device="cpu",
            **more,
        )


def _lenet_start(whole: NetworkProblem) -> np.ndarray:
    trace = run(
        whole,
        local_steps=LENET.rule,
        step_size=LENET.step_size,
        rounds=LENET.rounds,
        engine="eager",
        device="cpu",
    )
    return np.asarray(trace.x)


def _part(whole: NetworkProblem, first: int, count: int) -> NetworkProblem:
    """Return the problem of some of the nodes."""
    tensors = whole.contents()
    own = slice(first, first + count)
    inputs, targets = tensors["inputs 0"][own], tensors["targets 0"][own]
    return NetworkProblem(whole.module, inputs, targets, whole.loss, data=whole.data)


def contenders(name: str) -> list[tuple[str, int | Rule, Server]]:
    """Return what is run: its label, the rule and the server."""
    found: list[tuple[str, int | Rule, Server]] = [(str(T), T, Average()) for T in STEPS[name]]
    found.append(("measured", BalancedSteps("measured", max_steps=100), Average()))
    if name == "colon-cancer":
        found += [("1", 1, Anderson(10)), ("5", 5, Anderson(10))]
    return found


def host(output: Path, starts: Path, most: float) -> None:
    """Run everything as one of two hosts; the first writes the rows."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    rows: list[Row] = [{"link": _link()}]
    for name in STEPS:
        task = Task(name, rank, np.load(starts) if name == "LeNet" else None)
        for label, rule, server in contenders(name):
            trace = task.run(
                rule,
                server,
                group=Processes(record="loss", timeout_seconds=300),
                stop=lambda t, task=task: (
                    task.reached(t) or (len(t) > 3 and t.seconds[1:].sum() > most)
                ),
            )
            assert trace.seconds_waiting is not None
            assert trace.seconds_communicating is not None
            computing = trace.seconds - trace.seconds_waiting - trace.seconds_communicating
            steps = trace.local_steps[1:].max(1)
            rows.append(
                {
                    "problem": name,
                    "local_steps": label,
                    "server": repr(server),
                    "rounds": len(trace) - 1,
                    "reached": task.reached(trace),
                    "seconds": float(trace.seconds[1:].sum()),
                    "step": statistics.median((computing[1:] / steps).tolist()),
                    "waiting": statistics.median(trace.seconds_waiting[1:].tolist()),
                    "communicating": statistics.median(trace.seconds_communicating[1:].tolist()),
                    "bytes": int(trace.bytes[-1]),
                    "chosen": int(np.median(steps[len(steps) // 2 :])),
                }
            )
            if rank == 0:
                print({key: rows[-1][key] for key in ("problem", "local_steps", "seconds")})
                write_atomically(output, json.dumps(rows).encode())
    dist.destroy_process_group()


def _link() -> dict[str, float]:
    """Return the seconds of an all-reduce by its bytes: the median of some."""
    found = {}
    for size in SIZES:
        message, seconds = torch.zeros(size // 4), []
        for _ in range(REPEATS):
            dist.barrier()
            began = time.perf_counter()
            dist.all_reduce(message)
            seconds.append(time.perf_counter() - began)
        found[str(size)] = statistics.median(seconds)
    return found


def on_link(mbit: int, folder: Path, most: float) -> list[Row]:
    """Return the rows of two hosts with a link of `mbit` Mbit/s between them."""
    output = folder / f"machines-{mbit}.json"
    with two_hosts(mbit) as hosts:
        processes = []
        for rank, each in enumerate(hosts):
            command = [sys.executable, "-m", "bench.machines", "--host", str(output)]
            command += ["--most", str(most)]
            place = {
                "RANK": str(rank),
                "WORLD_SIZE": str(HOSTS),
                "MASTER_ADDR": hosts[0].address,
                "MASTER_PORT": "29500",
                "GLOO_SOCKET_IFNAME": each.interface,
                "OMP_NUM_THREADS": "1",
            }
            processes.append(subprocess.Popen(each.command(*command), env={**os.environ, **place}))
        codes = [process.wait() for process in processes]
        if any(codes):
            raise RuntimeError(f"the hosts on the link of {mbit} Mbit/s have failed")
    rows: list[Row] = json.loads(output.read_text(encoding="utf-8"))
    return [{"mbit": mbit} | row for row in rows]


def complete(rows: list[Row], tasks: dict[str, Task]) -> None:
    """Fill in the seconds of runs that were stopped, and what Section 4's recipe would take."""
    needed = {}
    for name, task in tasks.items():
        for label, rule, server in contenders(name):
            if label != "measured":
                trace = task.run(rule, server, stop=task.reached)
                needed[name, label, repr(server)] = len(trace) - 1
    for row in rows:
        key = row.get("problem"), row.get("local_steps"), row.get("server")
        if key in needed and not row["reached"]:
            row["seconds"] *= needed[key] / row["rounds"]
            row["rounds"] = needed[key]
    for mbit in MBIT:
        for name, task in tasks.items():
            ratio = _ratio(
                [row for row in rows if (row["mbit"], row.get("problem")) == (mbit, name)]
            )
            trace = task.run(FittedSteps(ratio, max_steps=100), Average(), stop=task.reached)
            chosen = trace.local_steps[1:, 0]
            rows.append(
                {
                    "mbit": mbit,
                    "problem": name,
                    "local_steps": "fitted",
                    "ratio": ratio,
                    "rounds": len(trace) - 1,
                    "chosen": int(np.median(chosen[len(chosen) // 2 :])),
                }
            )


def _ratio(rows: list[Row]) -> float:
    """C_g/C_c from the rows of one problem on one link: a round takes C_c + C_g T seconds."""
    averages = [r for r in rows if r.get("server") == repr(Average())]
    plain = {int(r["local_steps"]): r for r in averages if r["local_steps"].isdigit()}
    few, many = min(plain), max(plain)
    computing = {T: T * plain[T]["step"] for T in (few, many)}
    step = (computing[many] - computing[few]) / (many - few)
    message = statistics.median(r["communicating"] for r in plain.values())
    return float(step / (message + computing[few] - few * step))


def main() -> None:
    """Measure on every link, and write the record."""
    parser = argparse.ArgumentParser(prog="bench.machines", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("build/machines.json"))
    parser.add_argument("--most", type=float, default=8.0, help="seconds of one run")
    parser.add_argument("--host", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.host:
        host(options.host, options.host.parent / "lenet-start.npy", options.most)
        return
    torch.set_num_threads(1)
    made_with = describe("cpu")
    folder = Path("build") / "machines"
    folder.mkdir(parents=True, exist_ok=True)
    tasks = {name: Task(name, None) for name in STEPS}
    np.save(folder / "lenet-start.npy", tasks["LeNet"].x0)
    rows = [row for mbit in MBIT for row in on_link(mbit, folder, options.most)]
    complete(rows, tasks)
    text = json.dumps({"machine": made_with, "rows": rows}, indent=1)
    write_atomically(options.output, (text + "\n").encode())
    print(f"{options.output} holds {len(rows)} rows")


if __name__ == "__main__":
    main()
