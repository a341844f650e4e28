"""The images that the networks are measured on."""

from __future__ import annotations

import torch

from localgd import datasets


def images(m: int, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """MNIST's first m·n training images, n per node."""
    data = datasets.mnist("train", first=m * n)
    return (
        torch.from_numpy(data.features).reshape(m, n, 1, 28, 28),
        torch.from_numpy(data.labels).reshape(m, n),
    )
