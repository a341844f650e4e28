"""A node's loss as a function of the vector x: a module, a loss and where x goes in them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from localgd.networks.parameter_vector import Layout
from localgd.networks.python_state import containers, restored

Loss = Callable[[Tensor, Tensor], Tensor]


class NodeFunction:
    """x ↦ Σ_j w_j loss(module_x(u_j), v_j) and its gradient, for samples (u_j, v_j).

    x holds the module's trainable parameters, then the buffers that its forward pass writes.
    """

    def __init__(self, module: nn.Module, loss: Loss, layout: Layout) -> None:
        self.module, self.loss, self.layout = module, loss, layout
        self._caller = _AndBuffers(module)

    def to(self, device: torch.device, dtype: torch.dtype) -> NodeFunction:
        """Return the same function with its module, and a loss that is one, moved."""
        module, loss = _moved(self.module, device, dtype), self.loss
        if isinstance(loss, nn.Module):
            loss = _moved(loss, device, dtype)
        return NodeFunction(module, loss, Layout(module, self.layout.written))

    def nodes(
        self, x: Tensor, inputs: Tensor, targets: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Values, shape (c,), and gradients, shape (c, d), of c nodes, stacked.

        The columns of the gradients that belong to buffers hold their next values.
        """
        if len(x) == 1:
            loss, gradient = self.node(x[0], inputs[0], targets[0], weights[0])
            return loss[None], gradient[None]
        losses, gradients = vmap(self.node)(x, inputs, targets, weights)
        return losses, gradients

    def node(
        self, x: Tensor, inputs: Tensor, targets: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the value and the gradient of one node, x of shape (d,)."""
        split = self.layout.size - self.layout.num_buffers
        gradient, (loss, buffers) = grad_and_value(self._weighted, has_aux=True)(
            x[:split], x[split:], inputs, targets, weights
        )
        return loss, torch.cat([gradient, buffers]) if self.layout.num_buffers else gradient

    def _weighted(
        self, parameters: Tensor, carried: Tensor, inputs: Tensor, targets: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        state = self.layout.parameters(parameters) | self.layout.buffers(carried)
        placed = {f"module.{name}": value for name, value in state.items()}
        # The fused kernels have no rule for stacked nodes.
        with restored(self._caller, self.loss), sdpa_kernel(SDPBackend.MATH):
            outputs, buffers = functional_call(self._caller, placed, (inputs,))
            losses = self.loss(outputs, targets)
        after = [buffers[name].detach().flatten().to(carried.dtype) for name in self.layout.written]
        return (losses * weights).sum(), torch.cat(after) if after else carried


class _AndBuffers(nn.Module):
    """`module`, returning its buffers as the call has left them beside its outputs."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, inputs: Tensor) -> tuple[Any, dict[str, Tensor]]:
        outputs = self.module(inputs)
        return outputs, dict(self.module.named_buffers(remove_duplicate=False))


def copied(module: nn.Module) -> nn.Module:
    """Return a copy of `module`, or raise `ValueError` where it cannot be copied.

    Tensors that a call has left in attributes are copied without the graph that made them.
    """
    computed = {
        id(value): value.detach().clone()
        for held in containers(module)
        for value in (held.values() if isinstance(held, dict) else held)
        if isinstance(value, Tensor) and not value.is_leaf
    }
    try:
        return copy.deepcopy(module, computed)
    except (RuntimeError, TypeError, AttributeError) as error:
        name, reason = type(module).__name__, str(error).splitlines()[0]
        raise ValueError(
            f"{name} cannot be copied, and each node needs a copy: {reason}"
        ) from error


def _moved(module: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """Return a copy of `module` on `device` with its real and complex numbers in `dtype`.

    `nn.Module.to(dtype)` would drop the imaginary part of complex buffers.
    """
    module = copied(module).to(device)
    cast: dict[int, Tensor] = {}  # what two submodules share they go on sharing
    for part in module.modules():
        for value in part.parameters(recurse=False):
            value.data = _in_precision(value.data, dtype)
        for name, buffer in part.named_buffers(recurse=False):
            setattr(part, name, cast.setdefault(id(buffer), _in_precision(buffer, dtype)))
    return module


def _in_precision(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    if tensor.is_complex():
        return tensor.to(dtype.to_complex())
    return tensor.to(dtype) if tensor.is_floating_point() else tensor
