"""Data are found, checked, fetched or honestly replaced; a broken file never passes."""

import bz2
import re
import subprocess
import sys
import tracemalloc

import numpy as np
import pooch
import pytest

from localgd import LeastSquares, datasets, run
from localgd.datasets import download, libsvm, registry


@pytest.fixture(scope="module")
def genuine() -> bytes:
    """Bytes that pass for colon-cancer: the stand-in's numbers, in LIBSVM's text."""
    data = datasets.colon_cancer("stand-in")
    lines = [
        f"{label:+.0f} " + " ".join(f"{k}:{v:.6g}" for k, v in enumerate(row, start=1))
        for label, row in zip(data.labels, data.features, strict=True)
    ]
    return bz2.compress("\n".join(lines).encode())


@pytest.fixture
def lenient(monkeypatch, genuine):
    """Make the stand-in's numbers the ones that are known."""
    check = download.known(download.sha256(libsvm._printed(genuine)), libsvm._printed)
    monkeypatch.setattr(libsvm, "_COLON_CANCER", libsvm._COLON_CANCER._replace(check=check))
    entry = registry._Entry((libsvm._COLON_CANCER,), lambda: (libsvm._COLON_CANCER,))
    monkeypatch.setitem(registry._ENTRIES, "colon-cancer", entry)
    return genuine


def test_without_network_auto_is_an_owned_up_stand_in(nowhere):
    data = datasets.colon_cancer()
    assert data.source.kind == "stand-in"
    assert "cannot be read" in data.source.description
    assert datasets.fingerprint("colon-cancer") == "stand-in"
    assert not nowhere.exists() or not list(nowhere.iterdir())


def test_without_network_real_is_an_error(nowhere):
    with pytest.raises(download.UnreachableError, match=r"colon-cancer\.bz2 cannot be read"):
        datasets.colon_cancer("real")


def test_the_stand_in_has_the_shape_of_the_real_data():
    data = datasets.colon_cancer("stand-in")
    assert data.features.shape == (62, 2000)
    assert sorted(set(data.labels)) == [-1.0, 1.0]
    assert (data.labels == -1).sum() == 40
    assert np.abs(data.features.mean(0)).max() < 1e-6
    np.testing.assert_allclose(data.features.var(0, ddof=1), 1.0, atol=1e-5)
    np.testing.assert_array_equal(data.features, datasets.colon_cancer("stand-in").features)


def test_a_file_in_the_given_directory_is_used(nowhere, tmp_path, monkeypatch, lenient):
    (tmp_path / "colon-cancer.bz2").write_bytes(lenient)
    monkeypatch.setenv("LOCALGD_DATA", str(tmp_path))
    data = datasets.colon_cancer()
    assert data.source.kind == "real"
    assert data.source.sha256 == {"colon-cancer.bz2": download.sha256(lenient)}
    assert datasets.fingerprint("colon-cancer") == download.sha256(lenient)
    np.testing.assert_array_equal(data.features, datasets.colon_cancer("stand-in").features)


def test_a_download_is_checked_and_then_cached(nowhere, monkeypatch, lenient):
    calls = []

    def home(self, url, output_file, pooch, check_only=False):
        calls.append(url)
        output_file.write(lenient)

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", home)
    datasets.prefetch("colon-cancer")
    assert datasets.colon_cancer().source.kind == "real"
    assert len(calls) == 1
    assert [path.name for path in nowhere.iterdir()] == ["colon-cancer.bz2"]


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (b"<html>404</html>", "is not colon-cancer.bz2: it is not bzip2"),
        (bz2.compress(b"\0" * 100), "it has 1 samples"),
        (b"x" * (5 * 2**20), "it is larger than 4 MiB"),
    ],
)
def test_a_bad_download_is_an_error_and_never_cached(nowhere, monkeypatch, sent, message):
    def home(self, url, output_file, pooch, check_only=False):
        output_file.write(sent)

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", home)
    with pytest.raises(ValueError, match=message):
        datasets.colon_cancer()
    assert list(nowhere.glob("*")) == []


