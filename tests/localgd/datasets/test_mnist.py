"""MNIST: the files byte by byte, refused by name when they are broken, and the stand-in."""

import gzip
import struct

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from localgd import datasets
from localgd.datasets import download, idx, registry

IMAGES, LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
HOME = "https://ossci-datasets.s3.amazonaws.com/mnist/"
SIZES = {"train": 20, "test": 10}


def idx_file(values: np.ndarray) -> bytes:
    header = struct.pack(f">{1 + values.ndim}I", 0x800 + values.ndim, *values.shape)
    return gzip.compress(header + values.tobytes(), mtime=0)


@pytest.fixture(scope="module")
def small():
    """Pixels and labels of a data set like MNIST with 20 and 10 samples, and its files."""
    rng = np.random.default_rng(0)
    arrays, files = {}, {}
    for split, prefix in (("train", "train"), ("test", "t10k")):
        pixels = rng.integers(0, 256, (SIZES[split], 28, 28), np.uint8)
        labels = rng.integers(0, 10, SIZES[split], np.uint8)
        arrays[split] = pixels, labels
        files[f"{prefix}-images-idx3-ubyte.gz"] = idx_file(pixels)
        files[f"{prefix}-labels-idx1-ubyte.gz"] = idx_file(labels)
    return arrays, files


@pytest.fixture
def known(monkeypatch, small):
    """Make that data set the one whose hashes are known; returns it."""
    digests = [download.sha256(array) for split in SIZES for array in small[0][split]]
    pairs = {
        "train": idx._pair("train", SIZES["train"], *digests[:2]),
        "test": idx._pair("t10k", SIZES["test"], *digests[2:]),
    }
    files = (*pairs["train"], *pairs["test"])
    monkeypatch.setattr(idx, "_SIZES", SIZES)
    monkeypatch.setattr(idx, "_PAIRS", pairs)
    monkeypatch.setitem(registry._ENTRIES, "mnist", registry._Entry(files, lambda: files))
    return small


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("first", [None, 1, 7, 10])
def test_the_bytes_are_divided_by_255_in_file_order(given, known, split, first):
    arrays, files = known
    for name, content in files.items():
        (given / name).write_bytes(content)
    data = datasets.mnist(split, first=first)
    pixels, labels = (array[:first] for array in arrays[split])
    assert (data.features.dtype, data.labels.dtype) == (np.float32, np.int64)
    assert data.features.shape == (len(pixels), 1, 28, 28)
    np.testing.assert_array_equal(data.features[:, 0], pixels.astype(np.float32) / 255)
    np.testing.assert_array_equal(data.labels, labels)
    prefix = "train" if split == "train" else "t10k"
    assert data.source.kind == "real"
    assert data.source.sha256 == {
        name: download.sha256(content) for name, content in files.items() if name.startswith(prefix)
    }


def test_nodes_get_blocks_of_images(given, known):
    for name, content in known[1].items():
        (given / name).write_bytes(content)
    data = datasets.mnist()
    features, labels = data.split(3)
    assert [block.shape for block in features] == [(7, 1, 28, 28), (7, 1, 28, 28), (6, 1, 28, 28)]
    np.testing.assert_array_equal(np.concatenate(features), data.features)
    np.testing.assert_array_equal(np.concatenate(labels), data.labels)
    assert {block.dtype for block in labels} == {np.dtype(np.int64)}
    mixed, dealt = data.split(3, seed=1)
    order = np.random.default_rng(1).permutation(20)
    np.testing.assert_array_equal(np.concatenate(mixed), data.features[order])
    np.testing.assert_array_equal(np.concatenate(dealt), data.labels[order])


def regzipped(content: bytes, edit) -> bytes:
    return gzip.compress(edit(gzip.decompress(content)))


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        (IMAGES, lambda raw: b"", "it ends after 0 bytes, within its header of 16"),
        (IMAGES, lambda raw: b"<html>404</html>", "it is not gzip-compressed"),
        (IMAGES, lambda raw: raw[:-500], r"cut short \(Compressed file ended"),
        (IMAGES, lambda raw: raw[:400] + b"\0" * 50 + raw[450:], "it is not gzip|the SHA-256"),
        (
            IMAGES,
            lambda raw: regzipped(raw, lambda d: d[:-1]),
            "it holds fewer than the 15680 bytes of 20×28×28 values",
        ),
        (IMAGES, lambda raw: regzipped(raw, lambda d: d + b"\0"), "it holds more than the 15680"),
        (
            IMAGES,
            lambda raw: regzipped(raw, lambda d: d[:3] + b"\x01" + d[4:]),
            "its magic number is 0x00000801, expected 0x00000803",
        ),
        (
            IMAGES,
            lambda raw: regzipped(raw, lambda d: d[:7] + b"\x13" + d[8:]),
            "it declares sizes 19×28×28, expected 20×28×28",
        ),
        (
            IMAGES,
            lambda raw: regzipped(raw, lambda d: d[:-1] + bytes([d[-1] ^ 1])),
            "the SHA-256 of its values is [0-9a-f]{64}, expected [0-9a-f]{64}",
        ),
        (
            IMAGES,
            lambda raw: regzipped(raw, lambda d: d[:16] + d[16 + 784 :] + d[16 : 16 + 784]),
            "the SHA-256 of its values",
        ),
        (LABELS, lambda raw: regzipped(raw, lambda d: d[:8] + d[:7:-1]), "SHA-256 of its values"),
        (LABELS, lambda raw: gzip.compress(b"\0" * 2**24), "its magic number is 0x00000000"),
        (LABELS, lambda raw: regzipped(raw, lambda d: d[:6]), "it ends after 6 bytes"),
        (LABELS, lambda raw: regzipped(raw, lambda d: d[:-1]), "fewer than the 20 bytes of 20"),
    ],
)
@pytest.mark.parametrize("source", ["auto", "real"])
def test_a_broken_file_is_refused_by_name(given, known, name, spoil, message, source):
    for other, content in known[1].items():
        (given / other).write_bytes(content)
    (given / name).write_bytes(spoil(known[1][name]))
    with pytest.raises(ValueError, match=rf"given/{name} is not {name}: .*({message})"):
        datasets.mnist(first=1, source=source)


