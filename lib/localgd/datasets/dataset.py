"""Serve a data set: the real one or its stand-in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from localgd.datasets.download import UnreachableError

#: "real" makes data that cannot be had an error, "auto" falls back on the stand-in.
Choice = Literal["auto", "real", "stand-in"]


@dataclass(frozen=True)
class Source:
    """The origin of a data set's numbers."""

    name: str
    kind: Literal["real", "stand-in"]
    description: str
    origin: str
    sha256: dict[str, str] = field(default_factory=dict)  # file name -> hash of its bytes

    def describe(self) -> dict[str, Any]:
        """Return the fields as plain values, for a run's record."""
        return {
            "name": self.name,
            "kind": self.kind,
            "description": self.description,
            "origin": self.origin,
            "sha256": dict(self.sha256),
        }


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples with labels, and their source."""

    features: NDArray[Any]  # (n, d), or (n, channels, height, width) for images
    labels: NDArray[Any]  # (n,), integers for classes
    source: Source

    def with_intercept(self) -> Dataset:
        """Return the data with a column of ones, as a linear layer with a bias has it.

        Raises `ValueError` for samples that are not vectors.
        """
        if self.features.ndim != 2:
            raise ValueError(
                f"an intercept is a column, for features of shape (n, d), not {self.features.shape}"
            )
        ones = np.ones((len(self.features), 1), self.features.dtype)
        return replace(self, features=np.hstack([self.features, ones]))

    def first(self, num_samples: int) -> Dataset:
        """Return the first samples in file order.

        Raises `ValueError` for fewer than one and for more than there are.
        """
        n = len(self.features)
        if not 1 <= num_samples <= n:
            raise ValueError(f"num_samples={num_samples} must be between 1 and the {n} samples")
        return replace(self, features=self.features[:num_samples], labels=self.labels[:num_samples])

    def split(
        self, num_nodes: int, seed: int | None = None
    ) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
        """Deal the samples to the nodes: features (n_i, …) and labels (n_i,) of every node i.

        Contiguous blocks in file order, sizes differing by one at most; with a `seed`, of
        a random order instead.  Raises `ValueError` for more nodes than samples.
        """
        n = len(self.features)
        if not 1 <= num_nodes <= n:
            raise ValueError(f"num_nodes={num_nodes} must be between 1 and the {n} samples")
        order = np.arange(n) if seed is None else np.random.default_rng(seed).permutation(n)
        parts = np.array_split(order, num_nodes)
        return [self.features[part] for part in parts], [self.labels[part] for part in parts]


def choose(
    source: Choice, real: Callable[[], Dataset], stand_in: Callable[[str], Dataset]
) -> Dataset:
    """Return the real data set, or the stand-in, made with the reason why.

    Raises `ValueError` for a `source` that is none, `UnreachableError` under "real" where the
    data cannot be had, `ImportError` where the stand-in needs a package that is not installed,
    and whatever else `real` raises: a broken file is never replaced.
    """
    if source not in ("auto", "real", "stand-in"):
        raise ValueError(f"source={source!r} must be 'auto', 'real' or 'stand-in'")
    why = "it was asked for"
    if source != "stand-in":
        try:
            return real()
        except UnreachableError as error:
            if source == "real":
                raise
            why = str(error)
    try:
        return stand_in(why)
    except ImportError as error:
        raise ImportError(
            f"the stand-in needs {error.name}, which is not installed; it was to be made because "
            f"{why}"
        ) from error
