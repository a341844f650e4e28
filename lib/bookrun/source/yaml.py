"""YAML as version 1.2 has it: ``1e-3`` is a number, ``no`` and ``010`` are words.

Only what JSON can say as well: a tag (``!!timestamp``) and an alias (``*name``) are refused, and so
is a key that is given twice. Every complaint is a :class:`BookError` with the file and the line.
"""

import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, MaxDepthExceededError
from ruamel.yaml.constructor import ConstructorError, SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.resolver import BaseResolver

from bookrun.errors import BookError

#: Nested deeper than this, a document is a slip or an attack.
_MOST_NESTED = 50
_PREFIX = "tag:yaml.org,2002:"


class _Resolver(BaseResolver):
    """The core schema of YAML 1.2, of its integers only the decimal ones without a leading zero."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012

    def __init__(self, version: Any = None, loader: Any = None) -> None:
        super().__init__(loader)

    @property
    def processing_version(self) -> tuple[int, int]:
        """The version of YAML, whatever the document says."""
        return (1, 2)


_WHOLE = "(0|[1-9][0-9]*)"
for _kind, _pattern, _first in (
    ("null", r"null|Null|NULL|~|", ["n", "N", "~", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", rf"[-+]?{_WHOLE}", list("-+0123456789")),
    ("float", rf"[-+]?(\.[0-9]+|{_WHOLE}(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", list("-+.")),
):  # fmt: skip
    _Resolver.add_implicit_resolver_base(_PREFIX + _kind, re.compile(rf"(?:{_pattern})\Z"), _first)


class _Composer(Composer):
    """Refuses aliases: a few lines of them can stand for more than the memory holds."""

    def return_alias(self, a: Any) -> Any:
        raise MarkedYAMLError(problem="an alias (*name) is not taken", problem_mark=a.start_mark)


class _Constructor(SafeConstructor):
    """Makes what JSON has, and names the value that it cannot make."""

    yaml_constructors = {  # noqa: RUF012
        **{
            _PREFIX + kind: SafeConstructor.yaml_constructors[_PREFIX + kind]
            for kind in ("null", "bool", "int", "float", "str", "seq", "map")
        },
        None: SafeConstructor.yaml_constructors[None],
    }

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """Make the value of a node, with a mark where that fails."""
        if str(node.tag) not in self.yaml_constructors:
            tag = str(node.tag).replace(_PREFIX, "!!")
            raise ConstructorError(
                problem=f"a tag is not taken: {tag}", problem_mark=node.start_mark
            )
        try:
            value = super().construct_object(node, deep)
            if isinstance(value, str):
                value.encode()  # a lone surrogate is no text
        except (ValueError, LookupError):
            kind = str(node.tag).removeprefix(_PREFIX)
            raise ConstructorError(
                problem=f"{str(node.value)[:40]!r} cannot be read as {kind}",
                problem_mark=node.start_mark,
            ) from None
        return value

    def check_mapping_key(
        self, node: Any, key_node: Any, mapping: Any, key: Any, value: Any
    ) -> bool:
        """Refuse a key that is no text, and one that the mapping has."""
        if not isinstance(key, str):
            raise ConstructorError(
                problem=f"the key {str(key)[:40]} is not text", problem_mark=key_node.start_mark
            )
        if key in mapping:
            raise ConstructorError(
                problem=f"{key} is given twice", problem_mark=key_node.start_mark
            )
        return True


def load(text: str, where: str, first_line: int = 1) -> Any:
    """Return the document in ``text``; its first line is the file's line ``first_line``.

    Raises ``BookError`` with ``where`` and the line.
    """
    reader = YAML(typ="safe", pure=True)
    reader.Resolver, reader.Composer, reader.Constructor = _Resolver, _Composer, _Constructor
    reader.max_depth = _MOST_NESTED
    try:
        return reader.load(text)
    except YAMLError as error:
        raise BookError(_worded(error, where, first_line)) from None


def read(path: Path, where: str) -> Any:
    """Return the document in a file. Raises ``BookError``, also where the file cannot be read."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise BookError(f"{where} does not exist") from None
    except UnicodeDecodeError as error:
        raise BookError(f"{where} is not UTF-8: {error.reason} at byte {error.start}") from None
    except OSError as error:
        raise BookError(f"{where} cannot be read: {error.strerror}") from None
    return load(text, where)


def _worded(error: YAMLError, where: str, first_line: int) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line = f", line {mark.line + first_line}" if mark else ""
    problem = getattr(error, "problem", None)
    if isinstance(error, MaxDepthExceededError):
        problem = f"nested more than {_MOST_NESTED} deep"
    context = getattr(error, "context", None)
    words = f"{context}, {problem}" if context and problem else problem or str(error)
    return f"{where}{line}: {' '.join(str(words).split())}"
