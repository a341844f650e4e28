"""Networks trained as one reads Algorithm 1: a module and an optimiser per node, one by one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Alone(NamedTuple):
    """What the loop below saw."""

    state: dict[str, Tensor]  # parameters and buffers of the last average
    loss: list[float]
    local_steps: list[list[int]]


def train_alone(
    module: nn.Module,
    inputs: Sequence[Tensor],
    targets: Sequence[Tensor],
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    etas: Sequence[float],
    rounds: int,
    steps: Sequence[int] | None = None,
    grad_tol: float = 0.0,
    max_steps: int = 10**6,
) -> Alone:
    """Algorithm 1 with T_i = steps[i], or while ‖∇f_i‖² > grad_tol."""
    module = copy.deepcopy(module)
    losses = [mean_loss(module, inputs, targets, loss)]
    taken = []
    for _ in range(rounds):
        ends, counts = [], []
        for i, (u, v) in enumerate(zip(inputs, targets, strict=True)):
            node = copy.deepcopy(module)
            optimizer = torch.optim.SGD(node.parameters(), lr=etas[i])
            limit = max_steps if steps is None else steps[i]
            count = 0
            while count < limit:
                optimizer.zero_grad()
                before = copy.deepcopy(dict(node.named_buffers()))
                loss(node(u), v).mean().backward()
                if square_norm(node) <= grad_tol and steps is None:
                    for name, buffer in node.named_buffers():
                        buffer.copy_(before[name])
                    break
                optimizer.step()
                count += 1
            ends.append(node.state_dict())
            counts.append(count)
        module.load_state_dict(mean_state(ends))
        losses.append(mean_loss(module, inputs, targets, loss))
        taken.append(counts)
    return Alone(module.state_dict(), losses, taken)


def mean_loss(
    module: nn.Module,
    inputs: Sequence[Tensor],
    targets: Sequence[Tensor],
    loss: Callable[[Tensor, Tensor], Tensor],
) -> float:
    """(1/m) Σ f_i, the module left as it was."""
    with torch.no_grad():
        values = [
            float(loss(copy.deepcopy(module)(u), v).mean())
            for u, v in zip(inputs, targets, strict=True)
        ]
    return sum(values) / len(values)


def square_norm(module: nn.Module) -> float:
    """‖∇f_i‖² from the gradients that a backward pass left."""
    return sum(float((p.grad**2).sum()) for p in module.parameters() if p.grad is not None)


def mean_state(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The average of parameters and buffers, counters to the nearest integer.

    What is the same on every node is its own average, to the last bit and of any type.
    """
    result = {}
    for name, first in states[0].items():
        if all(torch.equal(state[name], first) for state in states):
            result[name] = first
            continue
        mean = torch.stack([state[name].double() for state in states]).mean(0)
        result[name] = (mean if first.is_floating_point() else mean.round()).to(first.dtype)
    return result