def edited(genuine: bytes, edit) -> bytes:
    lines = bz2.decompress(genuine).decode().splitlines()
    return bz2.compress("\n".join(edit(lines)).encode())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda raw: b"", "it ends in the middle"),
        (lambda raw: raw[:-200], "it is not bzip2"),
        (lambda raw: raw[: len(raw) // 2], "it is not bzip2"),
        (lambda raw: b"\x00" * 64 + raw, "it is not bzip2"),
        (lambda raw: bz2.decompress(raw), "it is not bzip2"),
        (lambda raw: bz2.compress("é".encode()), "it is not bzip2-compressed text"),
        (lambda raw: edited(raw, lambda t: t[:-1]), "it has 61 samples, expected 62"),
        (lambda raw: edited(raw, lambda t: t + t[:1]), "it has 63 samples"),
        (
            lambda raw: edited(raw, lambda t: [t[0].rsplit(" ", 1)[0], *t[1:]]),
            "line 1 has no feature 2000",
        ),
        (
            lambda raw: edited(raw, lambda t: [t[0] + " 2001:1", *t[1:]]),
            "line 1 has a feature 2001",
        ),
        (lambda raw: edited(raw, lambda t: [t[0] + " 0:1", *t[1:]]), "line 1 has a feature 0"),
        (
            lambda raw: edited(raw, lambda t: ["+7" + t[0][2:], *t[1:]]),
            r"line 1 has the label '\+7'",
        ),
        (lambda raw: edited(raw, lambda t: [*t[:4], "", *t[5:]]), "line 5 has the label ''"),
        (lambda raw: edited(raw, lambda t: [t[0] + " 7", *t[1:]]), "line 1: feature 7 is ''"),
        (lambda raw: edited(raw, lambda t: [t[0] + " x:7", *t[1:]]), "line 1 has a feature x"),
        (lambda raw: edited(raw, lambda t: [t[0] + " 7:1", *t[1:]]), "line 1 has feature 7 twice"),
        (
            lambda raw: edited(raw, lambda t: [*t[:8], re.sub(" 3:[^ ]*", " 3:1_0", t[8]), *t[9:]]),
            "line 9: feature 3 is '1_0'",
        ),
        (lambda raw: raw + raw, "it holds more than"),
        (lambda raw: bz2.compress(b"0" * 2**26), "it holds more than the 4194304 bytes"),
        (
            lambda raw: edited(raw, lambda t: [x.replace(":", ":-", 1) for x in t]),
            "is not a number",
        ),
        (
            lambda raw: edited(raw, lambda t: [x.replace(" 1:", " 1:nan ", 1) for x in t]),
            "line 1 has no feature 1|is not a number|has a feature",
        ),
        (lambda raw: raw, "the SHA-256 of its values"),
    ],
)
def test_a_broken_file_is_refused_by_name(nowhere, tmp_path, monkeypatch, genuine, spoil, message):
    (tmp_path / "colon-cancer.bz2").write_bytes(spoil(genuine))
    monkeypatch.setenv("LOCALGD_DATA", str(tmp_path))
    with pytest.raises(
        ValueError, match=rf"colon-cancer\.bz2 is not colon-cancer\.bz2: .*({message})"
    ):
        datasets.colon_cancer()


def test_a_data_directory_that_is_not_there_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setenv("LOCALGD_DATA", str(tmp_path / "absent"))
    with pytest.raises(ValueError, match=r"LOCALGD_DATA=.*absent is not a directory"):
        datasets.colon_cancer()


def test_unknown_names_and_sources_are_errors():
    with pytest.raises(ValueError, match="source='genuine' must be"):
        datasets.colon_cancer("genuine")
    with pytest.raises(
        ValueError, match="'mnust' is not a data set; known are cifar10, colon-cancer, mnist"
    ):
        datasets.fingerprint("mnust")


def test_split_deals_every_sample_once():
    data = datasets.colon_cancer("stand-in")
    for seed in (None, 3):
        blocks, labels = data.split(5, seed=seed)
        assert [len(block) for block in blocks] == [13, 13, 12, 12, 12]
        rows = np.vstack(blocks)
        assert {row.tobytes() for row in rows} == {row.tobytes() for row in data.features}
        assert np.concatenate(labels).sum() == data.labels.sum()
    np.testing.assert_array_equal(data.split(2)[0][1], data.features[31:])
    assert not np.array_equal(data.split(2, seed=0)[0][0], data.features[:31])
    with pytest.raises(ValueError, match="num_nodes=63 must be between 1 and the 62"):
        data.split(63)


