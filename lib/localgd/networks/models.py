"""The paper's networks: a softmax layer, LeNet and ResNet-18 for 32×32 images."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)


def seeded(factory: Callable[[], Module], seed: int) -> Module:
    """Return factory(), its parameters drawn on the CPU from PyTorch's generator at `seed`.

    Equal seeds give equal modules, and the global generator goes on as if nothing had been
    drawn: `seeded(LeNet, 0)`, `seeded(lambda: ResNet18(width=16), seed=0)`.
    """
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would reseed the GPUs' generators as well.
        torch.default_generator.manual_seed(seed)
        return factory()


class SoftmaxLayer(nn.Module):
    """u ↦ W·pool(…pool(u)) + b: images (n, channels, size, size) to logits (n, num_classes).

    `pools` max-poolings with a 2×2 window one after the other, then one affine layer; the
    softmax itself is part of the cross-entropy.  On MNIST that is 7850 parameters without
    pooling ("intersected" for 500 samples) and 490 weights and 10 biases with two
    ("non-intersected"); the paper counts the 490.  (Section 3.2.1 of Zhang & Li 2019.)

    Raises `ValueError` for counts below 1 (`pools`: below 0), for an `image_size` that cannot
    be halved `pools` times, and, when called, for images of another shape.
    """

    def __init__(
        self,
        image_size: int = 28,
        channels: int = 1,
        *,
        pools: int = 0,
        num_classes: int = 10,
        bias: bool = True,
    ) -> None:
        super().__init__()
        _check_counts(image_size=image_size, channels=channels, num_classes=num_classes)
        if pools < 0 or image_size % 2**pools:
            raise ValueError(f"pools={pools}: image_size={image_size} cannot be halved so often")
        self.image_shape = (channels, image_size, image_size)
        self.pools = nn.Sequential(*(nn.MaxPool2d(2) for _ in range(pools)))
        self.affine = nn.Linear(channels * (image_size // 2**pools) ** 2, num_classes, bias)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits, (n, num_classes), of images of shape (n, channels, size, size)."""
        _check_shape(images, self.image_shape)
        logits: Tensor = self.affine(self.pools(images).flatten(1))
        return logits


class LeNet(nn.Module):
    """LeNet for MNIST: images (n, 1, 28, 28) to logits (n, 10), 44,426 parameters.

    Twice a 5×5 convolution without padding (to 6, then 16 channels), the activation and a
    2×2 max-pooling; then affine layers 256 → 120 → 84 → 10 with the activation between.
    A gradient step on 1000 images is 1.517 GFLOP.  (LeCun et al. 1998; section 3.2.2 of
    Zhang & Li 2019, which names neither the activation nor the pooling: `activation` makes
    the first, ReLU by default.)

    Raises `ValueError`, when called, for images of another shape.
    """

    def __init__(self, activation: Callable[[], nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, 5),
            activation(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5),
            activation(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Linear(16 * 4 * 4, 120),
            activation(),
            nn.Linear(120, 84),
            activation(),
            nn.Linear(84, 10),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits, (n, 10), of images of shape (n, 1, 28, 28)."""
        _check_shape(images, (1, 28, 28))
        logits: Tensor = self.classifier(self.features(images).flatten(1))
        return logits


class ResNet18(nn.Module):
    """ResNet-18 for CIFAR-10: images (n, 3, 32, 32), or of another size, to logits.

    A 3×3 convolution with BatchNorm and ReLU and no pooling after it, as is usual for small
    images; four stages of two residual blocks, of `width` times 1, 2, 4 and 8 channels, the
    last three halving the image; the mean over all pixels; one affine layer.  11,173,962
    parameters at width 64 with 10 classes.  (He et al. 2016; section 3.2.2 of Zhang & Li
    2019, which does not say which variant.)

    In training mode BatchNorm normalises over the batch and counts it in its running
    statistics.  Raises `ValueError` for counts below 1.
    """

    def __init__(self, num_classes: int = 10, width: int = 64) -> None:
        super().__init__()
        _check_counts(num_classes=num_classes, width=width)
        self.stem = nn.Sequential(*_normalised(3, width, 3), nn.ReLU())
        blocks: list[nn.Module] = []
        inputs = width
        for stage in range(4):
            outputs = width * 2**stage
            blocks += [
                _ResidualBlock(inputs, outputs, stride=1 if stage == 0 else 2),
                _ResidualBlock(outputs, outputs),
            ]
            inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.affine = nn.Linear(inputs, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits, (n, num_classes), of images of shape (n, 3, height, width)."""
        logits: Tensor = self.affine(self.blocks(self.stem(images)).mean((2, 3)))
        return logits


class _ResidualBlock(nn.Module):
    """u ↦ relu(g(u) + s(u)): g two normalised 3×3 convolutions, s the identity where it fits."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            *_normalised(inputs, outputs, 3, stride), nn.ReLU(), *_normalised(outputs, outputs, 3)
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(*_normalised(inputs, outputs, 1, stride))

    def forward(self, images: Tensor) -> Tensor:
        return torch.relu(self.residual(images) + self.shortcut(images))


def _normalised(inputs: int, outputs: int, window: int, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, window, stride, padding=window // 2, bias=False)
    return [convolution, nn.BatchNorm2d(outputs)]


def _check_counts(**counts: int) -> None:
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"{name}={value} must be at least 1")


def _check_shape(images: Tensor, expected: tuple[int, int, int]) -> None:
    if images.ndim != 4 or tuple(images.shape[1:]) != expected:
        wanted = ", ".join(map(str, expected))
        raise ValueError(f"the images have shape {tuple(images.shape)}, expected (n, {wanted})")
