"""colon-cancer, from LIBSVM's text."""

from __future__ import annotations

import bz2
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from localgd.datasets.dataset import Choice, Dataset, Source, choose
from localgd.datasets.download import Remote, fetch, sha256


def colon_cancer(source: Choice = "auto") -> Dataset:
    """Return colon-cancer as LIBSVM serves it: 62 samples, 2000 gene expressions, labels ±1.

    40 samples are labelled −1 and 22 labelled +1.  LIBSVM has normalised every sample and
    then every feature, to mean 0 and sample variance 1 over the 62 samples, and printed
    the result with six digits.  (Alon et al. 1999; section 2.3.2 of Zhang & Li 2019.)

    `source`: "real" makes data that cannot be had an error; "auto" falls back on the
    stand-in, a Gaussian matrix treated the same way; "stand-in" asks for it.
    Raises `ValueError` for a file with other content, naming it, and for another `source`;
    `UnreachableError` under "real" where the file cannot be had.
    """
    return choose(source, _real, _stand_in)


def _real() -> Dataset:
    path, content = fetch(_COLON_CANCER)
    features, labels = _parse(content)
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


def _parse(content: bytes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
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
    if not _has_its_norms(features):
        raise ValueError("the numbers are not colon-cancer's: standardisation or norms differ")
    return features, labels


def _has_its_norms(features: NDArray[np.float64]) -> bool:
    return bool(
        np.abs(features.mean(0)).max() <= 1e-6
        and np.abs(features.var(0, ddof=1) - 1).max() <= 1e-4
        and abs(np.linalg.norm(features, 2) - 138.8300) <= 1e-3
        and abs(np.linalg.norm(features[0]) - 41.50663) <= 1e-4
    )


def _stand_in(why: str) -> Dataset:
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
    check=_only_checks(_parse),
)
FILES = (_COLON_CANCER,)
