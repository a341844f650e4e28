"""Keep what replays of a record found: a small JSON file beside it, for captions to read."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from bookrun.files import write_atomic

#: How far a replayed value may be from the recorded one, relative.
LOSS_TOLERANCE = 1e-3
RESIDUAL_TOLERANCE = 1e-2


@dataclass(frozen=True)
class Replay:
    """The outcome of running the beginning of one recorded run again."""

    name: str
    steps: int  # local steps of a node that were compared; 0 says that nothing was
    rounds: int  # whole rounds among them; 0 where the comparison is within the first one
    loss_error: float  # largest relative difference of the loss
    residual_error: float  # and of ‖∇f‖²
    steps_agree: bool  # the step counts, within 10 % where a threshold decides

    @property
    def agrees(self) -> bool:
        """Return whether a step was compared, and all that were are within the tolerances."""
        return (
            self.steps > 0
            and self.loss_error <= LOSS_TOLERANCE
            and self.residual_error <= RESIDUAL_TOLERANCE
            and self.steps_agree
        )


@dataclass(frozen=True)
class Replays:
    """The replays of one record, by one state of the code."""

    record: str  # SHA-256 of the record's file
    code: str  # fingerprint of the code that replayed it
    day: str  # ISO 8601
    processor: str
    runs: tuple[Replay, ...]

    def sentence(self, record: str, code: str) -> str:
        """Say for a caption what of the record with this digest was replayed by this code."""
        if self.record != record:
            return "It was not replayed since it was made: `make record-check` does that."
        if self.code != code:
            return (
                f"It was last replayed on {self.day}, by an earlier state of the code: "
                "`make record-check` does it again."
            )
        agree = [run for run in self.runs if run.agrees]
        if len(agree) < len(self.runs):
            return f"Of {len(self.runs)} replayed runs {len(self.runs) - len(agree)} differ."
        fewest, most = min(run.steps for run in agree), max(run.steps for run in agree)
        span = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        return (
            f"Replayed with today's code: the first {span} local steps of every run agree to "
            f"{LOSS_TOLERANCE:g} in the loss."
        )


def path_of(record: Path) -> Path:
    """Return where the replays of the record at ``record`` are kept."""
    return record.with_suffix(".check.json")


def save(replays: Replays, record: Path) -> None:
    """Write the replays of the record at ``record``."""
    text = json.dumps(asdict(replays), indent=1, ensure_ascii=False)
    write_atomic(path_of(record), text + "\n")


def load(record: Path) -> Replays | None:
    """Return the replays of the record at ``record``, None where there are none to be read."""
    try:
        found = json.loads(path_of(record).read_text(encoding="utf-8"))
        return Replays(**{**found, "runs": tuple(Replay(**run) for run in found["runs"])})
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None
