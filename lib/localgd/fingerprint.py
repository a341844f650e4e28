"""Values in words that are the same in every process: no memory addresses, arrays by digest."""

from __future__ import annotations

import functools
import hashlib
import inspect
import types
import warnings
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def describe(value: Any) -> str:
    """Return `value` in words: numbers and texts as they are, functions by name, objects by state.

    Arrays and tensors are given by type, shape and SHA-256; a function's code is not looked at.
    """
    return _Words(code=False).of(value)


def digest(value: Any) -> str:
    """Return 16 hexadecimal digits that change with `value`, its functions' code included."""
    return short_sha(_Words(code=True).of(value).encode())


def own_code(value: Any) -> str:
    """Return digits that change with the methods of an object's class; "" for a library's class.

    With a method go the functions, numbers, texts and arrays that it encloses or that it names as
    global ones.  A class of this library, or of PyTorch, is told by its version.
    """
    told = ("builtins", "abc", "typing", "torch", "localgd")
    classes = [
        each for each in type(value).__mro__ if each.__module__.partition(".")[0] not in told
    ]
    if not classes:
        return ""
    words = _Words(code=True, reads=True)
    return " " + short_sha(" ".join(words.of_class(each) for each in classes).encode())


def short_sha(content: bytes) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of `content`."""
    return hashlib.sha256(content).hexdigest()[:16]


def tensor_bytes(tensor: Tensor) -> bytes:
    """Return the bytes of a tensor's entries, in order."""
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def plain(value: Any) -> Any:
    """Return `value` as JSON can hold it: numbers as Python's, the rest in words."""
    if isinstance(value, str | bool | int | float | type(None)):
        return value
    if isinstance(value, np.generic) or (isinstance(value, Tensor) and value.ndim == 0):
        return plain(value.item())
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return describe(value)


_PLAIN = (
    *(str, bytes, bool, int, float, complex, type(None), np.generic, np.ndarray, Tensor),
    *(tuple, types.FunctionType),
)


class _Words:
    """Describes values, those that hold each other once.

    `code`: functions by their code; `reads`: and by the globals that they name.
    """

    def __init__(self, *, code: bool, reads: bool = False) -> None:
        self._code, self._reads = code, reads
        self._seen: set[int] = set()

    def of(self, value: Any) -> str:
        if isinstance(value, str | bytes | bool | int | float | complex | type(None) | PurePath):
            return repr(value)
        if isinstance(value, np.generic):
            return repr(value.item())
        if isinstance(value, Tensor):
            kind = str(value.dtype).removeprefix("torch.")
            return f"{kind}{tuple(value.shape)}#{short_sha(tensor_bytes(value))}"
        if isinstance(value, np.ndarray) and value.dtype != object:
            return f"{value.dtype}{value.shape}#{short_sha(np.ascontiguousarray(value).tobytes())}"
        if isinstance(value, torch.dtype | torch.device):
            return str(value)
        if isinstance(value, type):
            return f"{value.__module__}.{value.__qualname__}"
        if id(value) in self._seen:
            return "…"
        self._seen.add(id(value))
        try:
            return self._of_compound(value)
        finally:
            self._seen.discard(id(value))

    def of_class(self, kind: type) -> str:
        """Return a class by its attributes, methods by their code."""
        inside = {
            name: _unwrapped(each)
            for name, each in vars(kind).items()
            if isinstance(_unwrapped(each), _PLAIN) and name not in _UNTOLD
        }
        return f"{kind.__qualname__} {self.of(inside)}"

    def _of_compound(self, value: Any) -> str:
        if isinstance(value, Mapping):
            items = (f"{self.of(key)}: {self.of(each)}" for key, each in value.items())
            return "{" + ", ".join(items) + "}"
        if isinstance(value, set | frozenset):
            return "{" + ", ".join(sorted(self.of(each) for each in value)) + "}"
        if isinstance(value, list | tuple | np.ndarray):
            return "[" + ", ".join(self.of(each) for each in value) + "]"
        if isinstance(value, functools.partial):
            words = [self.of(value.func), *(self.of(each) for each in value.args)]
            words += [f"{name}={self.of(each)}" for name, each in value.keywords.items()]
            return f"partial({', '.join(words)})"
        if isinstance(value, types.CodeType):
            code = f"{value.co_code!r} {value.co_names} {self.of(value.co_consts)}"
            return short_sha(code.encode())
        if isinstance(value, types.MethodType):
            return f"{self.of(value.__self__)}.{value.__func__.__name__}"
        if isinstance(value, types.FunctionType):
            return self._of_function(value)
        if isinstance(value, types.GeneratorType):
            frame = value.gi_frame
            reached = () if frame is None else (frame.f_lasti, frame.f_locals)
            return f"generator {self.of(value.gi_code)} {self.of(reached)}"
        if isinstance(value, nn.Module):
            return self._of_module(value)
        if isinstance(value, types.BuiltinFunctionType | types.ModuleType):
            return value.__name__
        if isinstance(value, torch.Generator):
            return f"Generator {self.of(value.get_state())}"
        if self._code:
            return self._of_reduced(value)
        state = getattr(value, "__dict__", {})
        inside = ", ".join(f"{name}={self.of(each)}" for name, each in state.items())
        return f"{type(value).__qualname__}({inside})"

    def _of_reduced(self, value: Any) -> str:
        """Return all that a pickle would keep of an object, slots and hidden states included."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that iterators will not be pickled for ever
            try:
                parts = value.__reduce_ex__(2)
            except TypeError:
                parts = ("", (), getattr(value, "__dict__", {}))
        if isinstance(parts, str):
            return parts
        kept = [
            each if number < 3 or each is None else list(each) for number, each in enumerate(parts)
        ]
        return f"{type(value).__qualname__}({self.of(kept)})"

    def _of_function(self, function: types.FunctionType) -> str:
        if not self._code:
            return function.__name__
        read = inspect.getclosurevars(function)
        inside = dict(read.nonlocals)
        if self._reads:  # lists and dictionaries may be where it keeps a diary
            named = inside | dict(read.globals)
            inside = {name: each for name, each in named.items() if isinstance(each, _PLAIN)}
        holds = (function.__defaults__, function.__kwdefaults__, inside)
        return f"{function.__qualname__}#{self.of(function.__code__)} {self.of(holds)}"

    def _of_module(self, module: nn.Module) -> str:
        words = " ".join(repr(module).split())
        if not self._code:
            return words
        flags = [each.training for each in module.modules()]
        state = {name: self.of(value) for name, value in module.state_dict().items()}
        return f"{words} {flags} {state}"


#: What differs between two definitions of one class.
_UNTOLD = {"__module__", "__doc__", "__firstlineno__", "__static_attributes__"}


def _unwrapped(attribute: Any) -> Any:
    """Return the function inside a property, a static or a class method."""
    if isinstance(attribute, property):
        return attribute.fget
    return getattr(attribute, "__func__", attribute)
