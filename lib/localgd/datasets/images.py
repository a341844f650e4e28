"""Read image data sets: splits, the first samples, pixels from 0 to 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from localgd.datasets.dataset import Dataset, Source

Split = Literal["train", "test"]


def count(split: Split, first: int | None, sizes: Mapping[str, int]) -> int:
    """Return how many samples of the split are asked for, all where `first` is None.

    Raises `ValueError` for a split that is none and a number that it does not have.
    """
    if split not in sizes:
        raise ValueError(f"split={split!r} must be 'train' or 'test'")
    if first is None:
        return sizes[split]
    if not 1 <= first <= sizes[split]:
        raise ValueError(
            f"first={first} must be between 1 and the {sizes[split]} samples of the {split} split"
        )
    return first


def share(split: Split, n: int, sizes: Mapping[str, int]) -> str:
    """Say which samples of the split are meant: "the first 1000 of its 60000 training images"."""
    kind = "training" if split == "train" else "test"
    size = sizes[split]
    return (
        f"its {size} {kind} images" if n == size else f"the first {n} of its {size} {kind} images"
    )


def dataset(pixels: NDArray[np.uint8], labels: NDArray[np.uint8], source: Source) -> Dataset:
    """Return images (n, channels, height, width) as float32, bytes/255, and labels as int64."""
    features = np.divide(pixels, np.float32(255), dtype=np.float32)
    return Dataset(features, labels.astype(np.int64), source)
