"""Recorded runs: one small JSON file a figure, with what each run was made on and of.

``make record`` writes them, chapters draw them beside their live runs, and ``make record-check``
runs their beginnings again. Columns hold seven significant digits.
"""

import ast
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import localgd
from bookrun.errors import BookError
from bookrun.experiments import case, replays
from bookrun.experiments.case import Case
from bookrun.experiments.replays import Replays
from bookrun.files import digest, write_atomic
from localgd import Trace
from localgd.datasets import Source

FORMAT = "bookrun record 1"
_DIGITS = 7

#: The rooms of ``localgd`` that a network's run does not pass through.
CONVEX = ("convex", "geometry", "theory")


class RecordError(BookError, ValueError):
    """A record that cannot be used: the file, and what is wrong in it."""


@dataclass(frozen=True)
class Made:
    """On what and of what one run was made."""

    started: str  # UTC, ISO 8601
    commit: str
    code: str  # `code_digest` when it ran
    device: str
    engine: str
    threads: int
    versions: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class Recorded:
    """One recorded run: its settings, and the columns of its trace, named as in ``Trace``."""

    case: Case
    made: Made
    parameters: int  # trainable parameters of the network
    buffers: int  # numbers that are averaged besides, BatchNorm's statistics
    reason: str  # why the run ended, as in `Trace.reason`
    loss: NDArray[np.float64]  # (rows,) f(x_n), row 0 the start
    grad_norm_sq: NDArray[np.float64]  # (rows,) ‖∇f(x_n)‖²
    local_steps: NDArray[np.float64]  # (rows, m) row n: steps of each node in round n, row 0: none
    met: NDArray[np.bool_] | None  # (rows, m) whether the threshold was met; None for a fixed T
    seconds: NDArray[np.float64]  # (rows,) wall time of the round
    measures: Mapping[str, NDArray[np.float64]]  # (rows,) each: test loss and test accuracy

    def __len__(self) -> int:
        """Return the number of rows, one more than the rounds done."""
        return len(self.loss)


def of_trace(case: Case, trace: Trace, made: Made, parameters: int, buffers: int) -> Recorded:
    """Return the record of a finished run."""
    return Recorded(
        case=case,
        made=made,
        parameters=parameters,
        buffers=buffers,
        reason=trace.reason,
        loss=trace.loss,
        grad_norm_sq=trace.grad_norm_sq,
        local_steps=trace.local_steps,
        met=trace.met,
        seconds=trace.seconds,
        measures=trace.measures,
    )


@dataclass(frozen=True, eq=False)
class Record:
    """The recorded runs of one figure."""

    figure: str
    scale: str
    data: Source  # of the training images; real ones
    cases: tuple[Recorded, ...]
    digest: str = ""  # SHA-256 of the file that it was read from
    replays: Replays | None = None  # what is kept beside that file

    def select(self, **settings: Any) -> list[Recorded]:
        """Return the runs whose case has these settings: ``select(nodes=10, local_steps=100)``.

        Raises ``RecordError`` where there is none.
        """
        found = [
            each
            for each in self.cases
            if all(getattr(each.case, name) == value for name, value in settings.items())
        ]
        if not found:
            wanted = ", ".join(f"{name}={value}" for name, value in settings.items())
            raise RecordError(f"the record of {self.figure} has no run with {wanted}")
        return found

    def one(self, **settings: Any) -> Recorded:
        """Return the only run with these settings; raise ``RecordError`` for none or several."""
        found = self.select(**settings)
        if len(found) > 1:
            names = ", ".join(each.case.name for each in found)
            raise RecordError(f"the record of {self.figure} has {len(found)} such runs: {names}")
        return found[0]

    def provenance(self) -> str:
        """Sentences for a caption: when, on what, by what and of what the record was made."""
        days = sorted({each.made.started[:10] for each in self.cases})
        span = _day(days[0]) if len(days) == 1 else f"{_day(days[0])} to {_day(days[-1])}"
        seconds = sum(float(each.seconds.sum()) for each in self.cases)
        drawn = sorted({each.case.seed for each in self.cases})
        seeds = f"seed{'s' if len(drawn) > 1 else ''} {', '.join(map(str, drawn))}"
        hashes = ", ".join(f"{file} {sha[:12]}…" for file, sha in self.data.sha256.items())
        replayed = (
            self.replays.sentence(self.digest, code_digest())
            if self.replays
            else "It was not replayed yet: `make record-check` does that."
        )
        return (
            f"Recorded {span} on {_joined(each.made.device for each in self.cases)}, "
            f"{_joined(_threads(each.made.threads) for each in self.cases)}, "
            f"in {_duration(seconds)} of computing, at commit "
            f"{_joined(each.made.commit for each in self.cases)}, with "
            f"{_joined(_versions(each.made.versions) for each in self.cases)}; {seeds}; "
            f"{self.data.name}, SHA-256 {hashes}. {replayed}"
        )


def code_digest() -> str:
    """Return the fingerprint of all that a network run's numbers depend on in this project.

    What draws pages is not among it, and neither is what ``localgd`` has for convex problems. Of
    the rest it takes the statements without docstrings, comments, imports and the files that they
    stand in: what is moved or explained better runs as before.
    """
    package = Path(localgd.__file__).parent
    used = [
        path
        for path in package.rglob("*.py")
        if path.relative_to(package).parts[0].removesuffix(".py") not in CONVEX
    ]
    return digest(*sorted(chain.from_iterable(map(_statements, [*used, Path(case.__file__)]))))


