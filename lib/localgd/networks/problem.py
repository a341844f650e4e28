"""Any `torch.nn.Module` on m nodes: one forward and one backward over stacked parameters."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from localgd.fingerprint import describe, digest
from localgd.networks.input_checks import (
    check_apart,
    check_memory,
    check_module,
    check_samples,
    check_untrained,
)
from localgd.networks.node_function import Loss, NodeFunction, copied
from localgd.networks.parameter_vector import Layout
from localgd.networks.samples import cast, pairs, stacked
from localgd.networks.validation import (
    check_function,
    padding_is_harmless,
    written_buffers,
)
from localgd.problem import Chunk, Problem


class NetworkProblem(Problem):
    """f_i(x) = (1/n_i) Σ_j loss(module_x(u_ij), v_ij) over the n_i samples (u_ij, v_ij) of node i.

    `module`: any `torch.nn.Module` with parameters in float32 or float64; it is copied, and x
    holds its trainable parameters in the order of `module.parameters()`, flattened, then the
    buffers that its forward pass writes.  In training mode BatchNorm normalises over the
    node's whole data, f_i stays a function of x alone, and the running statistics of every
    node are averaged with its parameters (counters to the nearest integer).  What the forward
    pass only reads, frozen parameters and constant buffers, is the same on every node and
    not in x.
    `inputs`, `targets`: tensors or arrays of shape (m, n, …), or one (n_i, …) per node, n_i as it
    comes; targets that are integers become int64. Nodes of different size are padded with samples
    of weight zero, or, where samples mix (BatchNorm in training mode, a loss or a forward pass
    that uses the whole batch), not padded at all and run in groups of the same size: either way
    as if each ran alone.
    `loss`: (outputs, targets) ↦ one value per sample, shape (n,), such as
    `torch.nn.CrossEntropyLoss(reduction="none")`.
    `data`: where the samples are from (`localgd.datasets.Source`), for a run's record.

    The start is what the module's parameters are when it is handed over; `flatten` turns
    another module of the same kind into an x_0, `unflatten` turns an x into a module.

    Forward and loss must be tensor operations that neither look at values (`.item()`, `if
    x.sum() > 0`) nor draw random numbers (dropout in training mode) nor write into the input;
    otherwise `run` raises `ValueError` and says which.
    Raises `ValueError` for data that do not fit together, NaN or infinite entries, a module
    without trainable parameters, a loss of another shape or with trainable parameters, and a
    module or loss that keeps state outside its buffers.
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
        self.data = data
        nodes = pairs(inputs, targets)
        self.num_nodes = len(nodes)
        self.samples = [len(target) for _, target in nodes]
        check_module(module)
        check_memory(module)
        check_untrained(loss)
        check_apart(loss, module)
        # Where the samples are; `to` moves all of them.
        module = copied(module).cpu()
        if isinstance(loss, nn.Module):
            loss = copied(loss).cpu()
        dtype = Layout(module, ()).dtype
        typed = [(cast(u, dtype), cast(v, dtype)) for u, v in nodes]
        check_samples(module, loss, typed)
        layout = Layout(module, written_buffers(module, typed[0][0]))
        self._take(NodeFunction(module, loss, layout))
        check_function(self._function, *typed[0])
        padded = len(set(self.samples)) > 1 and padding_is_harmless(self._function, nodes)
        self._given = stacked(nodes, padded=padded)
        self._samples = [each.to(torch.device("cpu"), dtype) for each in self._given]

    @property
    def module(self) -> nn.Module:
        """The module, as it was handed over."""
        return self._function.module

    @property
    def loss(self) -> Loss:
        """The loss of one batch of samples."""
        return self._function.loss

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
        function = self._function
        pieces = []
        for group in self._samples:
            tensors = (group.inputs, group.targets, group.weights(self.dtype))
            step = size or len(group.nodes)
            for start in range(0, len(group.nodes), step):
                part = slice(start, start + step)
                pieces.append(
                    Chunk(
                        group.nodes[part],
                        function.nodes,
                        lambda *arguments: function.nodes(*arguments)[1],
                        tuple(tensor[part] for tensor in tensors),
                        traceable=True,
                    )
                )
        return pieces

    def initial(self, generator: torch.Generator) -> Tensor:
        """Return the parameters and buffers of the module as it was handed over."""
        return self.flatten(self.module)

    def flatten(self, module: nn.Module) -> Tensor:
        """Return the parameters and written buffers of a module like this problem's as an x, (d,).

        Raises `ValueError` where the module has others than this problem's.
        """
        ours = self._function.layout
        layout = Layout(module, ours.written)
        if layout.shapes != ours.shapes:
            raise ValueError(
                f"{type(module).__name__} has other parameters than {type(self.module).__name__}: "
                f"{layout.difference(ours)}"
            )
        return layout.flatten(module)

    def unflatten(self, x: Any) -> nn.Module:
        """Return a copy of the module with the parameters and buffers of x, shape (d,)."""
        values = torch.as_tensor(x)
        if values.shape != (self.dim,):
            raise ValueError(f"x has shape {tuple(values.shape)}, expected ({self.dim},)")
        module = copied(self.module).cpu()
        self._function.layout.load(module, values.to("cpu", self.dtype))
        return module

    def to(self, device: torch.device, dtype: torch.dtype) -> Self:
        """Return the same problem with its module and data on `device` in `dtype`.

        Data given in float64 are rounded to `dtype` once, from what was given.
        Raises `ValueError` for a type that is neither float32 nor float64.
        """
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"dtype={dtype} must be torch.float32 or torch.float64")
        moved = copy.copy(self)
        moved._take(self._function.to(device, dtype))
        moved._samples = [each.to(device, dtype) for each in self._given]
        return moved

    def contents(self) -> Mapping[str, Tensor]:
        """Return the nodes' data."""
        return {
            f"{name} {number}": getattr(group, name)
            for number, group in enumerate(self._samples)
            for name in ("nodes", "inputs", "targets", "counts")
        }

    def provenance(self) -> Mapping[str, Any]:
        """Return the module's name and size, the loss, and, where given, the data's origin."""
        record = dict(super().provenance()) | {
            "module": type(self.module).__name__,
            "loss": describe(self.loss),
            "samples": self.samples,
            "num_buffers": self.num_buffers,
        }
        if self.data is not None:
            record["data"] = self.data.describe()
        return record

    def in_common(self) -> Mapping[str, str]:
        """Return the module, with what is not in x, and the loss as well."""
        trained = self._function.layout.shapes
        constants = {n: v for n, v in self.module.state_dict().items() if n not in trained}
        modes = [each.training for each in self.module.modules()]
        return dict(super().in_common()) | {
            "module": f"{describe(self.module)} {digest([constants, modes])}",
            "loss": f"{describe(self.loss)} {digest(self.loss)}",
        }

    def _take(self, function: NodeFunction) -> None:
        """Make `function` the one that is evaluated."""
        self._function, self.dtype = function, function.layout.dtype
        self.dim, self.num_buffers = function.layout.size, function.layout.num_buffers
