"""Any `torch.nn.Module` on m nodes: one forward and one backward over stacked parameters."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from localgd.layout import Layout
from localgd.problem import Chunk, Problem, check_finite

Loss = Callable[[Tensor, Tensor], Tensor]


class _Group(NamedTuple):
    """Nodes whose data have one shape."""

    nodes: Tensor  # (g,)
    inputs: Tensor  # (g, n, …)
    targets: Tensor  # (g, n, …)
    weights: Tensor  # (g, n): 1/n_i, and 0 for padding


class NetworkProblem(Problem):
    """f_i(x) = (1/n_i) Σ_j loss(module_x(u_ij), v_ij) over the n_i samples (u_ij, v_ij) of node i.

    `module`: any `torch.nn.Module` with floating-point parameters; it is copied, and x holds
    its trainable parameters in the order of `module.parameters()`, flattened, then its
    buffers.  In training mode BatchNorm normalises over the node's whole data, f_i stays a
    function of x alone, and the running statistics of every node are averaged with its
    parameters (counters to the nearest integer).
    `inputs`, `targets`: tensors or arrays of shape (m, n, …), or one (n_i, …) per node, n_i
    as it comes.  Nodes of different size are padded with samples of weight zero, or, where
    the module mixes the samples of a batch (BatchNorm in training mode), not padded at all
    and run in groups of the same size: either way as if each ran alone.
    `loss`: (outputs, targets) ↦ one value per sample, shape (n,), such as
    `torch.nn.CrossEntropyLoss(reduction="none")`.
    `data`: where the samples are from (`localgd.datasets.Source`), for a run's record.

    The start is what the module's parameters are when it is handed over; `flatten` turns
    another module of the same kind into an x_0, `unflatten` turns an x into a module.

    `run` needs to batch the module: forward and loss must be tensor operations that neither
    look at values (`.item()`, `if x.sum() > 0`) nor draw random numbers (dropout in training
    mode), nor write into the input; otherwise it raises `ValueError` and says which.
    It does not notice what leaves no trace among tensor operations: state kept in Python,
    numbers drawn by NumPy or `random`, buffers assigned anew instead of written in place.
    Whether samples mix is tried on the module's outputs at its start, so a loss that mixes
    samples, or a module that does so only later, needs nodes of one size.  Buffers are
    carried as real numbers of the parameters' type.
    Raises `ValueError` for data that do not fit together, NaN or infinite entries, a module
    without trainable parameters, and a loss of another shape.
    """

    prefers_gpu = True

    def __init__(
        self,
        module: nn.Module,
        inputs: Tensor | Sequence[Any],
        targets: Tensor | Sequence[Any],
        loss: Loss,
        *,
        data: Any = None,
    ) -> None:
        self.module, self.loss, self.data = copy.deepcopy(module), loss, data
        self._layout = Layout(self.module)
        self.dtype = self._layout.dtype
        self.dim, self.num_buffers = self._layout.size, self._layout.num_buffers
        nodes = _pairs(inputs, targets, self.dtype)
        self.num_nodes = len(nodes)
        self.samples = [len(target) for _, target in nodes]
        self._check_loss(*nodes[0])
        self._groups = self._grouped(nodes)

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return f_i(x_i), shape (m,), and ∇f_i(x_i), the buffers' next values in its tail."""
        losses, gradients = x.new_empty(self.num_nodes), torch.empty_like(x)
        for chunk in self.chunks():
            losses[chunk.nodes], gradients[chunk.nodes] = chunk.evaluate(
                x[chunk.nodes], *chunk.tensors
            )
        return losses, gradients

    def chunks(self, size: int | None = None) -> list[Chunk]:
        """Return the nodes in groups of equal shape, `size` nodes at most in each."""
        pieces = []
        for group in self._groups:
            for start in range(0, len(group.nodes), size or len(group.nodes)):
                part = slice(start, start + (size or len(group.nodes)))
                pieces.append(
                    Chunk(
                        group.nodes[part],
                        self._evaluate_chunk,
                        lambda *arguments: self._evaluate_chunk(*arguments)[1],
                        (group.inputs[part], group.targets[part], group.weights[part]),
                        traceable=True,
                    )
                )
        return pieces

    def initial(self, generator: torch.Generator) -> Tensor:
        """Return the parameters and buffers of the module as it was handed over."""
        return self.flatten(self.module)

    def flatten(self, module: nn.Module) -> Tensor:
        """Return the parameters and buffers of a module like this problem's as an x, (d,).

        Raises `ValueError` where the module has others than this problem's.
        """
        layout = Layout(module)
        if layout.shapes != self._layout.shapes:
            raise ValueError(
                f"{type(module).__name__} has other parameters than {type(self.module).__name__}: "
                f"{layout.difference(self._layout)}"
            )
        return layout.flatten(module)

    def unflatten(self, x: Any) -> nn.Module:
        """Return a copy of the module with the parameters and buffers of x, shape (d,)."""
        values = torch.as_tensor(x)
        if values.shape != (self.dim,):
            raise ValueError(f"x has shape {tuple(values.shape)}, expected ({self.dim},)")
        module = copy.deepcopy(self.module).cpu()
        self._layout.load(module, values.to("cpu", self.dtype))
        return module

    def to(self, device: torch.device, dtype: torch.dtype) -> Self:
        """Return the same problem with its module and data on `device` in `dtype`."""
        if not dtype.is_floating_point:
            raise ValueError(f"dtype={dtype} is not a floating-point type")
        moved = copy.copy(self)
        moved.module = copy.deepcopy(self.module).to(device, dtype)
        moved._layout, moved.dtype = Layout(moved.module), dtype
        moved._groups = [
            group._replace(
                inputs=_cast(group.inputs, dtype).to(device),
                targets=_cast(group.targets, dtype).to(device),
                weights=self._weights(group.nodes.tolist(), group.weights.shape[1], dtype).to(
                    device
                ),
            )
            for group in self._groups
        ]
        return moved

    def tensors(self) -> Mapping[str, Tensor]:
        """Return the nodes' data."""
        return {
            f"{name} {number}": getattr(group, name)
            for number, group in enumerate(self._groups)
            for name in ("nodes", "inputs", "targets", "weights")
        }

    def provenance(self) -> Mapping[str, Any]:
        """Return the module's name and size, the loss, and, where given, the data's origin."""
        record = dict(super().provenance()) | {
            "module": type(self.module).__name__,
            "loss": _name(self.loss),
            "samples": self.samples,
            "num_buffers": self.num_buffers,
        }
        if self.data is not None:
            record["data"] = self.data.describe()
        return record

    def _evaluate_chunk(
        self, x: Tensor, inputs: Tensor, targets: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        if len(x) == 1:
            loss, gradient = self._evaluate_node(x[0], inputs[0], targets[0], weights[0])
            return loss[None], gradient[None]
        losses, gradients = vmap(self._evaluate_node)(x, inputs, targets, weights)
        return losses, gradients

    def _evaluate_node(
        self, x: Tensor, inputs: Tensor, targets: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        """f_i and its gradient followed by the buffers as the forward pass left them."""
        split = self.dim - self.num_buffers
        gradient, (loss, buffers) = grad_and_value(self._loss, has_aux=True)(
            x[:split], x[split:], inputs, targets, weights
        )
        return loss, torch.cat([gradient, buffers]) if self.num_buffers else gradient

    def _loss(
        self, parameters: Tensor, carried: Tensor, inputs: Tensor, targets: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        buffers = self._layout.buffers(carried)
        state = self._layout.parameters(parameters) | buffers
        outputs = functional_call(self.module, state, (inputs,))
        losses = self.loss(outputs, targets)
        after = [value.detach().flatten().to(carried.dtype) for value in buffers.values()]
        return (losses * weights).sum(), torch.cat(after) if after else carried

    def _check_loss(self, inputs: Tensor, targets: Tensor) -> None:
        few = min(len(targets), 4)
        with torch.no_grad():
            outputs = copy.deepcopy(self.module)(inputs[:few].clone())
            losses = self.loss(outputs, targets[:few])
        if not isinstance(losses, Tensor) or losses.shape != (few,):
            shape = tuple(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
            raise ValueError(
                f"the loss returns shape {shape} for {few} samples, expected ({few},): one value a "
                'sample (reduction="none" in PyTorch\'s losses)'
            )

    def _grouped(self, nodes: list[tuple[Tensor, Tensor]]) -> list[_Group]:
        sizes = sorted(set(self.samples))
        if len(sizes) > 1 and not self._mixes_samples(max(nodes, key=lambda node: len(node[1]))[0]):
            return [self._group(range(self.num_nodes), nodes, sizes[-1])]
        members = {n: [i for i in range(self.num_nodes) if self.samples[i] == n] for n in sizes}
        return [self._group(numbers, nodes, n) for n, numbers in members.items()]

    def _group(
        self, numbers: Iterable[int], nodes: list[tuple[Tensor, Tensor]], longest: int
    ) -> _Group:
        chosen = list(numbers)
        inputs = torch.stack([_pad(nodes[number][0], longest) for number in chosen])
        targets = torch.stack([_pad(nodes[number][1], longest) for number in chosen])
        weights = self._weights(chosen, longest, self.dtype)
        return _Group(torch.tensor(chosen), inputs, targets, weights)

    def _weights(self, numbers: list[int], longest: int, dtype: torch.dtype) -> Tensor:
        """1/n_i for the samples of these nodes and 0 for their padding, rounded once."""
        weights = torch.zeros(len(numbers), longest, dtype=dtype)
        for row, number in enumerate(numbers):
            weights[row, : self.samples[number]] = 1.0 / self.samples[number]
        return weights

    def _mixes_samples(self, inputs: Tensor) -> bool:
        """Whether what the module makes of a sample depends on the rest of its batch."""
        some = inputs[:8].clone()
        alike = some[:1].expand_as(some).clone()
        with torch.no_grad():
            among_others = copy.deepcopy(self.module)(some)[0]
            among_its_like = copy.deepcopy(self.module)(alike)[0]
        return not torch.allclose(among_others, among_its_like, rtol=1e-3, atol=1e-5)


def _pairs(inputs: Any, targets: Any, dtype: torch.dtype) -> list[tuple[Tensor, Tensor]]:
    """Return each node's inputs and targets as tensors, or say what does not fit."""
    if len(inputs) == 0 or len(inputs) != len(targets):
        raise ValueError(
            f"inputs holds {len(inputs)} nodes and targets {len(targets)}: expected as many, one "
            "at least"
        )
    nodes: list[tuple[Tensor, Tensor]] = []
    for number, pair in enumerate(zip(inputs, targets, strict=True)):
        tensors = []
        for name, value in zip(("inputs", "targets"), pair, strict=True):
            tensor = torch.as_tensor(value if isinstance(value, Tensor) else np.asarray(value))
            if tensor.ndim == 0 or len(tensor) == 0:
                raise ValueError(f"node {number} is empty: {name} has shape {tuple(tensor.shape)}")
            if tensor.is_floating_point():
                check_finite(tensor.detach().cpu().numpy(), name, number)
            tensors.append(_cast(tensor.detach(), dtype))
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


def _cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def _pad(samples: Tensor, length: int) -> Tensor:
    """Repeat the first sample until there are `length`."""
    missing = length - len(samples)
    if not missing:
        return samples
    return torch.cat([samples, samples[:1].expand(missing, *samples.shape[1:])])


def _name(loss: Any) -> str:
    return repr(loss) if isinstance(loss, nn.Module) else getattr(loss, "__name__", repr(loss))
