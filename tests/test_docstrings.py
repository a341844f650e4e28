"""Docstrings of both packages open with a verb, an equation or, where they name a thing, a noun."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

LIB = Path(__file__).resolve().parents[1] / "lib"

#: Begin a clause without a verb of its own.
CLAUSE = {"What", "Whether", "How", "Where", "Why", "When", "Which", "Who"}
#: Begin a noun phrase: right for a module, a class or a property, which is a thing.
NOUN = {"The", "A", "An", "All", "Every", "Everything", "Each", "Several", "One", "This"}


def offending(tree: ast.Module) -> Iterator[str]:
    """The first lines that open otherwise."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        text = ast.get_docstring(node)
        opening = text.split()[0].strip("`,.:;") if text else ""
        marks = [ast.unparse(each) for each in getattr(node, "decorator_list", [])]
        thing = not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or any(
            mark.endswith("property") for mark in marks
        )
        if opening in CLAUSE or (opening in NOUN and not thing):
            yield f"{getattr(node, 'name', 'module')}: {text.splitlines()[0]}"


def test_docstrings_open_with_a_verb_an_equation_or_a_thing() -> None:
    found = [
        f"{path.relative_to(LIB)}: {line}"
        for path in sorted(LIB.rglob("*.py"))
        for line in offending(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert found == []


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ('def f():\n    """Whether it holds."""', 1),
        ('def f():\n    """The sum."""', 1),
        ('def f():\n    """Return the sum."""', 0),
        ('def f():\n    """f(x) = x, and no more."""', 0),
        ("class A:\n    @property\n    def f(self):\n        '''The sum.'''", 0),
        ('class A:\n    """What there is."""', 1),
        ('class A:\n    """A sum."""', 0),
        ('"""How it is done."""', 1),
    ],
)
def test_what_counts_as_an_opening(code: str, found: int) -> None:
    assert len(list(offending(ast.parse(code)))) == found
