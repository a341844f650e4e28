"""CIFAR-10: records byte by byte, the archive read by exact names, parts, and the stand-in."""

import hashlib
import io
import os
import pickle
import tarfile

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from localgd import datasets
from localgd.datasets import cifar, download, registry, stand_in

HOME = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
BATCH, START = 4, 2
TRAIN = [f"cifar-10-batches-bin/data_batch_{number}.bin" for number in range(1, 6)]
TEST, PART = "cifar-10-batches-bin/test_batch.bin", "cifar10_test_first1000.bin"


def archive(files: dict[str, bytes], *extra: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for info in extra:
            tar.addfile(info)
    return buffer.getvalue()


@pytest.fixture
def small(monkeypatch):
    """Make a data set of six batches of four records the one that is known; returns its files."""
    rng = np.random.default_rng(0)
    files = {}
    for name in (*TRAIN, TEST):
        records = rng.integers(0, 256, (BATCH, 3073), np.uint8)
        records[:, 0] %= 10
        files[name] = records.tobytes()
    for name, value in (
        ("_SIZES", {"train": 5 * BATCH, "test": BATCH}),
        ("_BATCH", BATCH),
        ("_START", START),
    ):
        monkeypatch.setattr(cifar, name, value)
    short = [name.rpartition("/")[2].removesuffix(".bin") for name in files]
    batches = [
        cifar._batch(*pair)
        for pair in zip(short, map(download.sha256, files.values()), strict=True)
    ]
    beginning = files[TEST][: START * 3073]
    start = cifar._TEST_START._replace(
        check=download.known(download.sha256(beginning), lambda raw: cifar._records(raw, START))
    )
    monkeypatch.setattr(cifar, "_TRAIN", tuple(batches[:5]))
    monkeypatch.setattr(cifar, "_TEST", batches[5])
    monkeypatch.setattr(cifar, "_TEST_START", start)
    entry = registry._Entry((*batches, start), cifar.wanted)
    monkeypatch.setitem(registry._ENTRIES, "cifar10", entry)
    return files


def put(directory, files, *names):
    (directory / "cifar-10-batches-bin").mkdir(exist_ok=True)
    for name in names:
        (directory / name).write_bytes(files[name])


def serve(home, monkeypatch, content: bytes) -> list[str]:
    """Put an archive at its home, with the checksum that is asked of it; returns the requests."""
    served, asked = home
    served[HOME] = content
    monkeypatch.setattr(cifar, "_HOME_BYTES", len(content))
    monkeypatch.setattr(cifar, "_HOME_MD5", hashlib.md5(content).hexdigest())
    return asked


@pytest.mark.parametrize("first", [1, 4, 5, 19, 20, None])
def test_records_are_labels_and_planes_in_file_order(given, small, first):
    put(given, small, *TRAIN)
    data = datasets.cifar10(first=first)
    records = np.frombuffer(b"".join(small[name] for name in TRAIN), np.uint8).reshape(20, 3073)
    records = records[:first]
    assert (data.features.dtype, data.labels.dtype) == (np.float32, np.int64)
    assert data.features.shape == (len(records), 3, 32, 32)
    np.testing.assert_array_equal(data.labels, records[:, 0])
    np.testing.assert_array_equal(
        data.features.reshape(len(records), -1), records[:, 1:].astype(np.float32) / 255
    )
    # red of row 0, column 1; green of row 2, column 3; blue of the last pixel
    for channel, row, column in ((0, 0, 1), (1, 2, 3), (2, 31, 31)):
        byte = records[0, 1 + 1024 * channel + 32 * row + column]
        assert data.features[0, channel, row, column] == np.float32(byte) / np.float32(255)
    assert data.source.kind == "real"
    assert len(data.source.sha256) == -(-len(records) // BATCH)
    assert [len(block) for block in data.split(1)[0]] == [len(records)]


def test_only_the_batches_that_hold_the_samples_are_needed(given, small):
    put(given, small, *TRAIN[:2])
    assert datasets.cifar10(first=8).source.kind == "real"
    assert datasets.cifar10(first=9).source.kind == "stand-in"
    held = "of the 20 samples of the train split the first 8 are on this machine"
    with pytest.raises(download.UnreachableError, match=held):
        datasets.cifar10(first=9, source="real")
    data = datasets.cifar10(first=9)
    assert data.features.shape == (9, 3, 32, 32)
    assert held in data.source.description


def test_a_gap_in_the_batches_ends_what_is_at_hand(given, small):
    put(given, small, *TRAIN[1:])
    with pytest.raises(
        download.UnreachableError, match="of the train split none are on this machine"
    ):
        datasets.cifar10(first=1, source="real")


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("cifar-10-batches-py/data_batch_1", "of the Python version, pickles, which may run"),
        ("cifar-10-batches-py/test_batch", "of the Python version, pickles, which may run"),
        ("cifar-10-python.tar.gz", "of the Python version, pickles, which may run"),
        ("cifar-10-binary.tar.gz", "not unpacked"),
    ],
)
@pytest.mark.parametrize("split", ["train", "test"])
def test_what_is_here_in_another_form_is_named_and_never_read(
    given, small, tmp_path, name, form, split
):
    class Mark:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "executed"),))

    path = given / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps(Mark()))
    with pytest.raises(download.UnreachableError) as caught:
        datasets.cifar10(split, source="real")
    said = str(caught.value)
    assert f"{path} is {form}" in said
    assert said.endswith(f": unpack the binary version, cifar-10-binary.tar.gz, into {given}")
    assert f"{path} is {form}" in datasets.cifar10(split).source.description
    assert not (tmp_path / "executed").exists()
    put(given, small, *TRAIN, TEST)
    assert datasets.cifar10(split, source="real").source.kind == "real"


