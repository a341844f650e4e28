"""A chapter's parameters: what its ``parameters`` cell declares, and values made to fit it."""

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bookrun.errors import BookError

_NUMBER = re.compile(r"[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_INTEGER = re.compile(r"[+-]?(0|[1-9]\d*)")
_SCALARS: dict[str, type] = {"bool": bool, "int": int, "float": float, "str": str}


@dataclass(frozen=True)
class Parameter:
    """One declared parameter: its name, its default, and the type that a value must have."""

    name: str
    default: Any
    kind: type  # bool, int, float, str or list
    item: type | None = None  # what a list holds

    @property
    def described(self) -> str:
        """The type, in words."""
        if self.kind is list:
            return f"a list of {self.item.__name__}" if self.item else "a list"
        return f"a {self.kind.__name__}" if self.kind is not int else "an int"


def declared(source: str, chapter: str) -> dict[str, Parameter]:
    """Read the parameters from the source of a ``parameters`` cell.

    The cell holds nothing but assignments of literals, with annotations or without; an
    annotation ``float`` lets the default be written as ``1``. Raises ``BookError`` otherwise.
    """
    where = f"chapter {chapter}, parameters cell"
    try:
        body = ast.parse(source).body
    except SyntaxError as error:
        raise BookError(f"{where}, line {error.lineno}: {error.msg}") from None
    found: dict[str, Parameter] = {}
    for statement in body:
        target: ast.expr | None = None
        hint = ""
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target, value = statement.targets[0], statement.value
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            target, value = statement.target, statement.value
            hint = ast.unparse(statement.annotation)
        if not isinstance(target, ast.Name):
            raise BookError(
                f"{where}, line {statement.lineno}: only `name = literal` may stand there, "
                f"not `{ast.unparse(statement)}`"
            )
        try:
            default = ast.literal_eval(value)
        except ValueError:
            raise BookError(
                f"{where}, line {statement.lineno}: the default of {target.id} must be a literal, "
                f"not `{ast.unparse(value)}`"
            ) from None
        found[target.id] = _parameter(target.id, default, hint, where)
    return found


def _parameter(name: str, default: Any, hint: str, where: str) -> Parameter:
    if isinstance(default, list | tuple):
        kinds = {type(item) for item in default}
        item = float if kinds == {int, float} else kinds.pop() if len(kinds) == 1 else None
        return Parameter(name, list(default), list, item if item in _SCALARS.values() else None)
    kind = _SCALARS.get(hint, type(default))
    if kind not in _SCALARS.values():
        raise BookError(
            f"{where}: {name} = {default!r} must be a bool, int, float, str, or a list of them"
        )
    parameter = Parameter(name, default, kind)
    return Parameter(name, fitted(parameter, default, where), kind)


def fitted(parameter: Parameter, value: Any, where: str) -> Any:
    """``value`` as the parameter's type: an int does for a float, a bool never for a number.

    Text is taken for a number where a number is due and it reads as one: lists that come from
    the command line hold text.
    """
    if parameter.kind is list:
        if not isinstance(value, list | tuple):
            raise _misfit(parameter, value, where)
        if parameter.item is None:
            return list(value)
        item = Parameter(parameter.name, None, parameter.item)
        return [fitted(item, entry, where) for entry in value]
    if isinstance(value, str) and parameter.kind in (int, float):
        return parsed(parameter, value, where)
    if parameter.kind is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise _misfit(parameter, value, where) from None
    if type(value) is not parameter.kind:
        raise _misfit(parameter, value, where)
    return value


def parsed(parameter: Parameter, text: str, where: str) -> Any:
    """Return the value that ``text`` means for a parameter of this type; nothing is guessed."""
    if parameter.kind is str:
        return text
    if parameter.kind is bool and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if parameter.kind is int and _INTEGER.fullmatch(text):
        return int(text)
    if parameter.kind is float and _NUMBER.fullmatch(text):
        return float(text)
    if parameter.kind is list:
        inner = text.strip().removeprefix("[").removesuffix("]").strip()
        entries = [entry.strip().strip("'\"") for entry in inner.split(",")] if inner else []
        item = Parameter(parameter.name, None, parameter.item or str)
        return [parsed(item, entry, where) for entry in entries]
    raise _misfit(parameter, text, where)


def overrides(
    parameters: Mapping[str, Parameter], given: Mapping[str, Any], where: str
) -> dict[str, Any]:
    """Return the given values, checked by name and type against the declared parameters.

    Values given as text are parsed by the declared type. Raises ``BookError`` for a name that is
    not declared and for a value of the wrong type.
    """
    unknown = sorted(set(given) - set(parameters))
    if unknown:
        known = ", ".join(parameters) or "none"
        raise BookError(f"{where}: no parameter {', '.join(unknown)}; it has: {known}")
    result: dict[str, Any] = {}
    for name, value in given.items():
        make = parsed if isinstance(value, str) else fitted
        result[name] = make(parameters[name], value, where)
    return result


def assignments(words: list[str]) -> dict[str, str]:
    """Split ``name=value`` words as they come from the command line."""
    result: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name.isidentifier():
            raise BookError(f"a parameter is given as name=value, not as {word!r}")
        if name in result:
            raise BookError(f"parameter {name} is given twice")
        result[name] = value
    return result


def _misfit(parameter: Parameter, value: Any, where: str) -> BookError:
    kind = "" if isinstance(value, str) else f" ({type(value).__name__})"
    return BookError(f"{where}: {parameter.name}={value!r}{kind} is not {parameter.described}")
