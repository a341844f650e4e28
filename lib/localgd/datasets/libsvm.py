"""colon-cancer, from LIBSVM's text."""

from __future__ import annotations

import bz2
import re

import numpy as np
from numpy.typing import NDArray

from localgd.datasets.dataset import Choice, Dataset, Source, choose
from localgd.datasets.download import Remote, fetch, known, sha256

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_MOST_BYTES = 4 * 2**20  # of unpacked text; the file has 1.7 million


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
    """Read LIBSVM's text, `label 1:value … 2000:value` a line; raise `ValueError` with the line."""
    features, labels = np.full((62, 2000), np.nan), np.zeros(62)
    lines = _text(content).splitlines()
    if len(lines) != 62:
        raise ValueError(f"it has {len(lines)} samples, expected 62")
    for row, line in enumerate(lines):
        label, *entries = line.split() or [""]
        if not _NUMBER.fullmatch(label) or float(label) not in (-1, 1):
            raise ValueError(f"line {row + 1} has the label {label[:20]!r}, expected -1 or +1")
        labels[row] = float(label)
        for entry in entries:
            index, _, value = entry.partition(":")
            if not index.isdecimal() or len(index) > 4 or not 1 <= int(index) <= 2000:
                raise ValueError(f"line {row + 1} has a feature {index[:20]}, expected 1 to 2000")
            if not _NUMBER.fullmatch(value):
                raise ValueError(
                    f"line {row + 1}: feature {index} is {value[:20]!r}, which is not a number"
                )
            if not np.isnan(features[row, int(index) - 1]):
                raise ValueError(f"line {row + 1} has feature {index} twice")
            features[row, int(index) - 1] = float(value)
        missing = np.flatnonzero(np.isnan(features[row]))
        if len(missing):
            raise ValueError(f"line {row + 1} has no feature {missing[0] + 1}")
    return features, labels


def _text(content: bytes) -> str:
    try:
        reader = bz2.BZ2Decompressor()
        data = reader.decompress(content, _MOST_BYTES)
        if not reader.eof and len(data) < _MOST_BYTES:
            raise EOFError("it ends in the middle")
        text = data.decode("ascii")
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"it is not bzip2-compressed text ({error})") from error
    if len(data) == _MOST_BYTES or reader.unused_data:
        raise ValueError(f"it holds more than the {_MOST_BYTES} bytes that 62 samples can take")
    return text


def _printed(content: bytes) -> bytes:
    """Return labels and features with the six digits that LIBSVM prints.

    Copies of the file differ in their text, and by 1e-16 in what a reader made of it.
    """
    features, labels = _parse(content)
    return " ".join(f"{value:.6g}" for value in [*labels, *features.flat]).encode()


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


_COLON_CANCER = Remote(
    name="colon-cancer.bz2",
    url="https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/binary/colon-cancer.bz2",
    cap_mib=4,
    check=known("bb63c0dcc8015315e6d258a8513311a4c1a9cf857681057484f2cf80424995a9", _printed),
)
FILES = (_COLON_CANCER,)
