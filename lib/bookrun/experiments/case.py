"""One run of a network figure: its settings, the problem they make, and how it is carried out.

A chapter's live runs and ``make record`` go through the same two functions, so that a record
and a live run differ by nothing but the settings that both state.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from localgd import FixedSteps, NetworkProblem, Trace, UntilStationary, datasets, run
from localgd.algorithm.rules import Rule
from localgd.datasets import Dataset
from localgd.datasets.dataset import Choice
from localgd.engine.evaluator import Engine
from localgd.networks import LeNet, ResNet18, seeded

_ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}
_DATA = {"lenet": datasets.mnist, "resnet18": datasets.cifar10}


@dataclass(frozen=True)
class Case:
    """One run of Algorithm 1 on one network.

    ``network``: LeNet on MNIST or ResNet-18 on CIFAR-10, full batches, softmax cross-entropy.
    ``samples``: the first so many training images, dealt evenly to ``nodes``.
    Either ``local_steps``, the T of every node, or ``grad_tol``, the threshold rule: local GD
    while ‖∇f_i‖² > ``grad_tol``, for at most ``max_steps`` steps a round.
    ``seed`` draws the network's first parameters, by PyTorch's defaults, and the split: seed 0
    deals the images in file order, any other in a random order.
    ``width``: channels of ResNet-18's first stage, 64 in the original.  ``activation``: LeNet's.
    ``test_samples``: on so many test images loss and accuracy are measured after every round.
    ``tf32``: a GPU may multiply float32 numbers with a mantissa of 10 bits; elsewhere of no effect.

    Raises ``ValueError`` for a case that has both or neither of ``local_steps`` and ``grad_tol``,
    and for a network or activation that there is not.
    """

    network: Literal["lenet", "resnet18"]
    samples: int
    nodes: int
    step_size: float
    rounds: int
    seed: int = 0
    local_steps: int | None = None
    grad_tol: float | None = None
    max_steps: int | None = None
    width: int = 64
    activation: str = "relu"
    test_samples: int = 0
    tf32: bool = False

    def __post_init__(self) -> None:
        if (self.local_steps is None) == (self.grad_tol is None):
            raise ValueError(
                f"local_steps={self.local_steps} and grad_tol={self.grad_tol}: give one of the two"
            )
        if (self.max_steps is None) != (self.grad_tol is None):
            raise ValueError(f"max_steps={self.max_steps} goes with grad_tol, and only with it")
        if self.network not in _DATA:
            raise ValueError(f"network={self.network!r} is none of {', '.join(_DATA)}")
        if self.activation not in _ACTIVATIONS:
            raise ValueError(f"activation={self.activation!r}: {', '.join(_ACTIVATIONS)} are known")

    @property
    def name(self) -> str:
        """Nodes, rule, step size, activation and seed in one word, unique within a figure."""
        steps = f"T{self.local_steps}" if self.grad_tol is None else f"tol{self.grad_tol:g}"
        other = "" if self.activation == "relu" else f"-{self.activation}"
        return f"m{self.nodes}-{steps}-eta{self.step_size:g}{other}-seed{self.seed}"

    @property
    def rule(self) -> Rule:
        """Return how many local steps a node takes."""
        if self.local_steps is not None:
            return FixedSteps(self.local_steps)
        assert self.grad_tol is not None
        assert self.max_steps is not None
        return UntilStationary(self.grad_tol, self.max_steps)


def training_data(case: Case, source: Choice = "auto") -> Dataset:
    """Return the case's training images, in file order."""
    return _DATA[case.network]("train", first=case.samples, source=source)


def network_problem(case: Case, source: Choice = "auto") -> NetworkProblem:
    """Return what the case's nodes minimise, with the start in it."""
    data = training_data(case, source)
    inputs, targets = data.split(case.nodes, case.seed or None)
    loss = nn.CrossEntropyLoss(reduction="none")
    return NetworkProblem(_network(case), inputs, targets, loss, data=data.source)


def carry_out(
    case: Case,
    *,
    source: Choice = "auto",
    rounds: int | None = None,
    device: str = "auto",
    engine: Engine = "auto",
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> Trace:
    """Run the case, or its first ``rounds`` rounds; ``source="real"`` refuses stand-in data.

    The other arguments are those of ``localgd.run``, and so is what is raised.
    """
    posed = network_problem(case, source)
    return run(
        posed,
        local_steps=case.rule,
        step_size=case.step_size,
        rounds=case.rounds if rounds is None else rounds,
        device=device,
        engine=engine,
        tf32=case.tf32,
        checkpoint=checkpoint,
        measure=_test_measure(case, posed, source) if case.test_samples else None,
        progress=progress,
    )


def _network(case: Case) -> nn.Module:
    if case.network == "resnet18":
        return seeded(lambda: ResNet18(width=case.width), case.seed)
    return seeded(lambda: LeNet(_ACTIVATIONS[case.activation]), case.seed)


def _test_measure(
    case: Case, posed: NetworkProblem, source: Choice
) -> Callable[[Tensor], Mapping[str, float]]:
    """Loss and accuracy of x on the case's test images, on the device of x."""
    data = _DATA[case.network]("test", first=case.test_samples, source=source)
    images, labels = torch.as_tensor(data.features), torch.as_tensor(data.labels)

    def measured(x: Tensor) -> dict[str, float]:
        nonlocal images, labels
        images, labels = images.to(x.device), labels.to(x.device)
        module = posed.unflatten(x).to(x.device).eval()
        with torch.no_grad():
            logits = torch.cat([module(part) for part in torch.split(images, 1000)])
            loss = nn.functional.cross_entropy(logits, labels)
            right = (logits.argmax(1) == labels).double().mean()
        return {"test_loss": float(loss), "test_accuracy": float(right)}

    return measured