def test_the_beginning_of_the_test_batch_serves_as_far_as_it_goes(given, small):
    (given / PART).write_bytes(small[TEST][: START * 3073])
    data = datasets.cifar10("test", first=START)
    assert data.source.kind == "real"
    assert list(data.source.sha256) == [PART]
    with pytest.raises(
        download.UnreachableError,
        match="of the 4 samples of the test split the first 2 are on this",
    ):
        datasets.cifar10("test", first=START + 1, source="real")
    put(given, small, TEST)
    whole = datasets.cifar10("test", first=START)
    assert list(whole.source.sha256) == ["test_batch.bin"]
    np.testing.assert_array_equal(whole.features, data.features)
    np.testing.assert_array_equal(datasets.cifar10("test").features[:START], data.features)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda raw: b"", "it has 0 bytes, expected 12292: 4 records of 3073"),
        (lambda raw: raw[:-1], "it has 12291 bytes"),
        (lambda raw: raw + b"\0", "it has 12293 bytes"),
        (lambda raw: raw[: 2 * 3073] + b"\x0a" + raw[2 * 3073 + 1 :], "record 2 has label 10"),
        (
            lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]),
            "the SHA-256 of its values is [0-9a-f]{64}, expected",
        ),
    ],
)
def test_a_broken_file_is_refused_by_name(given, small, spoil, message):
    name = TRAIN[0]
    put(given, small | {name: spoil(small[name])}, name)
    for source in ("auto", "real"):
        with pytest.raises(ValueError, match=rf"given/{name} is not {name}: {message}"):
            datasets.cifar10(first=1, source=source)


def test_a_broken_beginning_is_refused_by_name(given, small):
    (given / PART).write_bytes(small[TRAIN[0]][: START * 3073])
    with pytest.raises(ValueError, match=f"{PART} is not {PART}: the SHA-256 of its values is"):
        datasets.cifar10("test", first=1)


def test_one_download_brings_every_batch_and_nothing_else(home, nowhere, small, monkeypatch):
    files = {
        "cifar-10-batches-bin/readme.html": b"<html>",
        **small,
        "../outside.bin": b"out",
        "/tmp/outside.bin": b"out",
    }
    asked = serve(home, monkeypatch, archive(files))
    data = datasets.cifar10(first=1)
    assert data.source.kind == "real"
    assert asked == [HOME]
    found = {str(p.relative_to(nowhere)): p.read_bytes() for p in nowhere.rglob("*") if p.is_file()}
    assert found == small
    assert datasets.cifar10().features.shape == (20, 3, 32, 32)
    assert datasets.cifar10("test").features.shape == (4, 3, 32, 32)
    assert asked == [HOME]


