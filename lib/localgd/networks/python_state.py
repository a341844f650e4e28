"""Restore what a module and a loss keep in Python after a call, and compare it between calls.

A recorded evaluation repeats the tensor operations of one call.  What a call leaves in an
attribute, a closure or a global is not repeated, so it must not matter to the next one.
"""

from __future__ import annotations

import dis
import functools
import sys
import sysconfig
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
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
    globals and default arguments, each as a digest; of functions and classes that it names as
    well, where they are the user's own.  The buffers of a loss are among it: no x holds them.
    """
    found = _State()
    found.add_module(type(module).__name__, module)
    if isinstance(loss, nn.Module):
        found.add_module("the loss", loss)
        for name, buffer in loss.named_buffers():
            found.add(f"buffer {name} of the loss", buffer)
    else:
        found.add_callable("the loss", loss)
    return found.digests


def reads(function: Any) -> Iterator[tuple[str, Any, set[str]]]:
    """Yield what a function reads from closures and globals: name, value, all names in its code.

    Of a `nn.Module` these are its attributes and what its forward reads.
    """
    function = _function_of(function)
    if isinstance(function, functools.partial):
        yield from reads(function.func)
        given = [*enumerate(function.args), *function.keywords.items()]
        yield from ((str(name), value, set()) for name, value in given)
    elif isinstance(function, nn.Module):
        for part in function.modules():
            yield from ((name, value, set()) for name, value in vars(part).items())
            yield from ((name, value, set()) for name, value in part.named_children())
            yield from reads(type(part).forward)
    elif isinstance(function, FunctionType):
        names = _names(function.__code__)
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        for name, cell in cells:
            try:
                yield name, cell.cell_contents, names
            except ValueError:  # not assigned yet
                continue
        for name in _globals(function.__code__) & function.__globals__.keys():
            yield name, function.__globals__[name], names


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


class _State:
    """Collects what some code can reach and change, each by name, as a digest."""

    def __init__(self) -> None:
        self.digests: dict[str, str] = {}
        self._seen: set[int] = set()

    def add(self, what: str, value: Any) -> None:
        """Add one value, its type where it lets nobody look."""
        try:
            self.digests[what] = digest(value)
        except Exception:
            self.digests[what] = type(value).__name__

    def add_module(self, name: str, module: nn.Module) -> None:
        """Add all parts of a module, and their hooks."""
        for path, part in module.named_modules():
            where = f"{name}.{path}" if path else name
            self.add_object(where, part)
            for table in _HOOKS:
                for hook in getattr(part, table, {}).values():
                    self.add_callable(f"a hook of {where}", hook)

    def add_object(self, where: str, part: Any) -> None:
        """Add the attributes of an object and its class, and what its methods read elsewhere."""
        for name, value in vars(part).items():
            if name not in _OWN:
                self.add(f"attribute {name} of {where}", value)
                self._add_reached(where, value)
        self._add_class(where, type(part))

    def add_callable(self, where: str, function: Any) -> None:
        """Add what a function reads, or an object that can be called."""
        if isinstance(function, functools.partial):
            self.add(f"the arguments of {where}", [function.args, function.keywords])
            self.add_callable(where, function.func)
        elif isinstance(function, MethodType):
            self.add_callable(where, function.__func__)
            self.add_object(where, function.__self__)
        elif isinstance(function, FunctionType):
            self._add_code(where, function)
        elif hasattr(function, "__dict__") and not isinstance(function, type):
            self.add_object(where, function)

    def _add_class(self, where: str, kind: type) -> None:
        for each in kind.__mro__:
            if each.__module__.partition(".")[0] in ("torch", "builtins"):
                break
            if id(each) in self._seen:
                continue
            self._seen.add(id(each))
            for name, value in vars(each).items():
                method = _function_of(value)
                if isinstance(method, FunctionType):
                    self._add_code(where, method)
                elif not name.startswith("__"):
                    self.add(f"attribute {name} of class {each.__name__}", value)

    def _add_code(self, where: str, function: FunctionType) -> None:
        if function.__module__ and function.__module__.partition(".")[0] == "torch":
            return
        if id(function) in self._seen:
            return
        self._seen.add(id(function))
        names = _names(function.__code__)
        for name in names:
            value = function.__globals__.get(name, sys.modules.get(name))
            if isinstance(value, ModuleType):
                self._add_module_read(name, where, value, names)
            elif value is not None:
                self._add_read(name, where, value)
        closure = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        for name, cell in closure:
            try:
                self._add_read(name, where, cell.cell_contents)
            except ValueError:  # not assigned yet
                continue
        self.add(
            f"a default argument or attribute of {function.__qualname__}",
            [function.__defaults__, vars(function)],
        )

    def _add_module_read(self, name: str, where: str, module: ModuleType, names: set[str]) -> None:
        """Add what code with these names may read of a Python module: of an installed one, values.

        Modules inside a module are followed, so far as they are the user's own.
        """
        installed = _is_installed(module.__name__)
        for inner in names & vars(module).keys():
            value = vars(module)[inner]
            if isinstance(value, ModuleType):
                if not _is_installed(value.__name__) and value is not module:
                    self._add_module_read(f"{name}.{inner}", where, value, names - {inner})
            elif not (installed and callable(value)):
                self._add_read(f"{name}.{inner}", where, value)

    def _add_read(self, name: str, where: str, value: Any) -> None:
        if isinstance(value, ContextVar):
            value = value.get(None)
        if not isinstance(value, ModuleType | FunctionType | type):
            self.add(f"{name}, which {where} reads,", value)
        self._add_reached(where, value)

    def _add_reached(self, where: str, value: Any) -> None:
        """Add what a function, a class or an object that some code names reads itself."""
        for each in _inside(value):
            self._add_reached(where, each)
        value = _function_of(value)
        kind = value if isinstance(value, FunctionType | type) else type(value)
        if _is_installed(kind.__module__ or ""):
            return
        if isinstance(kind, FunctionType):
            self._add_code(f"{kind.__name__}, which {where} calls,", kind)
        elif not isinstance(value, nn.Module):
            self._add_class(where, kind)


def _inside(value: Any) -> Iterable[Any]:
    """Return the functions and objects in a container, or in a partial function."""
    if isinstance(value, functools.partial):
        return (value.func, *value.args, *value.keywords.values())
    entries = value.values() if isinstance(value, dict) else value
    if not isinstance(value, dict | list | tuple | set | frozenset):
        return ()
    return [each for each in entries if callable(each) and not isinstance(each, nn.Module)]


def _function_of(value: Any) -> Any:
    """Return the function inside a property, a static or class method, a cache or a wrapper."""
    if isinstance(value, property):
        value = value.fget
    value = getattr(value, "__func__", value)
    return getattr(value, "__wrapped__", value)


@functools.cache
def _is_installed(name: str) -> bool:
    """Return whether a module is Python's own or an installed package's: it keeps its state."""
    if name == "__main__":
        return False
    file = getattr(sys.modules.get(name), "__file__", None)
    if file is None:
        return name in sys.builtin_module_names
    installed = (
        sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")
    )
    return any(Path(file).is_relative_to(each) for each in installed)


def _globals(code: CodeType) -> set[str]:
    """Return the names that code looks up as global ones, not as attributes."""
    inner = [_globals(each) for each in code.co_consts if isinstance(each, CodeType)]
    loads = (each.argval for each in dis.get_instructions(code) if each.opname == "LOAD_GLOBAL")
    return set(loads).union(*inner)


def _names(code: CodeType) -> set[str]:
    inner = [_names(each) for each in code.co_consts if isinstance(each, CodeType)]
    return set(code.co_names).union(*inner)
