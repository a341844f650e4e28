"""The proofs in the chapters' text, by the steps that they name.

A step is named where the proof takes it, by the role ``{step}`` with the row's id and the name:
``{step}`lem1 expand a step` ``. A proof that names no step counts as none.
"""

import re
from collections.abc import Iterable, Iterator

_OPENS = re.compile(r"^(?P<mark>`{3,}|:{3,})\{prf:proof\}")
_STEP = re.compile(r"\{step\}`(?P<claim>\S+) (?P<name>[^`]+)`")


def steps(texts: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the steps that the proofs in these texts name, by claim, in the order of the text."""
    found: dict[str, list[str]] = {}
    for text in texts:
        for proof in _proofs(text):
            for match in _STEP.finditer(proof):
                found.setdefault(match["claim"], []).append(" ".join(match["name"].split()))
    return {claim: tuple(dict.fromkeys(names)) for claim, names in found.items()}


def _proofs(text: str) -> Iterator[str]:
    """Yield the text of each ``{prf:proof}``."""
    mark, lines = "", list[str]()
    for line in text.splitlines():
        if not mark:
            opening = _OPENS.match(line)
            mark, lines = (opening["mark"], []) if opening else ("", [])
        elif line.strip() == mark:
            yield "\n".join(lines)
            mark = ""
        else:
            lines.append(line)
