"""The numbers that chapters computed: those of their checks and those that they reported.

A sentence names such a number and never types it (role ``{value}``); what it types all the same
is found here.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from bookrun.outputs import CHECK, NUMBER, outputs, read_notebook

#: ``{chapter: {name: record}}``, where a record has a value and, of a check, bounds and an outcome.
Values = dict[str, dict[str, dict[str, Any]]]


def values(notebooks: Mapping[str, Path]) -> Values:
    """Return the executed notebooks' numbers by chapter, then key or name; the last counts."""
    found: Values = {}
    for chapter, path in notebooks.items():
        notebook = read_notebook(path)
        if notebook is not None:
            found[chapter] = _in_notebook(notebook)
    return found


def _in_notebook(notebook: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for kind in (NUMBER, CHECK):
        for _, record in outputs(notebook, kind):
            kept = {name: record.get(name) for name in ("name", "value", "low", "high", "outcome")}
            for name in filter(None, (record["name"], record.get("key"))):
                found[name] = kept
    return found


_FENCE = re.compile(r"^(`{3,}|~{3,}|:{3,})")
#: What is no sentence, or has its number from elsewhere.
_ASIDE = re.compile(
    r"\{[\w:-]+\}`[^`]*`|`[^`]*`|\$\$.*?\$\$|\[[^\]]*\]\([^)]*\)|https?://\S+", re.DOTALL
)
_BEFORE, _AFTER = r"(?<![\w.,^{/\\−-])", r"(?!\.?[\w/^}])"
#: A number of fewer digits is too often another one's by chance.
_COUNTED_DIGITS = 3
_DIGITS = r"(?:\d[\d,]*\.\d+|\d{1,3}(?:,\d{3})+|\d{3,})"
#: A power of ten after a number, as TeX and as plain text write it.
_POWER = r"\s*(?:\\cdot|\\times|·|×)\s*10(?:\^(?:\{([−-]?\d+)\}|(\d))|([⁻⁰¹²³⁴-⁹]+))"
_NUMBER = re.compile(rf"{_BEFORE}([−-]?{_DIGITS}){_AFTER}(?:{_POWER})?")
_PLAIN = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹−", "-0123456789-", ",")


def typed(
    text: str, known: Iterable[Any], allowed: Iterable[str] = ()
) -> Iterator[tuple[int, str]]:
    """Numbers in a chapter's sentences that a check of the chapter computes: line and number.

    A typed number is one of them when it is a value rounded to as many digits as are typed, a power
    of ten after it included; without a sign it may be a negative value's. What has less than three
    digits that count, and what stands in code, mathematics set off, links and roles, is left alone;
    so are the ``allowed``.
    """
    numbers = [float(x) for x in known if isinstance(x, int | float) and not isinstance(x, bool)]
    exempt = set(allowed)
    for line_number, line in _sentences(text):
        for match in _NUMBER.finditer(_ASIDE.sub(lambda m: " " * len(m[0]), line)):
            word, *powers = match.groups()
            exponent = int(next(filter(None, powers), "0").translate(_PLAIN))
            few = len(re.sub(r"\D", "", word).lstrip("0")) < _COUNTED_DIGITS
            if few or word in exempt:
                continue
            if any(_rounds_to(Decimal(x).scaleb(-exponent), word) for x in numbers):
                yield line_number, word


def _sentences(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of prose of a chapter, numbered: no header, no code cell, no options."""
    closing, header = "", text.startswith("---\n")
    for number, line in enumerate(text.splitlines(), start=1):
        if header:
            header = number == 1 or line.strip() != "---"
            continue
        fence = _FENCE.match(line)
        if closing:
            closing = "" if line.strip() == closing else closing
        elif fence and "{code-cell}" in line:
            closing = fence[1]
        elif not fence and not line.lstrip().startswith((":", "$$")):
            yield number, line


def _rounds_to(value: Decimal, word: str) -> bool:
    typed_number = word.translate(_PLAIN)
    digits = len(word.partition(".")[2])
    signed = typed_number.startswith("-")
    return f"{value if signed else abs(value):.{digits}f}" == typed_number
