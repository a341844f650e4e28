"""Hold a snapshot of a run, the rows so far, and what tells the run from others."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from localgd.algorithm.local_phase import Within
from localgd.algorithm.local_steps import Position
from localgd.algorithm.rounds import Snapshot

#: The file begins with this line and the SHA-256 of all that follows, a line as well.
_FORMAT = b"localgd checkpoint 5\n"
_KEYS = {
    "fingerprint",
    "provenance",
    "rows",
    "x",
    "shown",
    "last_steps",
    "within",
    "frozen",
    "work",
    "compiles",
    "rule",
    "server",
    "writer",
}


def encode(
    at: Snapshot,
    rows: Sequence[Mapping[str, Any]],
    provenance: Mapping[str, Any],
    fingerprint: Mapping[str, str],
    writer: str,
) -> bytes:
    """Return the content of the checkpoint of a run that can be resumed `at` its `rows`."""
    buffer = io.BytesIO()
    torch.save(
        {
            "fingerprint": dict(fingerprint),
            "provenance": json.dumps(provenance),
            "rows": [_plain(row) for row in rows],
            "x": at.x,
            "shown": at.shown,
            "last_steps": None if at.last_steps is None else torch.from_numpy(at.last_steps),
            "within": None if at.within is None else _of_within(at.within),
            "frozen": at.frozen,
            "work": at.work,
            "compiles": at.compiles,
            "rule": dict(at.rule),
            "server": dict(at.server),
            "writer": writer,
        },
        buffer,
    )
    return sealed(buffer.getvalue())


def sealed(content: bytes) -> bytes:
    """Return `content` after the name of the format and its digest."""
    return _FORMAT + _digest(content) + content


def load(path: Path) -> dict[str, Any]:
    """Read the file at `path`; see `decode`.  Raises `OSError` where it cannot be read."""
    return decode(path.read_bytes(), path)


def decode(whole: bytes, path: Path) -> dict[str, Any]:
    """Return what is in the content of the file at `path`.

    Raises `ValueError` where it is not a checkpoint, or not as it was written.
    """
    if not whole.startswith(_FORMAT):
        name = _FORMAT.decode().strip()
        raise ValueError(f"{path} is not a checkpoint of a run ({name})")
    start = len(_FORMAT) + len(_digest(b""))
    content = whole[start:]
    if whole[len(_FORMAT) : start] != _digest(content):
        raise ValueError(
            f"{path} is damaged: its content is not what was written (SHA-256). Remove it to "
            "start anew"
        )
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # a file of any other kind may fail in any way
        raise ValueError(f"{path} is not a checkpoint of a run ({type(error).__name__})") from None
    if not isinstance(state, dict) or set(state) != _KEYS:
        raise ValueError(f"{path} is not a checkpoint of a run: it holds something else")
    return state


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode() + b"\n"


def rows(state: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows that a loaded checkpoint holds."""
    return [
        {name: value.numpy() if isinstance(value, Tensor) else value for name, value in row.items()}
        for row in state["rows"]
    ]


def snapshot(state: Mapping[str, Any], device: torch.device) -> Snapshot:
    """Return where a loaded checkpoint can be resumed, its tensors on `device`."""
    return Snapshot(
        rows=len(state["rows"]),
        x=state["x"].to(device),
        shown=state["shown"].to(device),
        last_steps=None if state["last_steps"] is None else state["last_steps"].numpy(),
        within=_to_within(state["within"], device),
        frozen=state["frozen"],
        work=state["work"],
        compiles=state["compiles"],
        rule=state["rule"],
        server=_moved(state["server"], device),
    )


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with its arrays as tensors, which a checkpoint may hold."""
    return {
        name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        for name, value in row.items()
    }


def _of_within(within: Within) -> dict[str, Any]:
    at = None if within.at is None else _plain_position(within.at)
    return {"ends": _plain_position(within.ends), "chunk": within.chunk, "at": at}


def _plain_position(at: Position) -> tuple[Tensor, ...]:
    whole = at.whole()
    return whole.x, whole.steps, whole.above, whole.rows


def _to_within(state: Mapping[str, Any] | None, device: torch.device) -> Within | None:
    if state is None:
        return None

    def position(tensors: tuple[Tensor, ...]) -> Position:
        x, steps, above, rows = (tensor.to(device) for tensor in tensors)
        return Position(x, steps, above, rows)

    at = None if state["at"] is None else position(state["at"])
    return Within(position(state["ends"]), state["chunk"], at)


def _moved(state: Any, device: torch.device) -> Any:
    """Return the state of a server with its tensors on `device`."""
    if isinstance(state, Tensor):
        return state.to(device)
    if isinstance(state, Mapping):
        return {name: _moved(each, device) for name, each in state.items()}
    if isinstance(state, list | tuple):
        return [_moved(each, device) for each in state]
    return state
