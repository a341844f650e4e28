"""Turn ``pip freeze --all`` into the lock file: ``… | python -m bookrun.commands.lock``."""

import re
import sys
from collections.abc import Iterable, Iterator

HEADER = "# Every version, pinned here and nowhere else; make lock writes this file."

# pip brings these where the platform's torch needs them, and itself is no dependency
_LEFT_OUT = re.compile(r"^(nvidia-|triton\b|pip\b|localgd\b|cuda-)", re.IGNORECASE)
_PINNED = re.compile(r"^([A-Za-z0-9][\w.-]*)==([^+\s]+)(\+\S+)?$")


def pins(frozen: Iterable[str]) -> Iterator[str]:
    """Return the lines of the lock file: names with public versions, in alphabetical order.

    A local version such as ``+cpu`` says which wheel this platform took, so it is left out.
    Raises ``ValueError`` for a line that is no plain pin.
    """
    found = []
    for line in (raw.strip() for raw in frozen):
        if not line or line.startswith(("#", "-e ")) or _LEFT_OUT.match(line):
            continue
        match = _PINNED.match(line)
        if match is None:
            raise ValueError(
                f"{line!r} is not NAME==VERSION: a path or an address cannot be pinned"
            )
        found.append(f"{match[1]}=={match[2]}")
    return iter(sorted(found, key=str.lower))


def main() -> None:
    """Read from standard input, write to standard output."""
    print("\n".join([HEADER, *pins(sys.stdin)]))


if __name__ == "__main__":
    main()
