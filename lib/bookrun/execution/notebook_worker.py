"""Execute one chapter with papermill, in a process of its own.

The process ends with its parent (:mod:`bookrun.execution.parent_watch`).

The result appears under its final name only when the whole chapter ran; a failure leaves the
partial notebook in its own place and a short account for the parent.
"""

import json
import os
import sys
import tempfile
import time
import warnings
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bookrun.execution.prose import injected
from bookrun.files import digest, scratch, write_atomic
from bookrun.outputs import FIGURE, RUN, outputs

#: Run in the kernel before the chapter: a warning that its code or the library causes is an error.
STARTUP = """\
import warnings

warnings.simplefilter("error")
for _category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning, ImportWarning,
                  ResourceWarning):
    warnings.filterwarnings("ignore", category=_category)
warnings.filterwarnings("error", module=r"(__main__|localgd|bookrun)(\\.|$)")
warnings.filterwarnings("ignore", message="To exit: use")  # IPython's answer to sys.exit
del warnings, _category
"""
#: History of several kernels at once would only wait for one database.
PROFILE = "c = get_config()\nc.HistoryManager.enabled = False\n"
#: A kernel has so long to start: other work may have the machine.
_START_SECONDS = 600


@dataclass(frozen=True)
class Order:
    """A chapter to execute, as the parent asks for it."""

    chapter: str
    text: str
    parameters: dict[str, Any]
    inputs: dict[str, Any]
    cwd: str
    output: str
    failed: str
    account: str

    def write(self, path: Path) -> None:
        """Leave the order for the worker to read."""
        write_atomic(path, json.dumps(asdict(self)))


@dataclass(frozen=True)
class Account:
    """The outcome of an order: an empty ``error`` means that the result is in place."""

    cell: int = 0
    first_line: str = ""
    error: str = ""
    died: bool = False  # the kernel was killed, which says nothing about the chapter


def account_in(path: Path) -> Account | None:
    """Read the account that a worker has left; ``None`` where it left none."""
    try:
        return Account(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def main() -> int:
    """Carry out the order in the file that the command line names."""
    order = Order(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    with scratch() as place:
        tempfile.tempdir = str(place)  # of connection files
        account = execute(order, place)
    write_atomic(Path(order.account), json.dumps(asdict(account)))
    return 1 if account.error else 0


def execute(order: Order, place: Path) -> Account:
    """Run the chapter and put its notebook in its place, or the partial one where it belongs."""
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    import jupytext
    import nbformat
    import papermill
    from nbclient.exceptions import DeadKernelError

    _prepare_ipython(place)
    partial = place / "partial.ipynb"
    notebook = jupytext.reads(order.text, fmt="md:myst")
    started = time.monotonic()
    try:
        papermill.execute_notebook(
            notebook,
            partial,
            parameters=order.parameters,
            cwd=order.cwd,
            kernel_name="python3",
            language="python",
            progress_bar=False,
            request_save_on_cell_execute=True,
            start_timeout=_START_SECONDS,
        )
    except papermill.PapermillExecutionError as error:
        write_atomic(Path(order.failed), _openable(partial, order))
        position = _position(json.loads(partial.read_text(encoding="utf-8")), error.source)
        return Account(position, _first_line(error.source), f"{error.ename}: {error.evalue}")
    except DeadKernelError:
        write_atomic(Path(order.failed), _openable(partial, order))
        cell, line = _reached(json.loads(partial.read_text(encoding="utf-8")))
        return Account(cell, line, "the kernel died (killed, or out of memory)", died=True)
    seconds = time.monotonic() - started
    finished = nbformat.read(partial, as_version=4)
    problem = _left_early(finished) or _twice_drawn(finished)
    if problem:
        write_atomic(Path(order.failed), _openable(partial, order))
        return problem
    for cell in finished.cells:
        _keep_stderr_out(cell)
    finished.metadata.papermill = {"parameters": order.parameters}
    finished.metadata[RUN] = {
        **order.inputs,
        "text": digest(order.text),
        "seconds": round(seconds, 3),
        "executed": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    nbformat.validate(finished)
    write_atomic(Path(order.output), nbformat.writes(finished))
    Path(order.failed).unlink(missing_ok=True)
    return Account()


def _prepare_ipython(place: Path) -> None:
    """Give the kernel an IPython home of its own: our start-up, and none of the user's."""
    home = place / "ipython"
    startup = home / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00-bookrun.py").write_text(STARTUP, encoding="utf-8")
    (home / "profile_default" / "ipython_kernel_config.py").write_text(PROFILE, encoding="utf-8")
    os.environ["IPYTHONDIR"] = str(home)
    os.environ["JUPYTER_RUNTIME_DIR"] = str(place / "runtime")


def _openable(partial: Path, order: Order) -> str:
    """Return the partial notebook without the whole input in its metadata."""
    content = json.loads(partial.read_text(encoding="utf-8"))
    content["metadata"]["papermill"] = {"parameters": order.parameters}
    return json.dumps(content, indent=1)


def _code_cells(notebook: dict[str, Any]) -> list[str]:
    """Return the chapter's own code cells: papermill's injected one does not count."""
    return [
        "".join(cell["source"])
        for cell in notebook["cells"]
        if cell["cell_type"] == "code" and not injected(cell)
    ]


def _position(notebook: dict[str, Any], source: str) -> int:
    cells = _code_cells(notebook)
    return cells.index(source) + 1 if source in cells else 0


def _reached(notebook: dict[str, Any]) -> tuple[int, str]:
    """Return the number and the first line of the last of the chapter's cells that was begun."""
    begun = [
        "".join(cell["source"])
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
        and not injected(cell)
        and cell["metadata"].get("papermill", {}).get("start_time")
    ]
    return len(begun), _first_line(begun[-1]) if begun else ""


def _first_line(source: str) -> str:
    return next((line.strip() for line in source.splitlines() if line.strip()), "")


def _left_early(notebook: Any) -> Account | None:
    """Return an account of a cell that ends the chapter by ``sys.exit(0)``, no error elsewhere."""
    for cell in notebook.cells:
        if any(output.output_type == "error" for output in cell.get("outputs", ())):
            return Account(
                _position(notebook, cell.source),
                _first_line(cell.source),
                "SystemExit: a chapter runs to its end",
            )
    return None


def _twice_drawn(notebook: Any) -> Account | None:
    """Return an account of a cell that shows two figures, which no page could number."""
    seen: set[int] = set()
    for index, record in outputs(notebook, FIGURE):
        if index in seen:
            source = notebook.cells[index].source
            return Account(
                _position(notebook, source),
                _first_line(source),
                f"FigureError: figure {record['label']} is the second one in its cell",
            )
        seen.add(index)
    return None


def _keep_stderr_out(cell: Any) -> None:
    """Move what a cell wrote to stderr (progress bars, temporary paths) into the log."""
    if cell.cell_type != "code":
        return
    kept = []
    for output in cell.outputs:
        if output.output_type == "stream" and output.name == "stderr":
            print(output.text, file=sys.stderr)
        else:
            kept.append(output)
    cell.outputs = kept


if __name__ == "__main__":
    sys.exit(main())