def _statements(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [each for each in body if not _explains(each)]  # type: ignore[attr-defined]
    return [ast.dump(statement) for statement in tree.body]


def _explains(statement: ast.stmt) -> bool:
    """Return whether a statement computes nothing: an import, a docstring."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return True
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def save(record: Record, path: Path) -> None:
    """Write the record, whole or not at all; one line a run."""
    head = {"figure": record.figure, "scale": record.scale, "data": record.data.describe()}
    lines = [f' "format": {_compact(FORMAT)},']
    lines += [f' "{name}": {_compact(value)},' for name, value in head.items()]
    cases = ",\n".join(f"  {_compact(_plain(each))}" for each in record.cases)
    write_atomic(path, "\n".join(["{", *lines, ' "cases": [', cases, " ]", "}", ""]))


def load(path: str | Path) -> Record:
    """Read a record.  Raises ``RecordError`` for a file that is none, saying what is wrong."""
    path = Path(path)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecordError(f"{path} is missing: make record FIGURE={path.stem} makes it") from None
    except ValueError as error:
        raise RecordError(f"{path} is not a record: {error}") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise RecordError(f"{path} is not a record of the format {FORMAT!r}")
    try:
        return Record(
            figure=_text(found, "figure"),
            scale=_text(found, "scale"),
            data=_real(Source(**_mapping(found, "data"))),
            cases=tuple(_recorded(each) for each in found["cases"]),
            digest=digest(path.read_bytes()),
            replays=replays.load(path),
        )
    except KeyError as error:
        raise RecordError(f"{path}: it lacks {error}") from None
    except (TypeError, ValueError) as error:
        raise RecordError(f"{path}: {error}") from None


def _real(source: Source) -> Source:
    if source.kind != "real" or not source.sha256:
        raise ValueError(f"its data are {source.kind} data with the hashes {source.sha256}")
    return source


def _recorded(found: Mapping[str, Any]) -> Recorded:
    case = Case(**_mapping(found, "case"))
    columns = _mapping(found, "columns")
    loss = _column(columns["loss"], case, "loss")
    rows = len(loss)
    if not 1 <= rows <= case.rounds + 1:
        raise ValueError(f"{case.name}: {rows} rows for {case.rounds} rounds")

    def column(name: str, *shape: int) -> NDArray[np.float64]:
        values = _column(columns[name], case, name)
        if values.shape != (rows, *shape):
            raise ValueError(f"{case.name}: {name} has shape {values.shape}, not {(rows, *shape)}")
        return values

    steps = column("local_steps", case.nodes)
    if steps[0].any():
        raise ValueError(f"{case.name}: local_steps has steps in row 0, before any round")
    return Recorded(
        case=case,
        made=Made(**_mapping(found, "made")),
        parameters=int(found["parameters"]),
        buffers=int(found["buffers"]),
        reason=_text(found, "reason"),
        loss=loss,
        grad_norm_sq=column("grad_norm_sq"),
        local_steps=steps,
        met=column("met", case.nodes).astype(bool) if case.grad_tol is not None else None,
        seconds=column("seconds"),
        measures={name: column(name) for name in columns if name not in {*_COLUMNS, "met"}},
    )


_COLUMNS = ("loss", "grad_norm_sq", "local_steps", "seconds")


def _plain(each: Recorded) -> dict[str, Any]:
    columns = {name: getattr(each, name) for name in _COLUMNS} | dict(each.measures)
    if each.met is not None:
        columns["met"] = each.met
    return {
        "case": {name: value for name, value in asdict(each.case).items() if value is not None},
        "made": asdict(each.made),
        "parameters": each.parameters,
        "buffers": each.buffers,
        "reason": each.reason,
        "columns": {name: _rounded(values.tolist()) for name, values in columns.items()},
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    short = float(f"{value:.{_DIGITS}g}")
    return int(short) if short.is_integer() else short


def _column(values: Any, case: Case, name: str) -> NDArray[np.float64]:
    array = np.asarray(values, float)
    if not np.isfinite(array).all():
        raise ValueError(f"{case.name}: {name} holds a NaN or an infinity")
    return array


def _text(found: Mapping[str, Any], name: str) -> str:
    if not isinstance(found[name], str):
        raise ValueError(f"{name} is {found[name]!r}, not a text")
    return str(found[name])


def _mapping(found: Mapping[str, Any], name: str) -> dict[str, Any]:
    if not isinstance(found[name], dict):
        raise ValueError(f"{name} is not a table of names and values")
    return dict(found[name])


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _joined(texts: Any) -> str:
    return " and ".join(dict.fromkeys(texts))


def _threads(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}"


def _versions(versions: Mapping[str, str]) -> str:
    names = {"torch": "PyTorch", "numpy": "NumPy", "python": "Python"}
    return ", ".join(f"{names[name]} {versions[name]}" for name in names if name in versions)


def _day(text: str) -> str:
    day = date.fromisoformat(text)
    return f"{day.day} {day:%B %Y}"


def _duration(seconds: float) -> str:
    return f"{math.ceil(seconds)} s" if seconds < 120 else f"{seconds / 60:.0f} min"
