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
from typing import Any, Self

import torch

from localgd.algorithm import checkpoint_file
from localgd.algorithm.rounds import Rounds
from localgd.algorithm.rules import Rule
from localgd.algorithm.servers import Server
from localgd.algorithm.settings import known_to_all
from localgd.files import write_atomically
from localgd.fingerprint import describe, digest, own_code, plain


@dataclass(frozen=True)
class Checkpoint:
    """The place of a run's checkpoint, and how often it is written.

    `path`: the file; it appears whole or not at all.  `every_seconds`: write when so much
    time has passed since the last writing, within a round too.  `every_rounds`: write after
    so many rounds as well.  A run also writes it at its start, so that a path that cannot be
    written is found out then, and when it ends, for whatever reason.
    Raises `ValueError` for an interval that is negative, or fewer rounds than one, and
    `TypeError` for what is no path.
    """

    path: str | os.PathLike[str]
    every_seconds: float = 60.0
    every_rounds: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.path, str | os.PathLike):
            raise TypeError(f"checkpoint={self.path!r} must be a path or a Checkpoint")
        if not self.every_seconds >= 0:
            raise ValueError(f"every_seconds={self.every_seconds} must be ≥ 0")
        if self.every_rounds is not None and not self.every_rounds >= 1:
            raise ValueError(f"every_rounds={self.every_rounds} must be ≥ 1")


class NoKeeper:
    """Keeps nothing: a run without a checkpoint."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return

    def start(self) -> None:
        """Do nothing."""

    def after_round(self) -> None:
        """Do nothing."""

    def when_due(self) -> None:
        """Do nothing."""

    def way_on(self) -> str:
        """Say how an interrupted run could have gone on."""
        return (
            "the trace ends there. With checkpoint=PATH the same call could have been taken up "
            "again."
        )


class Keeper(NoKeeper):
    """Writes the checkpoint of one run when it is due, and takes the run up from it.

    A context manager: on the way in `rounds` goes on from the checkpoint, where there is one;
    on the way out, whatever the reason, the checkpoint is written.
    """

    def __init__(
        self, settings: Checkpoint, fingerprint: Mapping[str, str], rounds: Rounds
    ) -> None:
        self.settings, self.path, self.rounds = settings, Path(settings.path), rounds
        self._fingerprint = dict(fingerprint)
        self._digests: list[str] = []  # what the rule and the server were at the start
        self._mark: tuple[int, int] | None = None  # tells the file as it was written last
        self._name = secrets.token_hex(8)  # tells this run's files from those of others
        self._writes = False
        self._written, self._rows = time.monotonic(), 1  # row 0 is no round

    def __enter__(self) -> Self:
        """Take the run up.

        Raises `ValueError` for what is not a file or not a checkpoint, and for one of another run,
        naming what differs.
        """
        content = self.rounds.communication.from_first(self._content)
        if content is not None:
            self._take_up(checkpoint_file.decode(content, self.path))
        return self

    def _content(self) -> bytes | None:
        if not self.path.exists():
            return None
        if not self.path.is_file():  # a device, or a pipe, might be read for ever
            raise ValueError(f"checkpoint={self.path} is there and no file: give the path of one")
        return self.path.read_bytes()

    def __exit__(self, *error: object) -> None:
        """Write; an interrupt meanwhile loses nothing, and a second one ends it all."""
        try:
            self.write()
        except KeyboardInterrupt:
            self.write()
            raise

    def _take_up(self, state: Mapping[str, Any]) -> None:
        there, here = state["fingerprint"], self._fingerprint
        differing = [
            f"{name} is {there.get(name, 'absent')} there and {here.get(name, 'absent')} here"
            for name in sorted({*there, *here})
            if there.get(name) != here.get(name)
        ]
        if differing:
            raise ValueError(
                f"{self.path} is the checkpoint of another run: {'; '.join(differing)}. Give this "
                "run another path, or remove the file to start anew"
            )
        recorder = self.rounds.recorder
        recorder.rows[:] = checkpoint_file.rows(state)
        # It began when the run did; how far it is to go may have changed.
        recorder.provenance = {
            **json.loads(state["provenance"]),
            "settings": recorder.provenance["settings"],
        }
        self.rounds.resume(checkpoint_file.snapshot(state, self.rounds.x.device))
        self._rows = len(recorder.rows)

    def start(self) -> None:
        """Write for the first time, where this is the first process.

        Raises `OSError` where the file cannot be written, and `TypeError` where the state of
        the rule or of the server cannot be read again.
        """
        self._digests = [digest(vars(part)) for part in self._parts()]
        self.rounds.communication.agree(self._begin, lambda _: {})

    def _begin(self) -> None:
        for part in self._parts():
            self._check_readable(part)
        if self.rounds.communication.first:
            self._replace()
            self._writes = True

    def after_round(self) -> None:
        """Write, if it is time.

        Raises `TypeError` where the rule or the server has changed in a way that is not kept.
        """
        for part, before in zip(self._parts(), self._digests, strict=True):
            if not _has_state(part) and digest(vars(part)) != before:
                raise TypeError(
                    f"{type(part).__qualname__} changes its attributes from round to round: a run "
                    "with a checkpoint could not be taken up. Let it override state_dict and "
                    "load_state_dict"
                )
        self.when_due()

    def way_on(self) -> str:
        """Say how an interrupted run goes on."""
        return f"{self.path} keeps it. The same call with the same checkpoint goes on from there."

    def _parts(self) -> list[Rule | Server]:
        return [self.rounds.rule, self.rounds.server]

    def _check_readable(self, part: Rule | Server) -> None:
        kind = type(part)
        if _has_state(part) != (kind.load_state_dict is not _base(part).load_state_dict):
            raise TypeError(
                f"{kind.__qualname__} overrides one of state_dict and load_state_dict: a run is "
                "taken up with both"
            )
        buffer = io.BytesIO()
        torch.save(dict(part.state_dict()), buffer)
        try:
            torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)
        except pickle.UnpicklingError as error:
            raise TypeError(
                f"the state_dict of {kind.__qualname__} holds what a checkpoint "
                "cannot (numbers, texts, lists, dictionaries and tensors only): "
                f"{str(error).splitlines()[0]}"
            ) from error

    def when_due(self) -> None:
        """Write, if it is time."""
        every = self.settings.every_rounds
        late = time.monotonic() - self._written >= self.settings.every_seconds
        if late or (every is not None and self.rounds.safe.rows - self._rows >= every):
            self.write()

    def write(self) -> None:
        """Write the checkpoint where it is safe to resume; warn where it fails.

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
            self._replace()
        except OSError as error:
            self._written = time.monotonic()
            warnings.warn(
                f"the checkpoint {self.path} cannot be written ({error}): the run goes on, and "
                "tries again",
                RuntimeWarning,
                stacklevel=2,
            )

    def _replace(self) -> None:
        safe, recorder = self.rounds.safe, self.rounds.recorder
        content = checkpoint_file.encode(
            safe, recorder.rows[: safe.rows], recorder.provenance, self._fingerprint, self._name
        )
        write_atomically(self.path, content)
        self._mark = _mark(self.path)
        self._written, self._rows = time.monotonic(), safe.rows

    def _is_ours(self) -> bool:
        """Return whether the file is as this run has written it last."""
        if _mark(self.path) == self._mark:
            return True
        try:  # an interrupt may have come before it was noted
            return bool(checkpoint_file.load(self.path)["writer"] == self._name)
        except ValueError:
            return False


