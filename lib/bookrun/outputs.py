"""Read what an executed notebook carries for the pipeline, by the keys of its outputs.

A check, a figure or a reported number travels as metadata of the output that shows it, so the
executed notebook is the only place where it is kept.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

CHECK = "check"
FIGURE = "figure"
NUMBER = "number"
TRACE = "trace"

#: What a passing check or test says about its claim.
Kind = Literal["symbolic", "numeric", "counterexample", "corrected", "difference", "control"]

#: Where an executed notebook says, among its metadata, what its run depended on and took.
RUN = "bookrun_run"

#: Set in the kernels of the pipeline; elsewhere a person is looking on.
PIPELINE = "BOOKRUN"

#: Set in the kernels of a sweep: bounds were chosen for the chapter's own parameters, so that a
#: value outside them is recorded as such, and the chapter goes on.
SWEEP = "BOOKRUN_SWEEP"


def outputs(notebook: dict[str, Any], key: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the records under ``key`` in a notebook's outputs, each with the index of its cell."""
    for index, cell in enumerate(notebook.get("cells", [])):
        for output in cell.get("outputs", []):
            record = (output.get("metadata") or {}).get("bookrun", {}).get(key)
            if record is not None:
                yield index, record


def read_notebook(path: Path) -> dict[str, Any] | None:
    """Return an executed notebook as plain JSON; ``None`` where there is none that can be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None
