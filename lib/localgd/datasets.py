"""The paper's data sets: found or fetched, checked, and never quietly replaced.

Where a data set is neither on this machine nor to be had from its home, a stand-in made of
what a dependency ships takes its place, and `Dataset.source` says so to whoever uses it.
"""

from __future__ import annotations

import bz2
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from localgd.fetch import Remote, UnreachableError, fetch, find_local, sha256


@dataclass(frozen=True)
class Source:
    """Where a data set's numbers are from."""

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

    features: NDArray[np.float64]  # (n, d)
    labels: NDArray[np.float64]  # (n,)
    source: Source

    def with_intercept(self) -> Dataset:
        """Return the data with a column of ones, as a linear layer with a bias has it."""
        ones = np.ones((len(self.features), 1))
        return replace(self, features=np.hstack([self.features, ones]))

    def split(
        self, num_nodes: int, seed: int | None = None
    ) -> tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]]:
        """Deal the samples to the nodes: features A_i (n_i, d) and labels b_i (n_i,).

        Contiguous blocks in file order, sizes differing by one at most; with a `seed`, of
        a random order instead.  Raises `ValueError` for more nodes than samples.
        """
        n = len(self.features)
        if not 1 <= num_nodes <= n:
            raise ValueError(f"num_nodes={num_nodes} must be between 1 and the {n} samples")
        order = np.arange(n) if seed is None else np.random.default_rng(seed).permutation(n)
        parts = np.array_split(order, num_nodes)
        return [self.features[part] for part in parts], [self.labels[part] for part in parts]


def colon_cancer(source: Literal["auto", "real", "stand-in"] = "auto") -> Dataset:
    """Return colon-cancer as LIBSVM serves it: 62 samples, 2000 gene expressions, labels ±1.

    40 samples are labelled −1 and 22 labelled +1.  LIBSVM has normalised every sample and
    then every feature, to mean 0 and sample variance 1 over the 62 samples, and printed
    the result with six digits.  (Alon et al. 1999; section 2.3.2 of Zhang & Li 2019.)

    `source`: "real" makes data that cannot be had an error; "auto" falls back on the
    stand-in, a Gaussian matrix treated the same way; "stand-in" asks for it.
    Raises `ValueError` for a file with other content, naming it, and for another `source`;
    `UnreachableError` under "real" where the file cannot be had.
    """
    if source not in ("auto", "real", "stand-in"):
        raise ValueError(f"source={source!r} must be 'auto', 'real' or 'stand-in'")
    if source == "stand-in":
        return _colon_cancer_stand_in("it was asked for")
    try:
        path, content = fetch(_COLON_CANCER)
    except UnreachableError as error:
        if source == "real":
            raise
        return _colon_cancer_stand_in(str(error))
    features, labels = _parse_colon_cancer(content)
    return Dataset(
        features,
        labels,
        Source(
            name="colon-cancer",
            kind="real",
            description="62 tissue samples, 2000 gene expressions, from LIBSVM's collection",
            origin=_COLON_CANCER.url,
            sha256={path.name: sha256(content)},
        ),
    )


def names() -> tuple[str, ...]:
    """Return the data sets there are."""
    return tuple(sorted(_FILES))


def fingerprint(name: str) -> str:
    """Return what a chapter that uses data set `name` would run on, without the network.

    The hashes of its files where they are on this machine, else "stand-in".  Raises
    `ValueError` for a name that is not a data set's.
    """
    found = [find_local(remote) for remote in _files(name)]
    paths: list[Path] = [path for path in found if path is not None]
    if len(paths) < len(found):
        return "stand-in"
    return " ".join(sha256(path.read_bytes()) for path in paths)


def prefetch(name: str) -> None:
    """Bring data set `name` into the cache where it is not on this machine and can be had."""
    for remote in _files(name):
        try:
            fetch(remote)
        except UnreachableError:
            return


def _files(name: str) -> tuple[Remote, ...]:
    if name not in _FILES:
        raise ValueError(f"{name!r} is not a data set; known are {', '.join(names())}")
    return _FILES[name]


def _parse_colon_cancer(content: bytes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Read LIBSVM's text, `label 1:value … 2000:value` a line, and recognise the data set.

    The bytes differ between copies (the text has been re-serialised), so the content is
    checked: shape, labels, standardisation, the largest singular value, the first row.
    """
    try:
        lines = bz2.decompress(content).decode("ascii").splitlines()
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"it is not bzip2-compressed text ({error})") from error
    features, labels = np.full((62, 2000), np.nan), np.zeros(62)
    if len(lines) != 62:
        raise ValueError(f"it has {len(lines)} samples, expected 62")
    for row, line in enumerate(lines):
        label, *entries = line.split()
        labels[row] = float(label)
        for entry in entries:
            index, _, value = entry.partition(":")
            if not 1 <= int(index) <= 2000:
                raise ValueError(f"line {row + 1} has a feature {index}, expected 1 to 2000")
            features[row, int(index) - 1] = float(value)
    if np.isnan(features).any():
        raise ValueError("a feature is missing or not a number")
    if sorted(labels.tolist()) != [-1.0] * 40 + [1.0] * 22:
        raise ValueError("the labels are not 40 of −1 and 22 of +1")
    if not _has_colon_cancer_norms(features):
        raise ValueError("the numbers are not colon-cancer's: standardisation or norms differ")
    return features, labels


def _has_colon_cancer_norms(features: NDArray[np.float64]) -> bool:
    return bool(
        np.abs(features.mean(0)).max() <= 1e-6
        and np.abs(features.var(0, ddof=1) - 1).max() <= 1e-4
        and abs(np.linalg.norm(features, 2) - 138.8300) <= 1e-3
        and abs(np.linalg.norm(features[0]) - 41.50663) <= 1e-4
    )


def _colon_cancer_stand_in(why: str) -> Dataset:
    """Gaussian 62×2000, every sample and then every feature normalised, six digits kept."""
    rng = np.random.default_rng(20190617)
    features = rng.standard_normal((62, 2000))
    features = _standardise(_standardise(features, axis=1), axis=0)
    rounded = np.char.mod("%.6g", features).astype(float)
    labels = rng.permutation(np.repeat([-1.0, 1.0], [40, 22]))
    source = Source(
        name="colon-cancer",
        kind="stand-in",
        description=f"Gaussian noise in place of colon-cancer, 62×2000, because {why}",
        origin="numpy.random.default_rng(20190617)",
    )
    return Dataset(rounded, labels, source)


def _standardise(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    centred = values - values.mean(axis=axis, keepdims=True)
    scaled: NDArray[np.float64] = centred / centred.std(axis=axis, ddof=1, keepdims=True)
    return scaled


def _only_checks(parse: Callable[[bytes], object]) -> Callable[[bytes], None]:
    """Return `parse` as a check: it raises `ValueError` or passes."""

    def check(content: bytes) -> None:
        parse(content)

    return check


_COLON_CANCER = Remote(
    name="colon-cancer.bz2",
    url="https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/binary/colon-cancer.bz2",
    cap_mib=4,
    check=_only_checks(_parse_colon_cancer),
)
_FILES = {"colon-cancer": (_COLON_CANCER,)}
