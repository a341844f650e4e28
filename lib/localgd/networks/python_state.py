"""Restore what a module and a loss keep in Python after a call, and compare it between calls.

A recorded evaluation repeats the tensor operations of one call.  What a call leaves in an
attribute, a closure or a global is not repeated, so it must not matter to the next one.
"""

from __future__ import annotations

import functools
from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from torch import Tensor, nn

from localgd.fingerprint import digest

#: Entries of a module's `__dict__` that are PyTorch's own.
_OWN = frozenset(vars(nn.Module()))
_DICTIONARIES = (dict, OrderedDict, defaultdict)
#: Not looked into for what a call has left: modules are, part by part.
_CLOSED = (nn.Module, Tensor, type, FunctionType, MethodType, ModuleType)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks")


@contextmanager
def restored(*modules: Any) -> Iterator[None]:
    """Put what every part of `modules` holds back on leaving: attributes and what is in them.

    A functional call leaves its own tensors in what a module writes, and in a part that stands
    under two names.
    """
    lists, dictionaries = [], []
    for module in modules:
        for held in containers(module) if isinstance(module, nn.Module) else ():
            if isinstance(held, list):
                lists.append((held, list(held)))
            elif isinstance(held, dict):
                dictionaries.append((held, dict(held)))
    try:
        yield
    finally:
        for values, listed in lists:
            values[:] = listed
        for held, kept in dictionaries:
            for name in [name for name in held if name not in kept]:
                del held[name]
            for name, value in kept.items():
                if held.get(name) is not value:
                    held[name] = value


def python_state(module: nn.Module, loss: Any) -> dict[str, str]:
    """Return what a call of `module` and `loss` may have changed, by name, to be compared.

    Attributes of the parts and of their classes, and what their code reads from closures,
    globals and default arguments, each as a digest.
    """
    state: dict[str, str] = {}
    for name, part in module.named_modules():
        where = f"{type(module).__name__}{'.' if name else ''}{name}"
        _add_object(state, where, part)
        for table in _HOOKS:
            for hook in getattr(part, table, {}).values():
                _add_callable(state, f"a hook of {where}", hook)
    if isinstance(loss, nn.Module):
        _add_object(state, "the loss", loss)
    else:
        _add_callable(state, "the loss", loss)
    return state


def containers(module: nn.Module) -> Iterator[dict[Any, Any] | list[Any] | tuple[Any, ...]]:
    """Yield the dictionaries, lists and tuples that the parts of `module` hold, each once.

    Those of attributes are among them, and of objects that attributes hold.
    """
    seen: set[int] = set()
    left: list[Any] = [vars(part) for part in module.modules()]
    while left:
        value = left.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if type(value) in _DICTIONARIES:
            yield value
            left += value.values()
        elif type(value) is list or isinstance(value, tuple):
            yield value
            left += value
        elif hasattr(value, "__dict__") and not isinstance(value, _CLOSED):
            left.append(vars(value))


def _add_object(state: dict[str, str], where: str, part: Any) -> None:
    """Add the attributes of an object and its class, and what its `forward` reads elsewhere."""
    for name, value in vars(part).items():
        if name not in _OWN:
            state[f"attribute {name} of {where}"] = _digest(value)
    for kind in type(part).__mro__:
        if kind.__module__.partition(".")[0] in ("torch", "builtins"):
            break
        for name, value in vars(kind).items():
            if isinstance(value, FunctionType):
                _add_code(state, where, value)
            elif not name.startswith("__"):
                state[f"attribute {name} of class {kind.__name__}"] = _digest(value)


def _add_callable(state: dict[str, str], where: str, function: Any) -> None:
    """Add what a function reads, or an object that can be called."""
    if isinstance(function, functools.partial):
        state[f"the arguments of {where}"] = _digest([function.args, function.keywords])
        _add_callable(state, where, function.func)
    elif isinstance(function, MethodType):
        _add_callable(state, where, function.__func__)
        _add_object(state, where, function.__self__)
    elif isinstance(function, FunctionType):
        _add_code(state, where, function)
    elif hasattr(function, "__dict__") and not isinstance(function, type):
        _add_object(state, where, function)


def _add_code(state: dict[str, str], where: str, function: FunctionType) -> None:
    if function.__module__ and function.__module__.partition(".")[0] == "torch":
        return
    for name in _names(function.__code__):
        value = function.__globals__.get(name)
        if value is not None and not callable(value) and not isinstance(value, ModuleType):
            state[f"{name}, which {where} reads,"] = _digest(value)
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            state[f"{name}, which {where} reads,"] = _digest(cell.cell_contents)
        except ValueError:  # not assigned yet
            continue
    state[f"a default argument of {function.__qualname__}"] = _digest(
        [function.__defaults__, vars(function)]
    )


def _names(code: CodeType) -> set[str]:
    inner = [_names(each) for each in code.co_consts if isinstance(each, CodeType)]
    return set(code.co_names).union(*inner)


def _digest(value: Any) -> str:
    """Return a digest of `value`, its type where it lets nobody look."""
    try:
        return digest(value)
    except Exception:
        return type(value).__name__
