"""What a worker of the cluster does: it runs one point, in a process of its own on a leash.

The worker may sit on another machine. It is given the chapter's text and gives back the files,
so that no disk has to be shared; the library and the data it must have, the same ones.
"""

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bookrun.display.reports import TRACES
from bookrun.execution.notebook_worker import Account, Order
from bookrun.execution.process_pool import leashed
from bookrun.files import digest, digest_files
from bookrun.outputs import RECORD, SWEEP, read_notebook
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
    """What came out: the record's content, and the files by name."""

    id: str
    found: Found
    files: dict[str, bytes]


def code_digest() -> str:
    """Fingerprint of the library that this process imports, as it stands on the disk now."""
    import bookrun
    import localgd

    roots = [Path(str(module.__file__)).parent for module in (bookrun, localgd)]
    return digest(*(digest_files(root, root.rglob("*.py")) for root in roots))


@cache
def _worker_code() -> str:
    """The fingerprint when this worker ran its first point."""
    return code_digest()


def run_point(assignment: Assignment) -> Delivery:
    """Run the point; when its process is killed, run it once more.

    A chapter that raises is a result. Raises ``RuntimeError`` where this machine has another
    library or other data than the record says.
    """
    _same_here(assignment)
    for attempt in (1, 2):
        _announce(assignment.id)
        delivery, killed = _attempt(assignment, attempt)
        if not killed:
            break
    return delivery


def _same_here(assignment: Assignment) -> None:
    if _worker_code() != assignment.code:
        raise RuntimeError("this worker has another version of lib/ than the sweep")
    from localgd import datasets

    for name, expected in assignment.record["data"].items():
        if datasets.fingerprint(name) != expected:
            raise RuntimeError(f"this worker has other {name} data than the sweep")


def _announce(point: str) -> None:
    from distributed import get_worker

    get_worker().log_event(TOPIC, {"start": point})


def _attempt(assignment: Assignment, attempt: int) -> tuple[Delivery, bool]:
    """Run the point once; whether its process or its kernel was killed comes second."""
    from distributed import get_worker

    home = get_worker().local_directory  # the cluster clears it, also after a worker was killed
    with tempfile.TemporaryDirectory(prefix="point-", dir=home) as scratch:
        place = Path(scratch)
        name = assignment.record["chapter"]
        output, failed, account = (place / f"{k}.json" for k in ("output", "failed", "account"))
        here = assignment.cwd if Path(assignment.cwd).is_dir() else scratch
        Order(
            chapter=name,
            text=assignment.text,
            parameters=assignment.values,
            record=assignment.record,
            cwd=here,
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
        ended = _account(account)
        failure: dict[str, Any] = {}
        if ended is None:
            failure = {"error": f"its process ended with status {status}"}
        elif ended.error:
            failure = {
                "error": ended.error, "cell": ended.cell, "first_line": ended.first_line
            }  # fmt: skip
        seconds = notebook.get("metadata", {}).get(RECORD, {}).get("seconds", seconds)
        found = harvest(notebook, seconds, attempt, **failure)
        files = {path.name: path.read_bytes() for path in traces.iterdir()}
        files["log.txt"] = (place / "log.txt").read_bytes()
        if notebook:
            files[f"{name}.ipynb"] = json.dumps(notebook, indent=1).encode()
            files[f"{name}.html"] = page_of(notebook, name).encode()
    killed = ended is None if status < 0 else ended is not None and ended.died
    return Delivery(assignment.id, found, files), killed


def _run(arguments: list[str], log: Path, environment: Mapping[str, str]) -> int:
    """The status of the chapter's process, which ends when this worker does or is told to stop."""
    with log.open("wb") as stream:
        process = subprocess.Popen(
            leashed("bookrun.execution.notebook_worker", arguments),
            stdin=subprocess.PIPE,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            start_new_session=True,
        )
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
    """Whether the sweep gave this task up while it ran."""
    from distributed import get_worker

    worker = get_worker()
    task = worker.state.tasks.get(worker.get_current_task())
    return task is None or task.state == "cancelled"


def _account(path: Path) -> Account | None:
    try:
        return Account(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
