"""The nodes' samples: checked, and stacked in groups of one shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from localgd.problem import check_finite


class Samples(NamedTuple):
    """The samples of some nodes, as many for each."""

    nodes: Tensor  # (g,) their numbers
    inputs: Tensor  # (g, n, …)
    targets: Tensor  # (g, n, …)
    counts: Tensor  # (g,) int64, n_i; what comes after the first n_i samples is padding

    def weights(self, dtype: torch.dtype) -> Tensor:
        """1/n_i for the samples of node i and 0 for its padding, rounded once: (g, n)."""
        numbers = torch.arange(self.inputs.shape[1], device=self.counts.device)
        counts = self.counts[:, None]
        return torch.where(numbers < counts, 1.0 / counts.double(), 0.0).to(dtype)

    def to(self, device: torch.device, dtype: torch.dtype) -> Samples:
        """Return the same samples on `device`, real numbers in `dtype`."""
        return Samples(
            self.nodes.to(device),
            cast(self.inputs, dtype).to(device),
            cast(self.targets, dtype).to(device),
            self.counts.to(device),
        )


def pairs(inputs: Any, targets: Any) -> list[tuple[Tensor, Tensor]]:
    """Return each node's inputs and targets as tensors, or say what does not fit."""
    for name, given in (("inputs", inputs), ("targets", targets)):
        nested = isinstance(given, Tensor) and given.is_nested
        if isinstance(given, Mapping) or nested or not hasattr(given, "__len__"):
            raise ValueError(
                f"{name} is a {'nested tensor' if nested else type(given).__name__}, expected one "
                "array (n_i, …) for each node"
            )
    if len(inputs) == 0 or len(inputs) != len(targets):
        raise ValueError(
            f"inputs holds {len(inputs)} nodes and targets {len(targets)}: expected as many, one "
            "at least"
        )
    nodes: list[tuple[Tensor, Tensor]] = []
    for number, pair in enumerate(zip(inputs, targets, strict=True)):
        tensors = []
        for name, value in zip(("inputs", "targets"), pair, strict=True):
            tensor = _tensor(value, name, number)
            if tensor.ndim == 0:
                raise ValueError(
                    f"{name} of node {number} is a single number: the first axis counts the nodes "
                    f"and the second the samples; for one node give {name}[None]"
                )
            if len(tensor) == 0:
                raise ValueError(f"node {number} is empty: {name} has shape {tuple(tensor.shape)}")
            tensor = tensor.detach().cpu()
            if tensor.dtype in (torch.bfloat16, torch.float16):
                tensor = tensor.float()  # exact, and NumPy knows it
            if name == "targets" and not (tensor.is_floating_point() or tensor.is_complex()):
                tensor = tensor if tensor.dtype == torch.bool else tensor.long()
            if tensor.is_floating_point():
                check_finite(tensor.numpy(), name, number)
            tensors.append(tensor)
        if len(tensors[0]) != len(tensors[1]):
            raise ValueError(
                f"node {number} has {len(tensors[0])} inputs and {len(tensors[1])} targets"
            )
        for name, tensor, first in zip(
            ("inputs", "targets"), tensors, nodes[0] if nodes else tensors, strict=True
        ):
            if tensor.shape[1:] != first.shape[1:]:
                raise ValueError(
                    f"{name} of node {number} has samples of shape {tuple(tensor.shape[1:])}, of "
                    f"node 0 {tuple(first.shape[1:])}"
                )
        nodes.append((tensors[0], tensors[1]))
    return nodes


def _tensor(value: Any, name: str, number: int) -> Tensor:
    """Return one node's samples as one tensor, or say what they are instead."""
    if isinstance(value, Tensor):
        if value.layout != torch.strided:
            raise ValueError(f"{name} of node {number} is sparse: give it dense (.to_dense())")
        return value
    several = isinstance(value, tuple | list)
    if isinstance(value, Mapping) or (several and any(isinstance(e, Mapping) for e in value)):
        raise ValueError(
            f"{name} of node {number} holds a dict: a module of several inputs takes them joined "
            "in one tensor, and takes it apart in forward"
        )
    if several and any(isinstance(each, Tensor) for each in value):
        if (
            isinstance(value, list)
            and len({each.shape for each in map(torch.as_tensor, value)}) == 1
        ):
            return torch.stack([torch.as_tensor(each) for each in value])
        raise ValueError(
            f"{name} of node {number} is a {type(value).__name__} of tensors: a module of several "
            "inputs takes them joined in one tensor, and takes it apart in forward"
        )
    if np.ma.is_masked(value):
        raise ValueError(f"{name} of node {number} has masked entries: fill them in")
    array = np.asarray(value)
    if array.dtype.kind not in "biufc":
        raise ValueError(f"{name} of node {number} holds {array.dtype}, expected numbers")
    if array.dtype == np.longdouble:
        array = array.astype(float)
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    return torch.as_tensor(np.ascontiguousarray(native))


def stacked(nodes: Sequence[tuple[Tensor, Tensor]], *, padded: bool) -> list[Samples]:
    """Return the nodes' samples in one group, the short ones `padded`, or in one for each n_i."""
    counts = [len(target) for _, target in nodes]
    everyone = range(len(nodes))
    if padded:
        return [_group(nodes, list(everyone), max(counts))]
    members = {n: [i for i in everyone if counts[i] == n] for n in sorted(set(counts))}
    return [_group(nodes, numbers, n) for n, numbers in members.items()]


def pad(samples: Tensor, length: int) -> Tensor:
    """Repeat the first sample until there are `length`."""
    missing = length - len(samples)
    if not missing:
        return samples
    return torch.cat([samples, samples[:1].expand(missing, *samples.shape[1:])])


def _group(nodes: Sequence[tuple[Tensor, Tensor]], numbers: list[int], length: int) -> Samples:
    return Samples(
        torch.tensor(numbers),
        torch.stack([pad(nodes[number][0], length) for number in numbers]),
        torch.stack([pad(nodes[number][1], length) for number in numbers]),
        torch.tensor([len(nodes[number][1]) for number in numbers]),
    )


def cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a floating-point tensor in `dtype`, and any other as it is."""
    return tensor.to(dtype) if tensor.is_floating_point() else tensor
