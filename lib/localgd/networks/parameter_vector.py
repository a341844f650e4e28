"""A module's parameters, and the buffers that it writes, as one vector, and back."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable

import torch
from torch import Tensor, nn


class Layout:
    """The places in x of a module's trainable parameters and written buffers.

    `written`: the names of the buffers that the forward pass writes.  The others are
    constants of the module, like its frozen parameters, and not in x.
    """

    def __init__(self, module: nn.Module, written: Collection[str]) -> None:
        self._parameters = {
            name: value for name, value in module.named_parameters() if value.requires_grad
        }
        self._buffers = {n: value for n, value in module.named_buffers() if n in written}
        if not self._parameters:
            raise ValueError(f"{type(module).__name__} has no trainable parameters")
        types = {value.dtype for value in self._parameters.values()}
        if len(types) > 1 or not types <= {torch.float32, torch.float64}:
            names = ", ".join(sorted(str(kind).removeprefix("torch.") for kind in types))
            raise ValueError(
                f"the parameters of {type(module).__name__} are of type {names}, expected all "
                "float32 or all float64"
            )
        self.dtype = next(iter(types))
        for name, parameter in self._parameters.items():
            if not bool(torch.isfinite(parameter).all()):
                raise ValueError(f"parameter {name} holds a NaN or an infinity")
        for name, value in self._buffers.items():
            if value.dtype == torch.bool:
                raise ValueError(
                    f"buffer {name} is written and holds truth values, whose mean over the nodes "
                    "is none: make it a number"
                )
            if value.dtype.is_floating_point and not bool(torch.isfinite(value).all()):
                raise ValueError(
                    f"buffer {name} is written and holds a NaN or an infinity, which no mean over "
                    "the nodes leaves: start it with a finite number"
                )
            whole = not value.dtype.is_floating_point and value.numel() > 0
            if whole and int(value.abs().max()) > 2 / torch.finfo(self.dtype).eps:
                raise ValueError(
                    f"buffer {name} holds {int(value.abs().max())}, more than {self.dtype} counts "
                    "exactly: buffers that are written travel with the parameters"
                )
        self.num_buffers = sum(value.numel() for value in self._buffers.values())
        self.size = sum(value.numel() for value in self._parameters.values()) + self.num_buffers

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of everything in x, by name."""
        both = {**self._parameters, **self._buffers}
        return {name: tuple(value.shape) for name, value in both.items()}

    @property
    def written(self) -> list[str]:
        """The names of the buffers in x."""
        return list(self._buffers)

    def difference(self, other: Layout) -> str:
        """Return the first parameter in which two layouts differ, in words."""
        ours, theirs = self.shapes, other.shapes
        name = next(n for n in [*ours, *theirs] if ours.get(n) != theirs.get(n))
        return f"{name} is {ours.get(name, 'absent')} against {theirs.get(name, 'absent')}"

    def parameters(self, x: Tensor) -> dict[str, Tensor]:
        """Return the parameters in x, (d,), as views of it."""
        return dict(zip(self._parameters, _views(x, self._parameters.values()), strict=True))

    def buffers(self, x: Tensor) -> dict[str, Tensor]:
        """Return the buffers in x, (b,), as copies in their own types, integers rounded."""
        copies = {}
        for (name, buffer), value in zip(
            self._buffers.items(), _views(x, self._buffers.values()), strict=True
        ):
            whole = value if buffer.dtype.is_floating_point else value.round()
            copies[name] = whole.to(buffer.dtype, copy=True)
        return copies

    def flatten(self, module: nn.Module) -> Tensor:
        """Return parameters, then written buffers, of a module as a vector."""
        named = dict(module.named_parameters()) | dict(module.named_buffers())
        parts = [named[name].detach().flatten().to(self.dtype) for name in self.shapes]
        return torch.cat(parts)

    def load(self, module: nn.Module, x: Tensor) -> None:
        """Put the values of x, (d,), into `module`."""
        split = self.size - self.num_buffers
        values = self.parameters(x[:split]) | self.buffers(x[split:])
        named = dict(module.named_parameters()) | dict(module.named_buffers())
        with torch.no_grad():
            for name, value in values.items():
                named[name].copy_(value)


def _views(x: Tensor, like: Iterable[Tensor]) -> list[Tensor]:
    shapes = [value.shape for value in like]
    parts = torch.split(x, [math.prod(shape) for shape in shapes])
    return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]
