"""The seven comparisons, each a table of rows that stand for themselves."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import nn

from bench.contenders import CROSS_ENTROPY, network_contenders, ours
from bench.images import images
from bench.profile import shares
from bench.timing import Timing, ratio, take_turns
from localgd import (
    Anderson,
    Average,
    Extrapolated,
    FixedSteps,
    LeastSquares,
    Nesterov,
    NetworkProblem,
    ToOptimum,
    UntilStationary,
    datasets,
)
from localgd.algorithm.process_group import join
from localgd.engine.evaluator import Engine
from localgd.networks import LeNet, SoftmaxLayer, seeded

#: Floating-point operations of one LeNet step on 10 × 100 images, forward and backward.
LENET_FLOP = 1.517e9


class Row(NamedTuple):
    """One measurement: a median time, and what it is compared with."""

    case: str
    what: str
    milliseconds: float  # median, of one local step of all nodes, or of one round (cases 3, 5)
    against: str  # the contender of the ratio
    ratio: float  # its time over this one's, median over the turns
    low: float  # quartiles of that ratio
    high: float
    target: str  # "" where none is set
    met: bool | None


class Setting(NamedTuple):
    """Where and how long to measure."""

    device: str
    repeats: int

    @property
    def engines(self) -> list[Engine]:
        """What a step-by-step run may use here."""
        return ["eager", "compiled"] if self.device == "cpu" else ["eager", "graph"]


def lenet(setting: Setting) -> Iterator[Row]:
    """Case 1: LeNet, 10 nodes × 100 images, T = 10; time of one step of all nodes."""
    T = 10
    goal = 1.6 if setting.device == "cpu" else 30.0
    yield from _against_others(
        setting, "1 LeNet, 10×100, T=10", seeded(LeNet, 0), images(10, 100), T, goal
    )


def lenet_profile(setting: Setting) -> dict[str, dict[str, float]]:
    """What share of a LeNet step is convolution and pooling, for the best engine and the loop."""
    best = setting.engines[-1]
    work = network_contenders(seeded(LeNet, 0), *images(10, 100), 10, [best], setting.device)
    return {name: shares(work[name]) for name in (f"localgd {best}", "loop over nodes")}


def softmax(setting: Setting) -> Iterator[Row]:
    """Case 2: one affine layer with softmax, 10 nodes × 50 images, T = 100."""
    goal = 5.0 if setting.device == "cpu" else 1.0
    layer = seeded(SoftmaxLayer, 0)
    yield from _against_others(setting, "2 softmax, 10×50, T=100", layer, images(10, 50), 100, goal)


def least_squares(setting: Setting) -> Iterator[Row]:
    """Case 3: a round of least squares on colon-cancer, m = 2, T steps at once."""
    data = datasets.colon_cancer().with_intercept()
    problem = LeastSquares(*data.split(2), data=data.source)
    eta, cpu = 1 / float(problem.smoothness().max()), torch.device("cpu")
    case = f"3 least squares, colon-cancer{'' if data.source.kind == 'real' else ' (stand-in)'}"
    closed = {
        "T=1": ours(problem, 1, eta, "closed", cpu),
        "T=100": ours(problem, 100, eta, "closed", cpu),
        "T=10⁴": ours(problem, 10_000, eta, "closed", cpu),
        "T=∞": ours(problem, ToOptimum(), eta, "closed", cpu),
    }
    times = take_turns(closed, 10 * setting.repeats, warm_up=20)
    base = times["T=100"]
    for name, timing in times.items():
        value = ratio(base, timing)
        yield Row(
            case,
            f"{name} at once",
            1e3 * timing.median,
            "T=100 at once",
            *value,
            "same time within 20%",
            1 / 1.2 <= value.median <= 1.2,
        )
    both = take_turns(
        {"closed": closed["T=10⁴"], "stepped": ours(problem, 10_000, eta, "eager", cpu)},
        max(3, setting.repeats // 2),
        warm_up=1,
    )
    value = ratio(both["stepped"], both["closed"])
    yield Row(
        case,
        "T=10⁴ at once",
        1e3 * both["closed"].median,
        "T=10⁴ stepped",
        *value,
        "≥ 100",
        value.median >= 100,
    )


def servers(setting: Setting) -> Iterator[Row]:
    """Case 6: what a server step adds to a round, on colon-cancer and on LeNet, T = 10."""
    data = datasets.colon_cancer().with_intercept()
    colon = LeastSquares(*data.split(2), data=data.source)
    network = NetworkProblem(seeded(LeNet, 0), *images(10, 100), CROSS_ENTROPY)
    eta = 1 / float(colon.smoothness().max())
    eager: Engine = "eager"
    for name, problem, size, engine, repeats in (
        ("colon-cancer", colon, eta, eager, 10 * setting.repeats),
        ("LeNet", network, 0.05, setting.engines[0], setting.repeats),
    ):
        device = torch.device("cpu" if problem is colon else setting.device)
        contenders = {
            repr(server): ours(problem, 10, size, engine, device, server)
            for server in (Average(), Extrapolated(), Nesterov(), Anderson(10, safeguard=False))
        }
        times = take_turns(contenders, repeats, warm_up=15 if problem is colon else 1)
        base = times.pop("Average()")
        for server, timing in times.items():
            value = ratio(base, timing)
            yield Row(
                f"6 server step, {name}, T=10",
                server,
                1e3 * timing.median,
                "Average()",
                *value,
                "≥ 0.95",
                value.median >= 0.95,
            )


def growth(setting: Setting) -> Iterator[Row]:
    """Case 4: a small network (784-16-10), m nodes × 20 images, T = 10; time of one step."""
    engines: list[Engine] = ["eager"] if setting.device == "cpu" else ["graph"]
    for m in (1, 10, 100, 1000):
        inputs, targets = images(min(m, 100), 20)
        times_over = math.ceil(m / 100)
        data = inputs.repeat(times_over, 1, 1, 1, 1), targets.repeat(times_over, 1)
        fewer = setting if m < 1000 else setting._replace(repeats=max(3, setting.repeats // 3))
        goal = 50.0 if setting.device == "cuda" and m == 100 else 1.0
        yield from _against_others(
            fewer, f"4 small network, m={m}", _small(16), data, 10, goal, engines
        )
    inputs, targets = images(10, 20)
    for name, works in (
        ("T", {T: (_small(16), T) for T in (1, 10, 100, 1000)}),
        ("d", {_size(_small(width)): (_small(width), 100) for width in (4, 16, 64, 256)}),
    ):
        runs: dict[str, Callable[[], object]] = {}
        for value, (module, T) in works.items():
            problem = NetworkProblem(module, inputs, targets, CROSS_ENTROPY)
            where = torch.device(setting.device)
            runs[f"{name}={value}"] = ours(problem, T, 0.01, engines[0], where)
        times = take_turns(runs, max(3, setting.repeats // 2))
        steps = {f"{name}={value}": T for value, (_, T) in works.items()}
        last = list(runs)[-1]
        for label, timing in times.items():
            per_step = timing.median / steps[label]
            share = times[last].median / steps[last] / per_step
            yield Row(
                "4 small network, m=10",
                label,
                1e3 * per_step,
                f"a step at {last}",
                share,
                share,
                share,
                "",
                None,
            )


def _small(width: int) -> nn.Module:
    return seeded(
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, width), nn.Tanh(), nn.Linear(width, 10)),
        0,
    )


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def stopping(setting: Setting) -> Iterator[Row]:
    """Case 5: the threshold rule against as many fixed steps; time of one round of T = 100."""
    T, where = 100, torch.device(setting.device)
    for name, module, (inputs, targets), engine in (
        ("LeNet, 10×100", seeded(LeNet, 0), images(10, 100), setting.engines[1]),
        ("softmax, 10×50", seeded(SoftmaxLayer, 0), images(10, 50), setting.engines[-1]),
    ):
        problem = NetworkProblem(module, inputs, targets, CROSS_ENTROPY)
        times = take_turns(
            {
                "fixed": ours(problem, FixedSteps(T), 1e-3, engine, where),
                "threshold": ours(problem, UntilStationary(1e-30, T), 1e-3, engine, where),
            },
            setting.repeats,
        )
        value = ratio(times["threshold"], times["fixed"])
        yield Row(
            "5 stopping test, T=100",
            f"{name}, {engine}, fixed",
            1e3 * times["fixed"].median,
            "until stationary",
            *value,
            "≤ 1.05",
            value.median <= 1.05,
        )


def processes(setting: Setting) -> Iterator[Row]:
    """Case 7: a group of one process against none, and two processes against two threads."""
    problem = NetworkProblem(seeded(LeNet, 0), *images(10, 100), CROSS_ENTROPY)
    where = torch.device("cpu")
    with tempfile.TemporaryDirectory() as folder:
        dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=0, world_size=1)
        group = join("world")
        group.agree(lambda: None, lambda _: {"nodes": str(problem.num_nodes)})
        works = {
            "no group": ours(problem, 10, 0.01, "eager", where),
            "group of one": ours(problem, 10, 0.01, "eager", where, None, group),
        }
        times = take_turns(works, setting.repeats)
        dist.destroy_process_group()
        value = ratio(times["no group"], times["group of one"])
        yield Row(
            "7 processes, LeNet, T=10",
            "group of one",
            1e3 * times["group of one"].median,
            "no group",
            *value,
            "≥ 0.97",
            value.median >= 0.97,
        )
        two, one = (_ranks(Path(folder), *each, setting.repeats) for each in ((2, 1), (1, 2)))
        value = ratio(one, two)
        yield Row(
            "7 processes, LeNet, T=10",
            "2 ranks, 1 thread",
            1e3 * two.median,
            "1 rank, 2 threads",
            *value,
            "",
            None,
        )


def _ranks(folder: Path, ranks: int, threads: int, repeats: int) -> Timing:
    """The rounds of processes under `torchrun`, but for the first."""
    output = folder / f"{ranks}.json"
    launch = ["--standalone", "--local-addr=localhost", f"--nproc-per-node={ranks}"]
    work = ["-m", "bench.ranks", str(output), str(1 + repeats)]
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *launch, *work],
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        check=True,
    )
    return Timing(json.loads(output.read_text(encoding="utf-8"))[1:])


CASES: dict[str, Callable[[Setting], Iterator[Row]]] = {
    "1": lenet,
    "2": softmax,
    "3": least_squares,
    "4": growth,
    "5": stopping,
    "6": servers,
    "7": processes,
}


def _against_others(
    setting: Setting,
    case: str,
    module: nn.Module,
    data: tuple[torch.Tensor, torch.Tensor],
    T: int,
    goal: float,
    engines: list[Engine] | None = None,
) -> Iterator[Row]:
    """The loop over nodes and plain vmap over each engine; the best engine has to reach `goal`."""
    names = engines or setting.engines
    work = network_contenders(module, *data, T, names, setting.device)
    times = take_turns(work, setting.repeats)
    best = max(names, key=lambda name: -times[f"localgd {name}"].median)
    for name in names:
        ours_ = times[f"localgd {name}"]
        for other in ("loop over nodes", "vmap(grad)"):
            value = ratio(times[other], ours_)
            least = goal if other == "loop over nodes" else 1.0
            judged = name == best
            yield Row(
                case,
                name,
                1e3 * ours_.median / T,
                other,
                *value,
                f"≥ {least:g}" if judged else "",
                value.median >= least if judged else None,
            )


def roofline(row: dict[str, Any], gflops: float) -> float:
    """The share of the arithmetic limit that a LeNet step reaches."""
    return float(LENET_FLOP / (gflops * 1e9) / (row["milliseconds"] / 1e3))
