"""Run several child processes at a time, none of which outlives this one."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from bookrun.execution.progress import progress

_POLL_SECONDS = 0.05
_GRACE_SECONDS = 3.0


@dataclass(frozen=True)
class Job:
    """A Python module to run on a leash, and where its output goes."""

    name: str
    module: str
    arguments: Sequence[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ended:
    """A job that has ended: its status and how long it took."""

    job: Job
    status: int
    seconds: float


@dataclass
class _Running:
    job: Job
    process: "subprocess.Popen[bytes]"
    stream: IO[bytes]
    since: float


def run_jobs(
    jobs: Sequence[Job], limit: int, cwd: Path, describe: Callable[[Ended], str]
) -> list[Ended]:
    """Run all jobs, at most ``limit`` at once; one that fails does not stop the others.

    ``describe`` words the line that is printed when a job has ended. An interruption (Ctrl-C,
    SIGTERM) stops the jobs that run before it goes on its way.
    """
    waiting = list(jobs)
    running: list[_Running] = []
    ended: list[Ended] = []
    with progress(len(jobs), "step", sys.stdout) as say:
        try:
            while waiting or running:
                while waiting and len(running) < limit:
                    running.append(_start(waiting.pop(0), cwd))
                time.sleep(_POLL_SECONDS)
                for item in [r for r in running if r.process.poll() is not None]:
                    running.remove(item)
                    _close(item)
                    seconds = time.monotonic() - item.since
                    ended.append(Ended(item.job, item.process.returncode, seconds))
                    left = [r.job.name for r in running] + [j.name for j in waiting]
                    say(describe(ended[-1]), ", ".join(left))
        finally:
            _stop(running)
    return ended


def start(
    module: str,
    arguments: Sequence[str],
    output: IO[bytes],
    environment: Mapping[str, str],
    cwd: Path | None = None,
) -> "subprocess.Popen[bytes]":
    """Start a module that ends with this process, or once its standard input is closed.

    It writes to ``output``, and leads a process group of its own.
    """
    return subprocess.Popen(
        [sys.executable, "-m", "bookrun.execution.parent_watch", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd=cwd,
        env={**os.environ, **environment},
        start_new_session=True,
    )


def _start(job: Job, cwd: Path) -> _Running:
    job.log.parent.mkdir(parents=True, exist_ok=True)
    stream = job.log.open("wb")
    process = start(job.module, job.arguments, stream, job.environment, cwd)
    return _Running(job, process, stream, time.monotonic())


def _close(item: _Running) -> None:
    if item.process.stdin:
        with contextlib.suppress(BrokenPipeError):
            item.process.stdin.close()
    item.stream.close()


def _stop(running: Sequence[_Running]) -> None:
    """Let go of every leash; what holds on after a grace is killed."""
    for item in running:
        _close(item)
    until = time.monotonic() + _GRACE_SECONDS
    for item in running:
        try:
            item.process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(item.process.pid, signal.SIGKILL)
            item.process.wait()
