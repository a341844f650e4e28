"""Numbers in sentences: found by key and by name, and what is typed is noticed."""

import json
from pathlib import Path

import pytest

from bookrun.ledger.values import typed, values

RECORDS = [
    {"check": {"name": "the lead", "key": "lead", "value": 1.5, "low": 1, "outcome": "passed"}},
    {"number": {"name": "rounds", "value": 120}},
]


def test_values_are_found_by_key_and_by_name(tmp_path: Path) -> None:
    outputs = [{"metadata": {"bookrun": record}} for record in RECORDS]
    path = tmp_path / "deep.ipynb"
    path.write_text(json.dumps({"cells": [{"outputs": outputs}]}))
    found = values({"deep": path, "gone": tmp_path / "gone.ipynb"})
    assert set(found) == {"deep"}
    assert found["deep"]["lead"] == found["deep"]["the lead"]
    assert found["deep"]["lead"]["low"] == 1
    assert found["deep"]["rounds"]["value"] == 120


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("The lead is 1.235 or 1.24.", ["1.235", "1.24"]),
        ("After 1,250 rounds, at 12.5%.", ["1,250"]),
        ("The lead is 1.23.", []),  # no rounding of it
        ("At -1.235 it is less.", []),  # another number
        ("At −2.34 it is more, at 2.34 its size; so it is at $-2.34$.", ["−2.34", "2.34", "-2.34"]),
        ("A gap of 4.56·10⁻⁷, $4.56\\cdot10^{-7}$.", ["4.56", "4.56"]),
        ("A gap of 4.56, or 4.56·10⁻⁶, $4.56\\cdot10^{-400}$, $4.56\\cdot10^{400}$.", []),
        ("It is 12, or 1.2.", []),  # short numbers are everywhere
        ("It is {value}`deep:1.235`, `1.235`, [1.235](page.md).", []),
        (":alt: 1.235", []),
        ("With $x^{1.235}$.", []),
    ],
)
def test_what_is_typed_and_computed_is_found(line: str, words: list[str]) -> None:
    text = f"---\nx: 1.235\n---\n\n{line}\n\n```{{code-cell}} ipython3\ny = 1.235\n```\n"
    found = list(typed(text, [1.23511, 1250, -2.341, 4.561e-7, True, "inf"]))
    assert found == [(5, word) for word in words]
    assert list(typed(text, [1.23511, 1250, -2.341, 4.561e-7], allowed=words)) == []