def test_other_digits_than_mnists_are_refused(given, small):
    for name, content in small[1].items():
        (given / name).write_bytes(content)
    with pytest.raises(ValueError, match="declares sizes 20×28×28, expected 60000×28×28"):
        datasets.mnist(first=1)


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        (IMAGES, lambda raw: gzip.compress(raw, 1)),
        ("train-images-idx3-ubyte", bytes),
        ("train-images.idx3-ubyte", bytes),
        ("train-images.idx3-ubyte.gz", gzip.compress),
        ("MNIST/raw/train-images-idx3-ubyte", bytes),
        ("MNIST/raw/train-images-idx3-ubyte.gz", gzip.compress),
    ],
)
def test_true_images_are_taken_as_other_tools_keep_them(given, known, name, pack):
    arrays, files = known
    (given / LABELS).write_bytes(files[LABELS])
    (given / name).parent.mkdir(parents=True, exist_ok=True)
    (given / name).write_bytes(pack(gzip.decompress(files[IMAGES])))
    data = datasets.mnist(source="real")
    np.testing.assert_array_equal(data.features[:, 0] * 255, arrays["train"][0])
    assert list(data.source.sha256) == [name.rpartition("/")[2], LABELS]
    (given / name).write_bytes(pack(gzip.decompress(files[IMAGES])[:-1] + b"\x07"))
    with pytest.raises(ValueError, match="the SHA-256 of its values"):
        datasets.mnist()


def test_an_absent_file_is_said_with_the_names_and_places_looked_at(given, nowhere):
    with pytest.raises(download.UnreachableError) as caught:
        datasets.mnist(source="real")
    said = str(caught.value)
    names = (IMAGES, IMAGES[:-3], "train-images.idx3-ubyte", "MNIST/raw/train-images-idx3-ubyte")
    assert all(part in said for part in (*names, f"in {given} and {nowhere}"))


def test_a_download_is_checked_and_then_cached(home, nowhere, known):
    served, asked = home
    served.update({HOME + name: content for name, content in known[1].items()})
    datasets.prefetch("mnist")
    assert asked == [HOME + name for name in known[1]]
    assert sorted(path.name for path in nowhere.iterdir()) == sorted(known[1])
    assert datasets.mnist(first=3).source.kind == datasets.mnist("test").source.kind == "real"
    assert len(asked) == 4


def test_a_split_downloads_its_own_files_alone(home, known):
    served, asked = home
    served.update({HOME + name: content for name, content in known[1].items()})
    datasets.mnist("test")
    assert asked == [HOME + name for name in known[1] if name.startswith("t10k")]


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (b"<html>404</html>", f"{HOME}{IMAGES} is not {IMAGES}: it is not gzip-compressed"),
        (b"x" * (11 * 2**20), "it is larger than 10 MiB"),
        (idx_file(np.zeros((20, 28, 28), np.uint8)), "the SHA-256 of its values is"),
    ],
)
def test_a_bad_download_is_an_error_and_never_cached(home, nowhere, known, sent, message):
    home[0][HOME + IMAGES] = sent
    with pytest.raises(ValueError, match=message):
        datasets.mnist()
    assert list(nowhere.glob("*")) == []


def test_the_fingerprint_follows_every_file(given, known):
    assert datasets.fingerprint("mnist") == "stand-in"
    seen = ["stand-in"]
    for name, content in known[1].items():
        (given / name).write_bytes(content)
        seen.append(datasets.fingerprint("mnist"))
    assert seen[1].split(" ")[1:] == ["-"] * 3
    assert seen[-1].split(" ") == [download.sha256(content) for content in known[1].values()]
    (given / LABELS).write_bytes(known[1][LABELS] + b"\0")
    seen.append(datasets.fingerprint("mnist"))
    assert len(set(seen)) == len(seen)