def test_a_batch_that_is_here_already_is_not_brought_again(
    home, nowhere, given, small, monkeypatch
):
    put(given, small, TRAIN[0])
    serve(home, monkeypatch, archive(small))
    assert datasets.cifar10(first=5).source.kind == "real"
    assert not (nowhere / TRAIN[0]).exists()
    assert sorted(path.name for path in (nowhere / "cifar-10-batches-bin").iterdir()) == [
        "data_batch_2.bin",
        "data_batch_3.bin",
        "data_batch_4.bin",
        "data_batch_5.bin",
        "test_batch.bin",
    ]


def linked(name: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, TRAIN[0]
    return info


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda files: archive(dict(list(files.items())[:-1])), "test_batch.bin' not found"),
        (
            lambda files: archive(dict(list(files.items())[:-1]), linked(TEST, tarfile.SYMTYPE)),
            "test_batch.bin in the archive is not a batch",
        ),
        (
            lambda files: archive(dict(list(files.items())[:-1]), linked(TEST, tarfile.LNKTYPE)),
            "test_batch.bin in the archive is not a batch",
        ),
        (
            lambda files: archive(files | {TRAIN[2]: files[TRAIN[2]] + b"\0"}),
            "data_batch_3.bin in the archive is not a batch",
        ),
        (lambda files: archive(files)[:-2000], "the archive cannot be unpacked"),
        (lambda files: b"<html>404</html>", "the archive cannot be unpacked: not a gzip file"),
        (
            lambda files: archive(files | {TRAIN[0]: files[TRAIN[1]]}),
            "the SHA-256 of its values is [0-9a-f]{64}, expected",
        ),
    ],
)
def test_a_bad_archive_is_an_error_and_nothing_is_cached(
    home, nowhere, small, monkeypatch, make, message
):
    serve(home, monkeypatch, make(small))
    with pytest.raises(ValueError, match=f"{HOME} does not hold {TRAIN[0]}: .*{message}"):
        datasets.cifar10(first=1)
    assert not [path for path in nowhere.rglob("*") if path.is_file()]


@pytest.mark.parametrize("source", ["auto", "real"])
def test_another_archive_than_the_published_one_is_refused(
    home, nowhere, small, monkeypatch, source
):
    served, _ = home
    served[HOME] = archive(small)
    with pytest.raises(ValueError, match=r"archive has \d+ bytes, expected 170052171"):
        datasets.cifar10(first=1, source=source)
    monkeypatch.setattr(cifar, "_HOME_BYTES", len(served[HOME]))
    with pytest.raises(
        ValueError, match=r"archive's MD5 is \w{32}, expected c32a1d4ab5d03f1284b67883e8d87530"
    ):
        datasets.cifar10(first=1, source=source)
    assert not [path for path in nowhere.rglob("*") if path.is_file()]


def test_a_download_without_end_is_cut_off(home, nowhere, monkeypatch):
    monkeypatch.setattr(cifar, "_TRAIN", (cifar._TRAIN[0]._replace(cap_mib=1),))
    home[0][HOME] = b"x" * (2**20 + 1)
    with pytest.raises(ValueError, match="it is larger than 1 MiB"):
        datasets.cifar10(first=1)
    assert not [path for path in nowhere.rglob("*") if path.is_file()]


def test_the_cap_lets_the_archive_through():
    assert 0 < cifar._TRAIN[0].cap_mib * 2**20 - cifar._HOME_BYTES < 2**20


def test_prefetch_stops_at_what_the_paper_uses(home, given, small, monkeypatch):
    asked = serve(home, monkeypatch, archive(small))
    put(given, small, TRAIN[0])
    (given / PART).write_bytes(small[TEST][: START * 3073])
    before = datasets.fingerprint("cifar10")
    datasets.prefetch("cifar10")
    assert asked == []
    assert datasets.fingerprint("cifar10") == before
    (given / PART).unlink()
    datasets.prefetch("cifar10")
    assert asked == [HOME]


def test_the_fingerprint_follows_every_file(given, small):
    seen = [datasets.fingerprint("cifar10")]
    assert seen == ["stand-in"]
    for name in small:
        put(given, small, name)
        seen.append(datasets.fingerprint("cifar10"))
    (given / PART).write_bytes(b"part")
    seen.append(datasets.fingerprint("cifar10"))
    assert len(set(seen)) == len(seen)
    assert seen[1] == " ".join([download.sha256(small[TRAIN[0]]), *"------"])


