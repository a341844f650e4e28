"""Keep what a run recorded: one row a round, with its provenance."""

from __future__ import annotations

import io
import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from localgd.files import write_atomically

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = (
    "round",
    "loss",
    "grad_norm_sq",
    "dist",
    "local_steps",
    "met",
    "undone",
    "seconds",
    "seconds_waiting",
    "seconds_communicating",
    "bytes",
    "x",
)
_OPTIONAL = {"dist", "met", "undone", "seconds_waiting", "seconds_communicating"}
_MEASURE = "measure "  # before the name of a measured column in a saved file
#: What reading raises for a file whose bytes are not those that were written.
_DAMAGED = (
    *(KeyError, ValueError, TypeError, AttributeError, EOFError, OSError),
    *(NotImplementedError, RuntimeError, zlib.error, zipfile.BadZipFile),
)


@dataclass(frozen=True, eq=False)
class Trace:
    """The course of a run of Algorithm 1; row n belongs to x_n, row 0 to the start.

    Row n ≥ 1 also says what round n cost, the round that led from x_{n−1} to x_n.
    """

    round: NDArray[np.int64]  # (rows,) n = 0, 1, …
    loss: NDArray[np.float64]  # (rows,) f(x_n)
    grad_norm_sq: NDArray[np.float64]  # (rows,) ‖∇f(x_n)‖²
    dist: NDArray[np.float64] | None  # (rows,) d(x_n, S) where the problem knows it
    local_steps: NDArray[np.float64]  # (rows, m) steps of each node; inf for T_i = ∞
    met: NDArray[np.bool_] | None  # (rows, m) whether the rule's tolerance was met
    undone: NDArray[np.bool_] | None  # (rows,) whether a safeguarded server's step was undone
    seconds: NDArray[np.float64]  # (rows,) wall time of the round, in the process that returns it
    #: (rows,) of it, waiting for the slowest process, and sending and receiving; None where all
    #: nodes share one process.  The rest is computing.
    seconds_waiting: NDArray[np.float64] | None
    seconds_communicating: NDArray[np.float64] | None
    #: (rows,) in the round's messages: what all processes of a group have put in and taken out; in
    #: one process, what all nodes would send and receive if each had a process of its own.
    bytes: NDArray[np.int64]
    x: NDArray[np.floating[Any]]  # (d,) the final model
    measures: Mapping[str, NDArray[np.float64]]  # (rows,) each, what `run` was asked to measure
    reason: str  # why the run ended: "rounds", "stop", "frozen", "diverged" or "interrupted"
    provenance: Mapping[str, Any]

    def __len__(self) -> int:
        """Return the number of rows, one more than the rounds done."""
        return len(self.round)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a round, the nodes' step counts in columns `local_steps_0`, …

        Raises `ImportError` where pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError("Trace.to_frame needs pandas: pip install pandas") from error
        columns: dict[str, Any] = {
            "round": self.round,
            "loss": self.loss,
            "grad_norm_sq": self.grad_norm_sq,
        }
        if self.dist is not None:
            columns["dist"] = self.dist
        for node in range(self.local_steps.shape[1]):
            columns[f"local_steps_{node}"] = self.local_steps[:, node]
        if self.met is not None:
            for node in range(self.met.shape[1]):
                columns[f"met_{node}"] = self.met[:, node]
        if self.undone is not None:
            columns["undone"] = self.undone
        columns.update(self.measures)
        columns["seconds"] = self.seconds
        for name in ("seconds_waiting", "seconds_communicating"):
            if getattr(self, name) is not None:
                columns[name] = getattr(self, name)
        return pd.DataFrame(columns | {"bytes": self.bytes})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the trace to `path` as compressed NumPy arrays and a JSON header.

        The file appears whole or not at all: it is written beside `path` and renamed.
        """
        arrays = {name: getattr(self, name) for name in _COLUMNS}
        arrays = {name: array for name, array in arrays.items() if array is not None}
        arrays |= {f"{_MEASURE}{name}": column for name, column in self.measures.items()}
        header = json.dumps({"reason": self.reason, "provenance": dict(self.provenance)})
        buffer = io.BytesIO()
        np.savez_compressed(buffer, header=np.array(header), **arrays)
        write_atomically(Path(path), buffer.getvalue())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Trace:
        """Read what `save` wrote.  Raises `ValueError` for a file that is not a trace."""
        content = io.BytesIO(Path(path).read_bytes())
        try:
            with np.load(content, allow_pickle=False) as archive:
                held = {name: archive[name] for name in archive.files}
            header = json.loads(str(held.pop("header")))
            reason, provenance = header["reason"], header["provenance"]
        except _DAMAGED as error:
            raise ValueError(f"{path} is not a saved trace: {error}") from error
        measures = {name.removeprefix(_MEASURE): held[name] for name in held if _MEASURE in name}
        columns: dict[str, Any] = dict.fromkeys(_OPTIONAL) | {
            name: column for name, column in held.items() if _MEASURE not in name
        }
        wrong = sorted({*columns} ^ {*_COLUMNS})
        if wrong:
            raise ValueError(f"{path} is not a saved trace: the columns {', '.join(wrong)} differ")
        return cls(**columns, measures=measures, reason=reason, provenance=provenance)


def first_row(reached: Any) -> int:
    """min { n : reached[n] }, the round in which a condition first holds; `reached`: (rows,) bool.

    Raises `ValueError` where it holds in no row, for then there is no such round.
    """
    rows = np.flatnonzero(np.asarray(reached))
    if rows.size == 0:
        raise ValueError(f"the condition holds in none of the {len(reached)} rows")
    return int(rows[0])


class DivergenceError(ArithmeticError):
    """A loss, gradient or iterate stopped being finite.

    `round` and `node` say where, `trace` holds the rows up to the last finite average.
    """

    def __init__(self, round: int, node: int, trace: Trace) -> None:
        super().__init__(
            f"local GD diverged in round {round} at node {node}: a value is no longer finite; "
            f"the trace holds {len(trace)} rows; take a smaller step_size"
        )
        self.round, self.node, self.trace = round, node, trace


@dataclass
class Recorder:
    """Collects rows while a run goes on."""

    num_nodes: int
    provenance: Mapping[str, Any]
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, **row: Any) -> None:
        """Append the row of one round."""
        self.rows.append({"round": len(self.rows)} | row)

    def trace(self, x: NDArray[np.floating[Any]], reason: str, length: int) -> Trace:
        """Return the first `length` rows as a `Trace` that ends at `x` for `reason`."""
        rows = self.rows[:length]

        def column(name: str, dtype: Any, *shape: int) -> NDArray[Any]:
            missing = np.zeros(shape, dtype)
            values = [missing if row[name] is None else row[name] for row in rows]
            return np.array(values, dtype).reshape(len(values), *shape)

        def known(name: str) -> bool:
            return any(row[name] is not None for row in rows)

        def optional(name: str) -> NDArray[np.float64] | None:
            return column(name, np.float64) if known(name) else None

        return Trace(
            round=column("round", np.int64),
            loss=column("loss", np.float64),
            grad_norm_sq=column("grad_norm_sq", np.float64),
            dist=optional("dist"),
            local_steps=column("local_steps", np.float64, self.num_nodes),
            met=column("met", np.bool_, self.num_nodes) if known("met") else None,
            undone=column("undone", np.bool_) if known("undone") else None,
            seconds=column("seconds", np.float64),
            seconds_waiting=optional("seconds_waiting"),
            seconds_communicating=optional("seconds_communicating"),
            bytes=column("bytes", np.int64),
            x=x,
            measures={
                name: np.array([row["measures"][name] for row in rows])
                for name in (rows[0]["measures"] if rows else {})
            },
            reason=reason,
            provenance=self.provenance,
        )
