"""CIFAR-10, from its binary version."""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from functools import partial
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from localgd.datasets.dataset import Choice, Dataset, Source, choose
from localgd.datasets.download import (
    Remote,
    UnreachableError,
    fetch,
    find_local,
    find_named,
    known,
    sha256,
)
from localgd.datasets.images import Split, count, dataset, share
from localgd.datasets.stand_in import patches

_ARCHIVE = "cifar-10-binary.tar.gz"
_HOME = f"https://www.cs.toronto.edu/~kriz/{_ARCHIVE}"
_HOME_BYTES, _HOME_MD5 = 170_052_171, "c32a1d4ab5d03f1284b67883e8d87530"
_SIZES = {"train": 50_000, "test": 10_000}
_PICKLED = "of the Python version, pickles, which may run any code and are not read"
#: The forms in which others keep it, torchvision among them.
_UNREAD = {
    _ARCHIVE: "not unpacked",
    "cifar-10-batches-py/data_batch_1": _PICKLED,
    "cifar-10-batches-py/test_batch": _PICKLED,
    "cifar-10-python.tar.gz": _PICKLED,
}
_BATCH = 10_000  # records in a file
_START = 1000  # records in the beginning of the test batch, and samples that the paper uses
_RECORD = 1 + 3 * 32 * 32  # bytes: the label, then the red, green and blue planes by rows


def cifar10(
    split: Split = "train", *, first: int | None = None, source: Choice = "auto"
) -> Dataset:
    """Return CIFAR-10: photographs, pixels (n, 3, 32, 32) in [0, 1] and labels 0 to 9, (n,).

    50,000 training and 10,000 test images in the order of the files; pixels are the files'
    bytes divided by 255, float32, red, green, blue, and labels int64: airplane, automobile,
    bird, cat, deer, dog, frog, horse, ship, truck.  (Krizhevsky 2009; section 3.2.2 of
    Zhang & Li 2019.)

    `first`: the first so many samples of the split; None for all.  Only the files that hold
    them are needed: `cifar-10-batches-bin/data_batch_1.bin` alone up to 10,000, and so on;
    up to 1000 test images `cifar10_test_first1000.bin` will do.  The Python version is not read:
    its files are pickles, which may run any code.
    `source`: "real" makes data that cannot be had an error; "auto" falls back on the
    stand-in, also where only a part of what is asked for is on this machine; "stand-in" asks
    for it.  The stand-in is as many patches cut from ten regions of scikit-learn's two sample
    photographs, which region being the label; no pixel is in both its splits.
    Raises `ValueError` for a file with other content, naming it, for a `first` that the split
    does not have and for another `split` or `source`; `UnreachableError` under "real" where a
    file cannot be had, saying how many samples are on this machine.
    """
    n = count(split, first, _SIZES)
    return choose(source, partial(_real, split, n), partial(_stand_in, split, n))


def wanted() -> tuple[Remote, ...]:
    """Return the files that hold the first 1000 samples of each split, the paper's own choice."""
    return (*_holding("train", _START), *_holding("test", _START))


def _real(split: Split, n: int) -> Dataset:
    try:
        files = [fetch(remote) for remote in _holding(split, n)]
    except UnreachableError as error:
        raise UnreachableError(f"{error}; {_at_hand(split)}{_unread()}") from error
    records = np.concatenate([_records(content) for _, content in files])[:n]
    return dataset(
        records[:, 1:].reshape(n, 3, 32, 32),
        records[:, 0],
        Source(
            name="cifar10",
            kind="real",
            description=f"CIFAR-10's photographs, {share(split, n, _SIZES)}",
            origin=_HOME,
            sha256={path.name: sha256(content) for path, content in files},
        ),
    )