def test_without_network_auto_is_an_owned_up_stand_in(nowhere):
    data = datasets.cifar10("test", first=5)
    assert data.source.kind == "stand-in"
    assert f"in place of CIFAR-10's test split, because {HOME} cannot be read" in (
        data.source.description
    )
    assert "none are on this machine" in data.source.description
    with pytest.raises(download.UnreachableError, match="cannot be read"):
        datasets.cifar10("test", first=5, source="real")


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_stand_in_has_cifars_shape(split):
    data = datasets.cifar10(split, first=1000, source="stand-in")
    assert (data.features.shape, data.features.dtype) == ((1000, 3, 32, 32), np.float32)
    assert (data.labels.shape, data.labels.dtype) == ((1000,), np.int64)
    assert 0 <= data.features.min() < 0.1
    assert 0.9 < data.features.max() <= 1
    assert np.bincount(data.labels, minlength=10).min() > 70
    longer = datasets.cifar10(split, first=1010, source="stand-in")
    np.testing.assert_array_equal(longer.features[:1000], data.features)
    np.testing.assert_array_equal(longer.labels[:1000], data.labels)


def test_the_whole_stand_in_has_as_many_samples_as_cifar():
    assert datasets.cifar10("test", source="stand-in").labels.shape == (10_000,)
    _, labels = stand_in.patches("train", 50_000)
    assert np.bincount(labels).tolist() == [5000] * 10


def test_the_stand_ins_splits_share_no_pixel():
    covered = {}
    for split in ("train", "test"):
        seen = np.zeros((160, 160), bool)
        for row, column in stand_in.places(split):
            seen[row : row + 32, column : column + 32] = True
        covered[split] = seen
    assert not (covered["train"] & covered["test"]).any()
    for corners in (stand_in._CHINA, stand_in._FLOWER):
        regions = np.zeros((427, 640), int)
        for row, column in corners:
            assert 0 <= row <= 427 - 160
            assert 0 <= column <= 640 - 160
            regions[row : row + 160, column : column + 160] += 1
        assert regions.max() == 1


def test_the_stand_in_can_be_learnt():
    train = datasets.cifar10(first=1000, source="stand-in")
    test = datasets.cifar10("test", first=1000, source="stand-in")

    def colours(data):  # 4×4 pixels with the channels' means over 8×8
        return data.features.reshape(1000, 3, 4, 8, 4, 8).mean((3, 5)).reshape(1000, -1)

    model = LogisticRegression(max_iter=2000).fit(colours(train), train.labels)
    assert model.score(colours(test), test.labels) > 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "valid"}, "split='valid' must be 'train' or 'test'"),
        ({"first": 0}, "first=0 must be between 1 and the 50000 samples of the train split"),
        ({"split": "test", "first": 10_001}, "first=10001 must be between 1 and the 10000"),
        ({"source": "genuine"}, "source='genuine' must be"),
    ],
)
def test_what_there_is_not_is_an_error(nowhere, arguments, message):
    with pytest.raises(ValueError, match=message):
        datasets.cifar10(**arguments)


def test_the_real_files_where_they_are_at_hand():
    there = datasets.fingerprint("cifar10").split(" ")
    if there[0] in ("stand-in", "-"):
        pytest.skip("data_batch_1.bin is neither in LOCALGD_DATA nor in the cache")
    data = datasets.cifar10(first=1000, source="real")
    # The first training images are a frog, two trucks, a deer and two cars.
    assert data.labels[:10].tolist() == [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]
    np.testing.assert_array_equal(np.rint(data.features[0, :, 0, 0] * 255), [59, 62, 63])
    batch = datasets.cifar10(first=10_000, source="real")
    assert np.bincount(batch.labels).tolist() == [
        1005, 974, 1032, 1016, 999, 937, 1030, 1001, 1025, 981,
    ]  # fmt: skip
    means = batch.features.mean((0, 2, 3), dtype=np.float64)
    np.testing.assert_allclose(means, [0.4914, 0.4822, 0.4465], atol=3e-3)
    np.testing.assert_array_equal(batch.features[:1000], data.features)


def test_the_real_beginning_of_the_test_batch_where_it_is_at_hand():
    there = datasets.fingerprint("cifar10").split(" ")
    if there[0] == "stand-in" or there[5:] == ["-", "-"]:
        pytest.skip("neither test_batch.bin nor its beginning is in LOCALGD_DATA or the cache")
    data = datasets.cifar10("test", first=1000, source="real")
    assert data.labels[:10].tolist() == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]
