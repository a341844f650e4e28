"""MNIST, from its IDX files."""

from __future__ import annotations

import gzip
import math
import zlib
from functools import partial
from io import BytesIO
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from localgd.datasets.dataset import Choice, Dataset, Source, choose
from localgd.datasets.download import Remote, fetch, known, sha256
from localgd.datasets.images import Split, count, dataset, share

_HOME = "https://ossci-datasets.s3.amazonaws.com/mnist/"
_SIZES = {"train": 60_000, "test": 10_000}


class _Pair(NamedTuple):
    """The two files of a split."""

    images: Remote
    labels: Remote


def mnist(split: Split = "train", *, first: int | None = None, source: Choice = "auto") -> Dataset:
    """Return MNIST: handwritten digits, pixels (n, 1, 28, 28) in [0, 1] and labels 0 to 9, (n,).

    60,000 training and 10,000 test images in the order of the files; pixels are the files'
    bytes divided by 255, float32, labels int64.  (LeCun et al. 1998; sections 3.2.1 and 3.2.2
    and appendix A of Zhang & Li 2019.)

    `first`: the first so many samples of the split; None for all.
    `source`: "real" makes data that cannot be had an error; "auto" falls back on the
    stand-in; "stand-in" asks for it.  The stand-in is scikit-learn's handwritten digits, 8×8
    resized to 20×20 and centred as MNIST's are, 1297 of them for training and the other 500
    for the test.  It has as many samples as were asked for: beyond those digits come the same
    again, moved by up to four pixels each way.
    Raises `ValueError` for a file with other content, naming it, for a `first` that the split
    does not have and for another `split` or `source`; `UnreachableError` under "real" where a
    file cannot be had.
    """
    n = count(split, first, _SIZES)
    return choose(source, partial(_real, split, n), partial(_stand_in, split, n))


def _real(split: Split, n: int) -> Dataset:
    files = [fetch(remote) for remote in _PAIRS[split]]
    images, labels = (content for _, content in files)
    size = _SIZES[split]
    return dataset(
        read_idx(images, (size, 28, 28), n)[:, None],
        read_idx(labels, (size,), n),
        Source(
            name="mnist",
            kind="real",
            description=f"MNIST's handwritten digits, {share(split, n, _SIZES)}",
            origin=_HOME,
            sha256={path.name: sha256(content) for path, content in files},
        ),
    )


def read_idx(content: bytes, shape: tuple[int, ...], first: int | None = None) -> NDArray[np.uint8]:
    """Return the bytes in an IDX file of this shape, only its `first` entries if given.

    The file, which may be gzipped, begins with 0x0000080k, unsigned bytes in k dimensions, and
    the k sizes, all big-endian 32-bit integers.  Raises `ValueError` for another header, for a
    file that is too short, and, where all of it is read, one that is too long.
    """
    wanted = shape if first is None else (first, *shape[1:])
    header, size = 4 + 4 * len(shape), math.prod(wanted)
    most = header + size + 1  # one more than expected tells a longer file
    try:
        plain = content[:2] == b"\0\0"
        data = content[:most] if plain else gzip.GzipFile(fileobj=BytesIO(content)).read(most)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"it is not gzip-compressed, or cut short ({error})") from error
    if len(data) < header:
        raise ValueError(f"it ends after {len(data)} bytes, within its header of {header}")
    magic, *sizes = np.frombuffer(data, ">u4", 1 + len(shape)).tolist()
    if magic != 0x800 + len(shape):
        raise ValueError(f"its magic number is 0x{magic:08x}, expected 0x{0x800 + len(shape):08x}")
    if tuple(sizes) != shape:
        raise ValueError(f"it declares sizes {_by(sizes)}, expected {_by(shape)}")
    held = len(data) - header
    if held < size or (held > size and wanted == shape):
        less = "fewer" if held < size else "more"
        raise ValueError(f"it holds {less} than the {size} bytes of {_by(wanted)} values")
    return np.frombuffer(data, np.uint8, size, offset=header).reshape(wanted)


def _by(sizes: tuple[int, ...] | list[int]) -> str:
    return "×".join(map(str, sizes))


def _stand_in(split: Split, n: int, why: str) -> Dataset:
    from scipy.ndimage import zoom
    from sklearn.datasets import load_digits

    digits = load_digits()
    half = slice(0, 1297) if split == "train" else slice(1297, 1797)
    small, labels = digits.images[half], digits.target[half].astype(np.uint8)
    large = np.rint(zoom(small, (1, 2.5, 2.5), order=1) * (255 / 16)).astype(np.uint8)
    # Four pixels are left on every side; the nearest moves come first, the unmoved before all.
    moves = [(y, x) for y in range(9) for x in range(9)]
    moves.sort(key=lambda move: (move[0] - 4) ** 2 + (move[1] - 4) ** 2)
    pixels = np.zeros((n, 1, 28, 28), np.uint8)
    for start, (y, x) in zip(range(0, n, len(large)), moves, strict=False):
        block = pixels[start : start + len(large), 0]
        block[:, y : y + 20, x : x + 20] = large[: len(block)]
    again = "" if n <= len(large) else f", {len(large)} of them and the same moved"
    return dataset(
        pixels,
        np.resize(labels, n),
        Source(
            name="mnist",
            kind="stand-in",
            description=f"{n} images of scikit-learn's handwritten digits, 8×8 resized to "
            f"28×28{again}, in place of MNIST's {split} split, because {why}",
            origin="sklearn.datasets.load_digits",
        ),
    )


def _pair(prefix: str, size: int, images_sha256: str, labels_sha256: str) -> _Pair:
    """Return the files of a split, by the hashes of their values.

    Looked for under its own name, unpacked, with a dot in its name, and where torchvision puts it.
    """
    remotes = []
    for kind, shape, expected, cap_mib in (
        ("images-idx3", (size, 28, 28), images_sha256, 10),
        ("labels-idx1", (size,), labels_sha256, 1),
    ):
        name = f"{prefix}-{kind}-ubyte.gz"
        bare = name.removesuffix(".gz")
        dotted = f"{prefix}-{kind.replace('-', '.', 1)}-ubyte"
        others = (bare, dotted, f"{dotted}.gz", f"MNIST/raw/{name}", f"MNIST/raw/{bare}")
        check = known(expected, partial(read_idx, shape=shape))
        remotes.append(Remote(name, _HOME + name, cap_mib, check, others=others))
    return _Pair(*remotes)


# The hashes of the values in files whose MD5s are the published ones (f68b3c2d…, d53e105e…;
# 9fb629c4…, ec29112d…).
_PAIRS = {
    "train": _pair(
        "train",
        _SIZES["train"],
        "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
        "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
    ),
    "test": _pair(
        "t10k",
        _SIZES["test"],
        "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
        "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
    ),
}
FILES = (*_PAIRS["train"], *_PAIRS["test"])