def test_first_keeps_the_beginning():
    data = datasets.colon_cancer("stand-in")
    some = data.first(3)
    np.testing.assert_array_equal(some.features, data.features[:3])
    np.testing.assert_array_equal(some.labels, data.labels[:3])
    assert some.source is data.source
    for wrong in (0, -1, 63):
        with pytest.raises(ValueError, match=f"num_samples={wrong} must be between 1 and the 62"):
            data.first(wrong)


def test_intercept_is_a_column_of_ones():
    data = datasets.colon_cancer("stand-in").with_intercept()
    assert data.features.shape == (62, 2001)
    assert (data.features[:, -1] == 1).all()


def test_images_take_no_intercept():
    with pytest.raises(ValueError, match=r"of shape \(n, d\), not \(2, 1, 28, 28\)"):
        datasets.mnist(first=2, source="stand-in").with_intercept()


def test_the_source_travels_into_the_record_of_a_run():
    data = datasets.colon_cancer("stand-in")
    trace = run(
        LeastSquares(*data.split(2), data=data.source), local_steps=1, step_size=1e-3, rounds=1
    )
    assert trace.provenance["problem"]["data"]["kind"] == "stand-in"


def test_import_is_free_of_torch():
    code = "import sys; from localgd import datasets; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_real_file_where_it_is_at_hand():
    if datasets.fingerprint("colon-cancer") == "stand-in":
        pytest.skip("colon-cancer.bz2 is neither in LOCALGD_DATA nor in the cache")
    data = datasets.colon_cancer("real")
    assert (data.features.shape, (data.labels == 1).sum()) == ((62, 2000), 22)
    assert data.features[0, 0] == 2.08075


def swapped_rows(lines):
    return [lines[1], lines[0], *lines[2:]]


def swapped_labels(lines):
    one = next(n for n, line in enumerate(lines) if line.startswith("+1"))
    other = next(n for n, line in enumerate(lines) if line.startswith("-1"))
    lines[one], lines[other] = "-1" + lines[one][2:], "+1" + lines[other][2:]
    return lines


def swapped_features(lines):
    return [
        line.replace(" 1:", " x:").replace(" 2:", " 1:").replace(" x:", " 2:") for line in lines
    ]


@pytest.mark.parametrize("edit", [swapped_rows, swapped_labels, swapped_features])
def test_the_same_numbers_in_other_places_are_not_the_data(
    nowhere, tmp_path, monkeypatch, lenient, edit
):
    (tmp_path / "colon-cancer.bz2").write_bytes(edited(lenient, edit))
    monkeypatch.setenv("LOCALGD_DATA", str(tmp_path))
    with pytest.raises(ValueError, match="the SHA-256 of its values"):
        datasets.colon_cancer()


def test_a_copy_that_prints_its_numbers_otherwise_is_the_data(
    nowhere, tmp_path, monkeypatch, lenient
):
    def reprint(lines):
        return [
            " ".join(
                entry.partition(":")[0] + f":{float(entry.partition(':')[2]) * (1 + 2e-16):.17g}"
                if ":" in entry
                else f"{float(entry):.1f}"
                for entry in line.split()
            )
            for line in lines
        ]

    (tmp_path / "colon-cancer.bz2").write_bytes(edited(lenient, reprint))
    monkeypatch.setenv("LOCALGD_DATA", str(tmp_path))
    data = datasets.colon_cancer()
    np.testing.assert_allclose(
        data.features, datasets.colon_cancer("stand-in").features, rtol=1e-14
    )


def test_a_small_file_never_unpacks_into_a_large_one():
    bomb = bz2.compress(b"0" * 2**28)
    assert len(bomb) < 2000
    tracemalloc.start()
    with pytest.raises(ValueError, match="it holds more than the 4194304 bytes"):
        libsvm._parse(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 2**20
