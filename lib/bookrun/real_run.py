"""Keep what a build on the real data gave, for readers who cannot have them.

``make record-real`` writes it after such a build: the named lines of the figures that ask for it,
and the verdicts on claims whose chapters need data.  On stand-in data a figure shows those lines
beside its own, and the ledger names those verdicts beside "not checked here".
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from bookrun.errors import BookError
from bookrun.files import write_atomic

FORMAT = "bookrun real-run 1"

#: A line of a figure: "panel", its number, "label", "x" and "y".
Line = Mapping[str, Any]


@dataclass(frozen=True)
class RealRun:
    """The lines of figures by label and the verdicts by claim, with what they were made by."""

    day: str  # ISO 8601
    commit: str
    data: Mapping[str, str]  # SHA-256 by file
    figures: Mapping[str, Sequence[Line]]
    verdicts: Mapping[str, str]

    @property
    def when(self) -> str:
        """Return day and commit in words."""
        day = date.fromisoformat(self.day)
        return f"{day.day} {day:%B %Y}, commit {self.commit}"


def save(found: RealRun, path: Path) -> None:
    """Write the file, one line a line of a figure."""
    head = {"format": FORMAT, **{k: v for k, v in asdict(found).items() if k != "figures"}}
    figures = [
        f"  {json.dumps(label)}: [\n   "
        + ",\n   ".join(json.dumps(line, ensure_ascii=False) for line in lines)
        + "\n  ]"
        for label, lines in found.figures.items()
    ]
    text = json.dumps(head, indent=1, ensure_ascii=False).removesuffix("\n}")
    write_atomic(path, text + ',\n "figures": {\n' + ",\n".join(figures) + "\n }\n}\n")


def load(path: Path) -> RealRun | None:
    """Return what the file holds; None where there is none.

    Raises ``BookError`` for a file that is not of this format.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found.pop("format") != FORMAT:
            raise ValueError(f"its format is not {FORMAT!r}")
        return RealRun(**found)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BookError(f"{path}: not what `make record-real` writes: {error}") from None
