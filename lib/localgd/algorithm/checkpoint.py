"""Checkpoints: a run that was stopped at any moment goes on where it was."""

from __future__ import annotations

import io
import json
import os
import pickle
import secrets
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from localgd.algorithm.local_phase import Within
from localgd.algorithm.local_steps import Position
from localgd.algorithm.rounds import Rounds, Snapshot
from localgd.algorithm.rules import Rule
from localgd.files import write_atomically
from localgd.fingerprint import describe, digest, plain
from localgd.problem import Problem

_FORMAT = "localgd checkpoint 2"
_KEYS = {
    "format",
    "fingerprint",
    "provenance",
    "rows",
    "x",
    "last_steps",
    "within",
    "frozen",
    "work",
    "compiles",
    "rule",
    "writer",
}


@dataclass(frozen=True)
class Checkpoint:
    """Where a run keeps its checkpoint and how often it writes it.

    `path`: the file; it appears whole or not at all.  `every_seconds`: write when so much
    time has passed since the last writing, within a round too.  `every_rounds`: write after
    so many rounds as well.  A run also writes it at its start, so that a path that cannot be
    written is found out then, and when it ends, for whatever reason.
    Raises `ValueError` for an interval that is negative, or fewer rounds than one.
    """

    path: str | os.PathLike[str]
    every_seconds: float = 60.0
    every_rounds: int | None = None

    def __post_init__(self) -> None:
        if not self.every_seconds >= 0:
            raise ValueError(f"every_seconds={self.every_seconds} must be ≥ 0")
        if self.every_rounds is not None and self.every_rounds < 1:
            raise ValueError(f"every_rounds={self.every_rounds} must be ≥ 1")


