"""Algorithm 1: every node takes its local steps, then the models are averaged."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
import torch

from localgd import __version__
from localgd.algorithm.checkpoint import Checkpoint, NoKeeper, keeper
from localgd.algorithm.communication import OneProcess
from localgd.algorithm.rounds import Measure, Rounds
from localgd.algorithm.rules import Rule
from localgd.algorithm.servers import Average, Server
from localgd.algorithm.settings import Settings, check
from localgd.algorithm.trace import Recorder, Trace
from localgd.engine.backend import deterministic, memory_errors
from localgd.engine.convolutions import Form
from localgd.engine.division import divide
from localgd.engine.evaluator import Engine, Evaluator
from localgd.fingerprint import plain
from localgd.problem import Chunk, Problem

_AVERAGE = Average()


def run(
    problem: Problem,
    x0: Any = None,
    *,
    local_steps: int | Sequence[int] | Rule,
    step_size: float | Sequence[float],
    rounds: int,
    server: Server = _AVERAGE,
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
    group: Any = None,
) -> Trace:
    """x_{n+1} = (1/m) Σ x^{i,T_i} with x^{i,0} = x_n and x^{i,t+1} = x^{i,t} − η_i ∇f_i(x^{i,t}).

    Algorithm 1 of Zhang & Li (2019), all m nodes advancing together.  With another `server`
    than `Average()`, x_{n+1} follows in another way from x_n and the same message.

    `x0`: the start, shape (d,); None asks the problem (zeros unless it says otherwise,
    `seed` feeding whatever is random in it).  `local_steps`: T, one T_i per node, or a
    `Rule`.  `step_size`: η, or one η_i per node.  `rounds`: how many averages to take at
    most.  `server`: the server step; it is copied, so that its state is this run's, and buffers
    (BatchNorm's statistics) are averaged whatever it does.  `stop`: end as soon as
    ‖∇f(x_n)‖² ≤ `stop`, or `stop(trace)` is true of the trace so far.  `device`: "auto" takes
    a GPU where there is one and the problem gains by it.  `dtype`: the problem's own unless
    given.  `progress`: show a bar.  `measure`: a function of x_n, shape (d,) on the device of
    the run, that returns numbers by name (a test loss); it is called for every row and fills
    `Trace.measures`.

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

    `group`: None where all nodes are in this process; "world" for the processes that `torchrun`
    has started, a `torch.distributed` group or `DeviceMesh` of one dimension, or `Processes` with
    more to say.  All processes make this call, each with a problem of its own nodes: m is the sum,
    the nodes are numbered in the order of the ranks, `local_steps` and `step_size` are one for
    all or one per own node, and what is not per node is the same everywhere.  All return the same
    trace, but for times and measures, which are each process's own; `dist` is not known, for no
    process knows all S_i.  A round takes two messages, so that its row, the stopping test and the
    safeguard are about x_{n+1}: the ends, d numbers, and at x_{n+1} the gradients, d more, each
    with a few numbers a node.  Every process takes the server's step for itself.  A checkpoint is
    written by the first process, between rounds, where all can take it up, in another number of
    processes too; an interrupt of one ends all of them.

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
    `MemoryError` where the nodes do not fit, with what to do.  In a group, errors of the input
    are raised by all processes, with the rank, and so are settings that differ;
    `ProcessLostError` where another process ends, or does not answer in time.
    """
    if group is None:
        nodes = OneProcess(getattr(problem, "num_nodes", 0))
    else:
        from localgd.algorithm.process_group import join

        nodes = join(group)
    prepare = partial(
        check,
        problem,
        x0,
        local_steps=local_steps,
        step_size=step_size,
        server=server,
        rounds=rounds,
        stop=stop,
        device=device,
        dtype=dtype,
        seed=seed,
        engine=engine,
        chunk_size=chunk_size,
        tf32=tf32,
        processes=nodes.processes,
    )
    kept = {"checkpoint": "given" if checkpoint else "none"}
    settings = nodes.agree(prepare, lambda found: found.in_common() | kept | nodes.words())
    with deterministic(settings.device, tf32), memory_errors(chunk_size), nodes.listening():
        loop = nodes.agree(partial(_loop, settings, measure, nodes), lambda _: {})
        return _course(loop, settings, keeper(checkpoint, loop), progress and nodes.first)


def _loop(settings: Settings, measure: Measure | None, nodes: OneProcess) -> Rounds:
    """Return the rounds that `settings` ask for, before the first."""
    if nodes.shared:
        settings.rule.check(nodes.num_nodes if settings.rule.wants_paths else len(settings.etas))
    problem = settings.problem
    chunks, form = divide(problem, settings.device, settings.chunk_size)
    evaluator = Evaluator(settings.engine, problem, settings.device, form)
    provenance = _provenance(settings, chunks, form) | nodes.words()
    recorder = Recorder(nodes.num_nodes, provenance)
    return Rounds(
        problem,
        settings.rule,
        settings.etas,
        settings.x0,
        settings.leap,
        recorder,
        evaluator,
        chunks,
        measure,
        settings.server,
        settings.trail,
        nodes,
    )


def _course(loop: Rounds, settings: Settings, keeper: NoKeeper, progress: bool) -> Trace:
    """Do the rounds that are still to be done, and keep what there is whatever happens."""
    try:
        with keeper:
            reason = _rounds(loop, settings, keeper, progress)
    except KeyboardInterrupt:
        reason = "interrupted"
        if loop.communication.first:
            print(f"Interrupted after round {loop.done}: {keeper.way_on()}", file=sys.stderr)
    return loop.trace(reason)


def _rounds(loop: Rounds, settings: Settings, keeper: NoKeeper, progress: bool) -> str:
    """Do the rounds that are still to be done, and return why there are no more."""
    if loop.done > settings.rounds:
        raise ValueError(
            f"rounds={settings.rounds} asks for fewer rounds than the {loop.done} that the "
            "checkpoint holds"
        )
    loop.begin()
    keeper.start()
    with _bar(settings.rounds, loop.done, progress) as advance:
        while True:
            if loop.should_stop(settings.stop):
                return "stop"
            if loop.frozen:
                return "frozen"
            if loop.done == settings.rounds:
                return "rounds"
            for _ in loop.round(settings.rounds - loop.done):
                keeper.when_due()
            keeper.after_round()
            advance()


@contextmanager
def _bar(total: int, initial: int, shown: bool) -> Iterator[Callable[[], object]]:
    """Show a bar of rounds, where it is asked for; yield what moves it on."""
    if not shown:
        yield lambda: None
        return
    try:
        from tqdm import tqdm
    except ImportError as error:
        raise ImportError("progress=True needs tqdm: pip install tqdm") from error
    with tqdm(total=total, initial=initial, unit="round") as bar:
        yield bar.update


def _provenance(settings: Settings, chunks: Sequence[Chunk], form: Form) -> dict[str, Any]:
    """Return what is needed to tell this run from another."""
    kind = settings.device.type
    hardware = torch.cuda.get_device_name(settings.device) if kind == "cuda" else platform.machine()
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "problem": plain(settings.problem.provenance()),
        "settings": settings.course()
        | {"chunks": [len(chunk.nodes) for chunk in chunks], "convolutions": form}
        | settings.limits(),
        "device": f"{kind} ({hardware})",
        "threads": torch.get_num_threads(),
        "dtype": str(settings.problem.dtype).removeprefix("torch."),
        "versions": {
            "localgd": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
    }
