"""Mutations: small changes of a claim's formula under which its evidence has to fail.

They are declared beside the evidence, on the test that makes it::

    @pytest.mark.claim("thm3", kind="corrected")
    @pytest.mark.mutation("exponent", "c2**-2", "c2**-3")
    @pytest.mark.mutation("constant", "share / 5", "share / 4", within="two_lines_rounds")
    def test_the_corrected_rate(): ...

The first word says what is changed (:data:`CHANGES`). ``within`` is where the text stands when not
in the test itself: a function or a constant of the test's file, a file of the repository, or
``FILE::NAME``. The text has to be there exactly once, so that the change is the one that is meant.
"""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bookrun.errors import BookError
from bookrun.project import Project

CHANGES = ("constant", "exponent", "sign", "inequality", "hypothesis", "formula")


@dataclass(frozen=True)
class Mutation:
    """One change: in which test it is declared, for which claims, and what becomes of the text."""

    claims: tuple[str, ...]
    test: str  # the node id, without parameters
    change: str
    text: str
    becomes: str
    within: str = ""

    @property
    def shown(self) -> str:
        """The change as a person reads it."""
        return f"{self.change}: {self.text!r} → {self.becomes!r} in {self.within or self.test}"


def declared(project: Project) -> list[Mutation]:
    """Return all mutations that the tests declare, in the order of files and lines.

    Raises ``BookError`` with a sentence for a declaration that is not one.
    """
    found: list[Mutation] = []
    for path in sorted((project.root / "tests").rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if "mark.mutation" in text:
            found += _in_file(path.relative_to(project.root).as_posix(), text)
    return found


def _in_file(name: str, text: str) -> Iterator[Mutation]:
    for node in ast.parse(text).body:
        if not isinstance(node, ast.FunctionDef):
            continue
        marks = [(_mark(item), item) for item in node.decorator_list if isinstance(item, ast.Call)]
        claims = tuple(
            str(ast.literal_eval(call.args[0])) for mark, call in marks if mark == "claim"
        )
        for mark, call in marks:
            if mark == "mutation":
                yield _mutation(f"{name}::{node.name}", claims, call)


def _mark(call: ast.Call) -> str:
    """``claim`` for a decorator ``pytest.mark.claim(…)``; empty for another one."""
    function = call.func
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Attribute):
        return function.attr if function.value.attr == "mark" else ""
    return ""


def _mutation(test: str, claims: tuple[str, ...], call: ast.Call) -> Mutation:
    try:
        words = [ast.literal_eval(argument) for argument in call.args]
        named = {str(key.arg): ast.literal_eval(key.value) for key in call.keywords}
    except ValueError:
        raise BookError(f"{test}: a mutation is declared by plain strings") from None
    if len(words) != 3 or set(named) - {"within"} or words[0] not in CHANGES:
        raise BookError(
            f"{test}: write mutation(CHANGE, TEXT, BECOMES, within=…) with one of "
            f"{', '.join(CHANGES)}"
        )
    if not claims:
        raise BookError(f"{test}: a mutation stands on a test of a claim")
    change, old, new = map(str, words)
    return Mutation(claims, test, change, old, new, str(named.get("within", "")))


def mutated(root: Path, mutation: Mutation) -> tuple[str, str]:
    """Return the file that the mutation changes, relative to ``root``, and its changed text.

    Raises ``BookError`` where the text is not there exactly once.
    """
    file, name = _place(mutation)
    path = root / file
    if not path.is_file():
        raise BookError(f"{mutation.test}: there is no {file} to mutate")
    whole = path.read_text(encoding="utf-8")
    begin, end = _region(whole, name) if name else (0, len(whole))
    count = whole.count(mutation.text, begin, end)
    if count != 1:
        raise BookError(
            f"{mutation.test}: {mutation.text!r} is {count} times in {name or file}, not once"
        )
    at = whole.index(mutation.text, begin, end)
    return file, whole[:at] + mutation.becomes + whole[at + len(mutation.text) :]


def _place(mutation: Mutation) -> tuple[str, str]:
    file, _, test = mutation.test.partition("::")
    if not mutation.within:
        return file, test
    if "/" not in mutation.within:
        return file, mutation.within
    other, _, name = mutation.within.partition("::")
    return other, name


def _region(whole: str, name: str) -> tuple[int, int]:
    """Return where a function, class or constant stands, without decorators; nowhere: 0, 0."""
    starts = [0]
    for line in whole.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for node in ast.parse(whole).body:
        if name in _names(node):
            return starts[node.lineno - 1], starts[node.end_lineno or node.lineno]
    return 0, 0


def _names(node: ast.stmt) -> Sequence[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return (node.name,)
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return (node.target.id,)
    return ()
