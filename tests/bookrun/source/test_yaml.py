"""YAML 1.2 as people write it, and what is said of a document that is none."""

import re
from pathlib import Path
from typing import Any

import pytest

from bookrun.errors import BookError
from bookrun.source import yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("1E5", 1e5),
        ("-.5", -0.5),
        ("10", 10),
        ("010", "010"),
        ("0x10", "0x10"),
        ("1:30", "1:30"),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("~", None),
        (".inf", float("inf")),
        ("1_000", "1_000"),
        ("2026-01-01", "2026-01-01"),
        ('"1e-3"', "1e-3"),
        ("99999999999999999999999", 99999999999999999999999),
    ],
)
def test_a_scalar_is_what_it_looks_like(text: str, value: Any) -> None:
    found = yaml.load(f"x: {text}", "f.yaml")["x"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x: 1\ny: 2\nx: 3", "line 3: x is given twice"),
        ("a:\n  b: 1\n  c: {d: 1, d: 2}", "line 3: d is given twice"),
        ("x: [1", "line 1: while parsing a flow sequence"),
        ("a: b: c", "line 1: mapping values are not allowed here"),
        ("a: 1\nx: !!int abc", "line 2: 'abc' cannot be read as int"),
        ("x: !!bool maybe", "line 1: 'maybe' cannot be read as bool"),
        ("x: !!timestamp 2020-99-99", "line 1: a tag is not taken: !!timestamp"),
        (
            "x: !!python/object:os.system ls",
            "line 1: a tag is not taken: !!python/object:os.system",
        ),
        ("x: !mine 3", "line 1: a tag is not taken: !mine"),
        ('x: "\\ud800"', "cannot be read as str"),
        ("x: " + "9" * 5000, f"line 1: '{'9' * 40}' cannot be read as int"),
        ("[" * 5000 + "]" * 5000, "line 1: nested more than 50 deep"),
        ("- " * 5000, "line 1: nested more than 50 deep"),
        ("a: &a [1]\nb: *a", "an alias (*name) is not taken"),
        ("&a [*a]", "an alias (*name) is not taken"),
        ("1: 2", "line 1: the key 1 is not text"),
        ("{[1]: 2}", "line 1: the key (1,) is not text"),
        ("--- 1\n--- 2", "line 2: expected a single document"),
        ("x: \x01", "unacceptable character"),
    ],
)
def test_what_is_no_document_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(BookError, match=rf"^f\.yaml.*{re.escape(message)}"):
        yaml.load(text, "f.yaml")


def test_ten_lines_of_aliases_do_not_fill_the_memory() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    with pytest.raises(BookError, match="alias"):
        yaml.load("\n".join(lines), "f.yaml")


def test_lines_are_counted_in_the_file_that_the_text_is_from() -> None:
    with pytest.raises(BookError, match="line 12: x is given twice"):
        yaml.load("x: 1\nx: 2", "f.yaml", first_line=11)


def test_a_file_is_read_with_its_byte_order_mark_and_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(b"\xef\xbb\xbfx: 1")
    assert yaml.read(path, "f.yaml") == {"x": 1}
    path.write_bytes(b"x: caf\xe9")
    with pytest.raises(BookError, match=r"f\.yaml is not UTF-8: .* at byte 6"):
        yaml.read(path, "f.yaml")
    with pytest.raises(BookError, match=r"f\.yaml cannot be read: Is a directory"):
        yaml.read(tmp_path, "f.yaml")
    with pytest.raises(BookError, match=r"f\.yaml does not exist"):
        yaml.read(tmp_path / "g.yaml", "f.yaml")
