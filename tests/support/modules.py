"""Small modules of the kinds that behave differently when nodes are batched."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

CROSS_ENTROPY = nn.CrossEntropyLoss(reduction="none")


class Shared(nn.Module):
    """One weight used twice, one that is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False)
        self.outer.weight = self.inner.weight
        self.last = nn.Linear(6, 3)
        self.last.bias.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.outer(torch.tanh(self.inner(x)))))


def linear() -> nn.Module:
    return nn.Linear(6, 3)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(3, 4, 3),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4, 3),
    )


def normalised() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, bias=False),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(3 * 36, 3),
        nn.BatchNorm1d(3, momentum=0.3),
    )


FACTORIES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (linear, (6,)),
    "mlp": (mlp, (6,)),
    "shared": (Shared, (6,)),
    "convolutional": (convolutional, (1, 8, 8)),
    "normalised": (normalised, (1, 8, 8)),
}


def problem_parts(
    kind: str, sizes: list[int], seed: int
) -> tuple[nn.Module, list[Tensor], list[Tensor]]:
    """A module in float64 and the data of nodes of these sizes."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        make, shape = FACTORIES[kind]
        module = make().double()
        inputs = [torch.randn(n, *shape, dtype=torch.float64) for n in sizes]
        targets = [torch.randint(0, 3, (n,)) for n in sizes]
    return module, inputs, targets