def test_without_network_auto_is_an_owned_up_stand_in(nowhere):
    data = datasets.mnist(first=50)
    assert data.source.kind == "stand-in"
    assert "in place of MNIST's train split, because" in data.source.description
    assert f"{IMAGES} cannot be read (ConnectionError)" in data.source.description
    np.testing.assert_array_equal(
        data.features, datasets.mnist(first=50, source="stand-in").features
    )


def test_without_network_real_is_an_error(nowhere):
    with pytest.raises(download.UnreachableError, match=f"{IMAGES} cannot be read"):
        datasets.mnist(source="real")


def test_one_file_of_two_is_not_enough(given, known):
    (given / IMAGES).write_bytes(known[1][IMAGES])
    assert datasets.mnist().source.kind == "stand-in"
    with pytest.raises(download.UnreachableError, match=f"{LABELS} cannot be read"):
        datasets.mnist(source="real")


@pytest.mark.parametrize(("split", "first"), [("train", 1000), ("test", 500), ("test", 1)])
def test_the_stand_in_is_digits_of_mnists_shape(split, first):
    data = datasets.mnist(split, first=first, source="stand-in")
    assert (data.features.shape, data.features.dtype) == ((first, 1, 28, 28), np.float32)
    assert (data.labels.shape, data.labels.dtype) == ((first,), np.int64)
    assert 0 <= data.features.min() < 0.01
    assert 0.9 < data.features.max() <= 1
    assert not data.features[:, :, [0, 1, 2, 3, 24, 25, 26, 27]].any()
    assert set(data.labels) <= set(range(10))
    again = datasets.mnist(split, first=first, source="stand-in")
    np.testing.assert_array_equal(data.features, again.features)
    assert len({image.tobytes() for image in data.features}) == first
    assert "moved" not in data.source.description


@pytest.mark.parametrize(("split", "size"), [("train", 60_000), ("test", 10_000)])
def test_the_whole_stand_in_has_as_many_samples_as_mnist(split, size):
    data = datasets.mnist(split, source="stand-in")
    distinct = 1297 if split == "train" else 500
    assert data.features.shape == (size, 1, 28, 28)
    assert f"{distinct} of them and the same moved" in data.source.description
    first = datasets.mnist(split, first=distinct, source="stand-in")
    np.testing.assert_array_equal(data.features[:distinct], first.features)
    assert len({image.tobytes() for image in data.features}) == size
    # Moved, never cut: every digit keeps all of its ink.
    ink = data.features.sum((1, 2, 3), dtype=np.float64)
    np.testing.assert_allclose(ink, np.resize(ink[:distinct], size), rtol=1e-6)
    np.testing.assert_array_equal(data.labels, np.resize(first.labels, size))


def test_the_stand_ins_splits_share_no_image():
    train = datasets.mnist("train", source="stand-in")
    test = datasets.mnist("test", first=500, source="stand-in")
    seen = {image.tobytes() for image in train.features}
    assert not any(image.tobytes() in seen for image in test.features)


def test_the_stand_in_can_be_learnt():
    train = datasets.mnist(first=1000, source="stand-in")
    test = datasets.mnist("test", first=500, source="stand-in")
    model = LogisticRegression(C=0.1, max_iter=1000)
    model.fit(train.features.reshape(1000, -1), train.labels)
    assert model.score(test.features.reshape(500, -1), test.labels) > 0.85


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "valid"}, "split='valid' must be 'train' or 'test'"),
        ({"first": 0}, "first=0 must be between 1 and the 60000 samples of the train split"),
        ({"first": -5}, "first=-5 must be"),
        ({"first": 60_001}, "first=60001 must be"),
        ({"split": "test", "first": 10_001}, "the 10000 samples of the test split"),
        ({"source": "genuine"}, "source='genuine' must be 'auto', 'real' or 'stand-in'"),
    ],
)
def test_what_there_is_not_is_an_error(nowhere, arguments, message):
    with pytest.raises(ValueError, match=message):
        datasets.mnist(**arguments)


def test_the_real_files_where_they_are_at_hand():
    if {"-", "stand-in"} & set(datasets.fingerprint("mnist").split(" ")):
        pytest.skip("MNIST's files are neither in LOCALGD_DATA nor in the cache")
    train, test = datasets.mnist("train", source="real"), datasets.mnist("test", source="real")
    assert train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    # Known of MNIST: its class counts, and the mean and deviation that everyone normalises by.
    assert np.bincount(train.labels).tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949,
    ]  # fmt: skip
    assert np.bincount(test.labels).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip
    assert train.features.mean(dtype=np.float64) == pytest.approx(0.1307, abs=5e-5)
    assert train.features.std(dtype=np.float64) == pytest.approx(0.3081, abs=5e-5)
    some = datasets.mnist(first=1000, source="real")
    np.testing.assert_array_equal(some.features, train.features[:1000])
    np.testing.assert_array_equal(some.labels, train.labels[:1000])