class Keeper:
    """Writes the checkpoint of one run when it is due, and takes the run up from it."""

    def __init__(self, settings: Checkpoint, fingerprint: Mapping[str, str]) -> None:
        self.settings, self.path = settings, Path(settings.path)
        self._fingerprint = dict(fingerprint)
        self._rule: str | None = None  # what the rule was at the start
        self._mark: tuple[int, int] | None = None  # tells the file as it was written last
        self._name = secrets.token_hex(8)  # tells this run's files from those of others
        self._writes = False
        self._written, self._rows = time.monotonic(), 1  # row 0 is no round

    def take_up(self, rounds: Rounds) -> None:
        """Let `rounds` go on from the checkpoint, where there is one.

        Raises `ValueError` for a file that is not a checkpoint, and for one of another run,
        naming what differs.
        """
        if not self.path.exists():
            return
        state = self._load()
        differing = [
            f"{name} is {state['fingerprint'].get(name, 'absent')} there and "
            f"{self._fingerprint.get(name, 'absent')} here"
            for name in sorted({*state["fingerprint"], *self._fingerprint})
            if state["fingerprint"].get(name) != self._fingerprint.get(name)
        ]
        if differing:
            raise ValueError(
                f"{self.path} is the checkpoint of another run: {'; '.join(differing)}. Give this "
                "run another path, or remove the file to start anew"
            )
        device = rounds.x.device
        rounds.recorder.rows[:] = [_row(row) for row in state["rows"]]
        rounds.recorder.provenance = json.loads(state["provenance"])
        rounds.resume(
            Snapshot(
                rows=len(state["rows"]),
                x=state["x"].to(device),
                last_steps=None if state["last_steps"] is None else state["last_steps"].numpy(),
                within=_within(state["within"], device),
                frozen=state["frozen"],
                work=state["work"],
                compiles=state["compiles"],
                rule=state["rule"],
            )
        )
        self._rows = len(state["rows"])

    def start(self, rounds: Rounds) -> None:
        """Write for the first time.

        Raises `OSError` where the file cannot be written, and `TypeError` where the state of
        the rule cannot be read again.
        """
        self._rule = digest(vars(rounds.rule))
        kind = type(rounds.rule)
        if (kind.state_dict is Rule.state_dict) != (kind.load_state_dict is Rule.load_state_dict):
            raise TypeError(
                f"{kind.__qualname__} overrides one of state_dict and load_state_dict: a run is "
                "taken up with both"
            )
        content = self._content(rounds)
        try:
            torch.load(io.BytesIO(content), weights_only=True)
        except pickle.UnpicklingError as error:
            raise TypeError(
                f"the state_dict of {type(rounds.rule).__qualname__} holds what a checkpoint "
                "cannot (numbers, texts, lists, dictionaries and tensors only): "
                f"{str(error).splitlines()[0]}"
            ) from error
        self._replace(content, rounds)
        self._writes = True

    def check_rule(self, rule: Rule) -> None:
        """Raise `TypeError` where a rule has changed in a way that a checkpoint does not keep."""
        kept = type(rule).state_dict is not Rule.state_dict
        if not kept and digest(vars(rule)) != self._rule:
            raise TypeError(
                f"{type(rule).__qualname__} changes its attributes when it plans: a run with a "
                "checkpoint could not be taken up. Let it override state_dict and load_state_dict"
            )

    def when_due(self, rounds: Rounds) -> None:
        """Write, if it is time."""
        every = self.settings.every_rounds
        late = time.monotonic() - self._written >= self.settings.every_seconds
        if late or (every is not None and rounds.safe.rows - self._rows >= every):
            self.write(rounds)

    def write(self, rounds: Rounds) -> None:
        """Write the checkpoint of `rounds` where it is safe to resume; warn where it fails.

        Where somebody else has written the file since, theirs stays.
        """
        if not self._writes:
            return
        if self.path.exists() and not self._is_ours():
            self._writes = False
            warnings.warn(
                f"{self.path} has been written by another run: this one goes on without it",
                RuntimeWarning,
                stacklevel=2,
            )
            return
        try:
            self._replace(self._content(rounds), rounds)
        except OSError as error:
            self._written = time.monotonic()
            warnings.warn(
                f"the checkpoint {self.path} cannot be written ({error}): the run goes on, and "
                "tries again",
                RuntimeWarning,
                stacklevel=2,
            )

    def _content(self, rounds: Rounds) -> bytes:
        safe = rounds.safe
        state = {
            "format": _FORMAT,
            "fingerprint": self._fingerprint,
            "provenance": json.dumps(rounds.recorder.provenance),
            "rows": [_plain(row) for row in rounds.recorder.rows[: safe.rows]],
            "x": safe.x,
            "last_steps": None if safe.last_steps is None else torch.from_numpy(safe.last_steps),
            "within": None
            if safe.within is None
            else {
                "ends": tuple(safe.within.ends),
                "chunk": safe.within.chunk,
                "at": None if safe.within.where is None else tuple(safe.within.where()),
            },
            "frozen": safe.frozen,
            "work": safe.work,
            "compiles": safe.compiles,
            "rule": dict(safe.rule),
            "writer": self._name,
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        return buffer.getvalue()

    def _replace(self, content: bytes, rounds: Rounds) -> None:
        write_atomically(self.path, content)
        self._mark = _mark(self.path)
        self._written, self._rows = time.monotonic(), rounds.safe.rows

    def _is_ours(self) -> bool:
        """Whether the file is as this run has written it last."""
        if _mark(self.path) == self._mark:
            return True
        try:
            return bool(self._load()["writer"] == self._name)  # interrupted before it was noted
        except ValueError:
            return False

    def _load(self) -> dict[str, Any]:
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
        except OSError:
            raise
        except Exception as error:  # a file of any other kind may fail in any way
            raise ValueError(
                f"{self.path} is not a checkpoint of a run ({type(error).__name__})"
            ) from None
        if not isinstance(state, dict) or state.get("format") != _FORMAT or set(state) != _KEYS:
            raise ValueError(f"{self.path} is not a checkpoint of a run ({_FORMAT})")
        return state


def fingerprint(
    problem: Problem, rule: Rule, x0: Tensor, program: str, settings: Mapping[str, Any]
) -> Any:
    """Return what a run's course depends on, by name, as short texts.

    `program`: what the recorded evaluation computes; `settings`: what else it depends on.
    Not among it are the number of rounds and the stopping criterion, which say only where
    the course ends.
    """
    texts = {name: str(value) for name, value in settings.items()}
    texts["local_steps"] = f"{rule!r} {digest(rule)}"
    texts["problem"] = f"{type(problem).__qualname__} {digest(plain(problem.provenance()))}"
    texts["program"] = program
    texts["x0"] = describe(x0)
    for name, tensor in problem.tensors().items():
        texts[f"data {name}"] = describe(tensor)
    return texts


def _mark(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_ino, stat.st_mtime_ns


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with its arrays as tensors, which a checkpoint may hold."""
    return {
        name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        for name, value in row.items()
    }


def _row(plain: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.numpy() if isinstance(value, Tensor) else value for name, value in plain.items()
    }


def _within(state: Mapping[str, Any] | None, device: torch.device) -> Within | None:
    if state is None:
        return None

    def position(tensors: tuple[Tensor, ...]) -> Position:
        return Position(*(tensor.to(device) for tensor in tensors))

    at = None if state["at"] is None else position(state["at"])
    return Within(position(state["ends"]), state["chunk"], None if at is None else lambda: at)
