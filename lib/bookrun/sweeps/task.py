"""Run one point on a worker of the cluster, in a process of its own that ends with it.

The worker may sit on another machine. It is given the chapter's text and gives back the files,
so that no disk has to be shared; the library and the data it must have, the same ones.
"""

import json
import os
import signal
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bookrun.display.reports import TRACES
from bookrun.execution.kernel import settle_home
from bookrun.execution.notebook_worker import Order, account_in
from bookrun.execution.process_pool import start
from bookrun.files import digest, digest_files
from bookrun.outputs import RUN, SWEEP, read_notebook
from bookrun.sweeps.notebook_page import page_of
from bookrun.sweeps.points import Found, harvest

#: The topic under which workers say that they start a point.
TOPIC = "bookrun-sweep"
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Assignment:
    """A point to run."""

    id: str
    text: str
    values: dict[str, Any]
    record: dict[str, Any]
    cwd: str
    environment: dict[str, str]
    code: str  # the digest of the library that the record speaks of


@dataclass(frozen=True)
class Delivery:
    """A point that has run: what it found, and its files by name."""

    id: str
    found: Found
    files: dict[str, bytes]


def library_digest() -> str:
    """Fingerprint of the library that this process imports, as it stands on the disk now."""
    import bookrun
    import localgd

    roots = [Path(str(module.__file__)).parent for module in (bookrun, localgd)]
    return digest(*(digest_files(root, root.rglob("*.py")) for root in roots))


@cache
def _worker_code() -> str:
    """Return the fingerprint when this worker ran its first point."""
    return library_digest()


class KilledError(Exception):
    """The process or the kernel of a point was killed, which says nothing about the chapter."""

    def __init__(self, delivery: Delivery) -> None:
        super().__init__(delivery)
        self.delivery = delivery


def run_point(assignment: Assignment) -> Delivery:
    """Run the point.

    A chapter that raises is a result. Raises ``KilledError`` where its process or its kernel was,
    and ``RuntimeError`` where this machine has another library or other data than the record says.
    """
    from distributed import get_worker

    worker = get_worker()
    settle_home(Path(worker.local_directory) / "home")
    _same_here(assignment)
    worker.log_event(TOPIC, {"start": assignment.id})
    # The cluster clears its directory, also after a worker was killed.
    with tempfile.TemporaryDirectory(prefix="point-", dir=worker.local_directory) as scratch:
        return _delivered(assignment, Path(scratch))


def _same_here(assignment: Assignment) -> None:
    if _worker_code() != assignment.code:
        raise RuntimeError("this worker has another version of lib/ than the sweep")
    from localgd import datasets

    for name, expected in assignment.record["data"].items():
        if datasets.fingerprint(name) != expected:
            raise RuntimeError(f"this worker has other {name} data than the sweep")


def _delivered(assignment: Assignment, place: Path) -> Delivery:
    """Run the point in the empty directory ``place``, and return what it has left there."""
    name = assignment.record["chapter"]
    output, failed, account = (place / f"{k}.json" for k in ("output", "failed", "account"))
    Order(
        chapter=name,
        text=assignment.text,
        parameters=assignment.values,
        inputs=assignment.record,
        cwd=assignment.cwd if Path(assignment.cwd).is_dir() else str(place),
        output=str(output),
        failed=str(failed),
        account=str(account),
    ).write(place / "order.json")
    traces = place / "traces"
    traces.mkdir()
    own = {**assignment.environment, SWEEP: "1", TRACES: str(traces)}
    started = time.monotonic()
    status = _run([str(place / "order.json")], place / "log.txt", own)
    seconds = time.monotonic() - started
    notebook = read_notebook(output) or read_notebook(failed) or {}
    ended = account_in(account)
    failure: dict[str, Any] = {}
    if ended is None:
        failure = {"error": f"its process ended with status {status}"}
    elif ended.error:
        failure = {"error": ended.error, "cell": ended.cell, "first_line": ended.first_line}
    seconds = notebook.get("metadata", {}).get(RUN, {}).get("seconds", seconds)
    files = {path.name: path.read_bytes() for path in traces.iterdir()}
    files["log.txt"] = (place / "log.txt").read_bytes()
    if notebook:
        files[f"{name}.ipynb"] = json.dumps(notebook, indent=1).encode()
        files[f"{name}.html"] = page_of(notebook, name).encode()
    delivery = Delivery(assignment.id, harvest(notebook, seconds, 1, **failure), files)
    if (status < 0) if ended is None else ended.died:
        raise KilledError(delivery)
    return delivery


def _run(arguments: list[str], log: Path, environment: Mapping[str, str]) -> int:
    """Return the status of the chapter's process, which ends with this worker, or when told to."""
    with log.open("wb") as stream:
        process = start("bookrun.execution.notebook_worker", arguments, stream, environment)
        try:
            while process.poll() is None and not _unwanted():
                time.sleep(_POLL_SECONDS)
        finally:
            if process.stdin:
                process.stdin.close()
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        return process.wait()


def _unwanted() -> bool:
    """Return whether the sweep gave this task up while it ran."""
    from distributed import get_worker

    worker = get_worker()
    task = worker.state.tasks.get(worker.get_current_task())
    return task is None or task.state == "cancelled"