def keeper(checkpoint: str | os.PathLike[str] | Checkpoint | None, rounds: Rounds) -> NoKeeper:
    """Return what keeps `rounds` in `checkpoint`, or keeps nothing where it is None."""
    if checkpoint is None:
        return NoKeeper()
    settings = checkpoint if isinstance(checkpoint, Checkpoint) else Checkpoint(checkpoint)
    prints = common_fingerprint(rounds) if rounds.communication.shared else fingerprint(rounds)
    return Keeper(settings, prints, rounds)


def fingerprint(rounds: Rounds) -> dict[str, str]:
    """Return what the course of a run depends on, by name, as short texts.

    Not among it are the number of rounds and the stopping criterion, which say only where
    the course ends.
    """
    provenance, problem = rounds.recorder.provenance, rounds.problem
    settings = {
        **provenance["settings"],
        **{name: provenance[name] for name in ("device", "dtype", "threads", "versions")},
    }
    texts = {name: str(value) for name, value in settings.items() if name not in ("rounds", "stop")}
    texts["local_steps"] = f"{rounds.rule!r} {digest(rounds.rule)}{own_code(rounds.rule)}"
    texts["server"] = f"{rounds.server!r} {digest(rounds.server)}{own_code(rounds.server)}"
    name = type(problem).__qualname__
    texts["problem"] = f"{name} {digest(plain(problem.provenance()))}{own_code(problem)}"
    texts["program"] = rounds.evaluator.identity
    texts["x0"] = describe(rounds.x)
    for name, value in problem.contents().items():
        words = describe if isinstance(value, torch.Tensor) else digest
        texts[f"data {name}"] = words(value)
    return texts


def common_fingerprint(rounds: Rounds) -> dict[str, str]:
    """Return what the course depends on and every process knows, however many there are.

    The nodes' data are not among it, for no process has them all, nor are step sizes and steps
    that each node has of its own: the loss where the run is taken up tells them from others.
    """
    settings, words = rounds.recorder.provenance["settings"], rounds.communication.words()
    return (
        known_to_all(rounds.problem, rounds.rule, rounds.server, rounds.x)
        | {name: str(settings[name]) for name in ("seed", "engine", "tf32")}
        | {name: words[name] for name in ("reduction", "record")}
        | {
            "nodes": str(rounds.communication.num_nodes),
            "torch": torch.__version__.partition("+")[0],
        }
    )


def _base(part: Rule | Server) -> type[Rule] | type[Server]:
    return Rule if isinstance(part, Rule) else Server


def _has_state(part: Rule | Server) -> bool:
    return type(part).state_dict is not _base(part).state_dict


def _mark(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_ino, stat.st_mtime_ns
