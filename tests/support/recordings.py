"""A tiny figure to record: a few rounds of LeNet on images that count as real."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bookrun.experiments import case, figures
from bookrun.experiments.case import Case
from bookrun.project import Project
from localgd.datasets import Dataset, Source
from localgd.datasets.download import UnreachableError

SHA = {"images": "ab" * 32}
TINY = Case("lenet", samples=8, nodes=2, step_size=0.1, rounds=3, local_steps=2)
CASES = [
    TINY,
    Case("lenet", samples=8, nodes=2, step_size=0.1, rounds=2, seed=1, grad_tol=1e-3, max_steps=4),
]


def images(split: str, *, first: int, source: str = "auto", shift: float = 0.0) -> Dataset:
    """Random images, the same at every call."""
    rng = np.random.default_rng(len(split))
    pixels = rng.random((first, 1, 28, 28), dtype=np.float32) + np.float32(shift)
    return Dataset(pixels, np.arange(first) % 10, Source("tiny", "real", "random", "here", SHA))


def unreachable(split: str, *, first: int, source: str = "auto") -> Dataset:
    """What a machine without the data and without a network has."""
    if source == "real":
        raise UnreachableError("the images are not on this machine")
    return Dataset(*_arrays(split, first), Source("tiny", "stand-in", "random", "here"))


def _arrays(split: str, first: int) -> tuple[Any, Any]:
    found = images(split, first=first)
    return found.features, found.labels


def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project in which "tiny" is a figure of two cases."""
    monkeypatch.setitem(case._DATA, "lenet", images)
    monkeypatch.setattr(figures, "cases", lambda figure, scale: list(CASES))
    monkeypatch.setattr(figures, "names", lambda: ["tiny"])
    return Project(tmp_path)
