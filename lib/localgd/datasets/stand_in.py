"""Labelled patches of two photographs: CIFAR-10's stand-in."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from localgd.datasets.images import Split

_EDGE = 32  # of a patch
_REGION = 160  # edge of a region
#: Upper left corners of the ten regions, (row, column); no two overlap.
_CHINA = ((0, 400), (60, 110), (220, 160), (160, 320), (255, 480))  # sky, roofs, lake, trees
_FLOWER = ((130, 228), (90, 0), (0, 480), (200, 460), (267, 0))  # petals, leaf, background
#: Rows of a region, from its top, that patches of a split stay within: no pixel is in both.
_BANDS: dict[Split, tuple[tuple[int, int], ...]] = {
    "train": ((0, 54), (106, 160)),
    "test": ((54, 106),),
}


def patches(split: Split, size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return `size` patches (n, 3, 32, 32), as bytes, and the number of the region each is from.

    Every region gives the same number of patches, no two from the same place, all in one
    random order that is the same every time.
    """
    from sklearn.datasets import load_sample_images

    china, flower = load_sample_images().images
    regions = [(china, corner) for corner in _CHINA] + [(flower, corner) for corner in _FLOWER]
    each = size // len(regions)
    rng = np.random.default_rng([20190617, list(_BANDS).index(split)])
    labels = rng.permutation(np.repeat(np.arange(len(regions), dtype=np.uint8), each))
    pixels = np.empty((len(labels), 3, _EDGE, _EDGE), np.uint8)
    for label, (photograph, corner) in enumerate(regions):
        windows = np.lib.stride_tricks.sliding_window_view(photograph, (_EDGE, _EDGE), axis=(0, 1))
        rows, columns = (rng.choice(places(split), each, replace=False) + corner).T
        pixels[labels == label] = windows[rows, columns]
    return pixels, labels


def places(split: Split) -> NDArray[np.int64]:
    """Return where in a region the patches of a split may begin: (row, column), shape (p, 2)."""
    rows = [np.arange(top, bottom - _EDGE + 1) for top, bottom in _BANDS[split]]
    columns = np.arange(_REGION - _EDGE + 1)
    grid = np.meshgrid(np.concatenate(rows), columns, indexing="ij")
    return np.stack(grid, axis=-1).reshape(-1, 2)