def _holding(split: Split, n: int) -> tuple[Remote, ...]:
    """Return the files to read for the first n samples of a split."""
    if split == "train":
        return _TRAIN[: -(-n // _BATCH)]
    if n <= _START and find_local(_TEST) is None and find_local(_TEST_START) is not None:
        return (_TEST_START,)
    return (_TEST,)


def _at_hand(split: Split) -> str:
    """Say how many of the split's samples are on this machine, from the first without a gap."""
    if split == "train":
        there = [find_local(remote) is not None for remote in _TRAIN]
        held = _BATCH * [*there, False].index(False)
    elif find_local(_TEST) is not None:
        held = _BATCH
    else:
        held = 0 if find_local(_TEST_START) is None else _START
    samples = f"the first {held}" if held else "none"
    return f"of the {_SIZES[split]} samples of the {split} split {samples} are on this machine"


def _unread() -> str:
    """Say what is on this machine in a form that is not read, and what to do about it."""
    for name, form in _UNREAD.items():
        if (path := find_named((name,))) is not None:
            place = path.parents[name.count("/")]
            return f"; {path} is {form}: unpack the binary version, {_ARCHIVE}, into {place}"
    return ""


def _records(content: bytes, size: int | None = None) -> NDArray[np.uint8]:
    """Return the records in a file, (n, 3073).

    Raises `ValueError` where there are not `size` of them, and for a label above 9.
    """
    if size is not None and len(content) != size * _RECORD:
        raise ValueError(
            f"it has {len(content)} bytes, expected {size * _RECORD}: {size} records of {_RECORD}"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, _RECORD)
    if (labels := records[:, 0]).max(initial=0) > 9:
        row = int(np.flatnonzero(labels > 9)[0])
        raise ValueError(f"record {row} has label {labels[row]}, expected 0 to 9")
    return records


def _unpack(archive: bytes) -> dict[str, bytes]:
    """Return the six batches in the archive, read by their exact names.

    The archive's checksum vouches for what is in it.  Raises `ValueError` for another archive
    and for one that lacks a batch.
    """
    if len(archive) != _HOME_BYTES:
        raise ValueError(f"the archive has {len(archive)} bytes, expected {_HOME_BYTES}")
    md5 = hashlib.md5(archive, usedforsecurity=False).hexdigest()
    if md5 != _HOME_MD5:
        raise ValueError(f"the archive's MD5 is {md5}, expected {_HOME_MD5}")
    batches = {}
    try:
        with tarfile.open(fileobj=BytesIO(archive), mode="r:gz") as members:
            for remote in (*_TRAIN, _TEST):
                member = members.getmember(remote.name)
                file = members.extractfile(member) if member.isreg() else None
                if file is None or member.size != _BATCH * _RECORD:
                    raise ValueError(f"{remote.name} in the archive is not a batch")
                batches[remote.name] = file.read()
    except (KeyError, OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise ValueError(f"the archive cannot be unpacked: {error}") from error
    return batches


def _stand_in(split: Split, n: int, why: str) -> Dataset:
    pixels, labels = patches(split, _SIZES[split])
    return dataset(
        pixels[:n],
        labels[:n],
        Source(
            name="cifar10",
            kind="stand-in",
            description=f"{n} patches of 32×32 pixels from ten regions of scikit-learn's two "
            f"sample photographs, in place of CIFAR-10's {split} split, because {why}",
            origin="sklearn.datasets.load_sample_images",
        ),
    )


def _batch(name: str, expected: str) -> Remote:
    check = known(expected, partial(_records, size=_BATCH))
    return Remote(f"cifar-10-batches-bin/{name}.bin", _HOME, 163, check, _unpack)


# Published by others who unpack the archive; the first is that of the file we have.
_TRAIN = (
    _batch("data_batch_1", "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5"),
    _batch("data_batch_2", "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed"),
    _batch("data_batch_3", "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67"),
    _batch("data_batch_4", "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48"),
    _batch("data_batch_5", "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add"),
)
_TEST = _batch("test_batch", "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b")
#: The beginning of the test batch; it has no home of its own and is only used where it is.
_TEST_START = Remote(
    "cifar10_test_first1000.bin",
    _HOME,
    163,
    known(
        "8314c96d7cd65618193bab23acdd5d4c4af15bf6dd00a1781d55beedf3be1ef5",
        partial(_records, size=_START),
    ),
)
FILES = (*_TRAIN, _TEST, _TEST_START)
