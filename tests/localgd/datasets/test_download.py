"""What a file and its download need, and what is said where that is not there."""

import os
import pwd
import threading

import pooch
import pytest

from absent import alone
from localgd import datasets
from localgd.datasets import download
from localgd.datasets.download import Remote, UnreachableError, fetch

FILE = Remote("some.bin", "https://example.org/some.bin", 1, lambda content: None)
IMPORTS = """
import sys
from localgd import datasets
"""


def test_files_at_hand_need_numpy_alone(tmp_path):
    code = """
from localgd.datasets.download import Remote, fetch, known, sha256
remote = Remote("some.bin", "https://example.org", 1, known(sha256(b"abc"), bytes))
assert fetch(remote)[1] == b"abc"
assert datasets.fingerprint("mnist") == "stand-in"
assert not {"pooch", "requests", "sklearn", "scipy", "torch"} & set(sys.modules)
"""
    (tmp_path / "some.bin").write_bytes(b"abc")
    packages = ("pooch", "requests", "platformdirs", "sklearn", "scipy", "torch")
    ended = alone(IMPORTS + code, *packages, LOCALGD_DATA=str(tmp_path))
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("name", ["mnist", "cifar10", "colon_cancer"])
def test_real_data_at_hand_need_numpy_alone(name):
    at_hand = datasets.fingerprint(name.replace("_", "").replace("colonc", "colon-c"))
    if at_hand.split(" ")[0] in ("stand-in", "-") or "LOCALGD_DATA" not in os.environ:
        pytest.skip(f"{name} is not in LOCALGD_DATA")
    first = "" if name == "colon_cancer" else "first=10, "
    code = f"assert datasets.{name}({first}source='real').source.kind == 'real'"
    ended = alone(IMPORTS + code, "pooch", "requests", "platformdirs", "sklearn", "scipy", "torch")
    assert ended.returncode == 0, ended.stderr


def test_what_is_not_installed_is_named(tmp_path):
    ended = alone(IMPORTS + "datasets.mnist(source='real')", "pooch", LOCALGD_DATA=str(tmp_path))
    assert "a download needs pooch, which is not installed" in ended.stderr
    assert "looked for train-images-idx3-ubyte.gz or " in ended.stderr
    ended = alone(IMPORTS + "datasets.mnist()", "pooch", "scipy", LOCALGD_DATA=str(tmp_path))
    assert "ImportError: the stand-in needs scipy, which is not installed" in ended.stderr
    assert "because a download needs pooch" in ended.stderr


@pytest.fixture
def homeless(monkeypatch, tmp_path):
    """A user without HOME and without an entry in the list of users."""

    def unknown(_uid):
        raise KeyError("getpwuid(): uid not found")

    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setenv("LOCALGD_DATA", str(tmp_path))


def test_a_user_without_a_home_reads_the_given_directory(homeless, tmp_path):
    assert datasets.fingerprint("colon-cancer") == "stand-in"
    (tmp_path / FILE.name).write_bytes(b"abc")
    assert fetch(FILE) == (tmp_path / FILE.name, b"abc")


def test_a_user_without_a_home_is_told_so(homeless):
    with pytest.raises(UnreachableError, match="there is no cache directory"):
        datasets.colon_cancer("real")
    assert datasets.colon_cancer().source.kind == "stand-in"


def test_a_server_that_drips_holds_up_nobody(nowhere, monkeypatch):
    over = threading.Event()

    def drip(self, url, output_file, pooch, check_only=False):
        over.wait()
        output_file.write(b".")

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", drip)
    monkeypatch.setattr(download, "_SECONDS", 0.1)
    monkeypatch.setattr(download, "_SECONDS_A_MIB", 0.0)
    with pytest.raises(UnreachableError, match=r"some\.bin cannot be read \(TimeoutError\)"):
        fetch(FILE)
    over.set()
    assert not list(nowhere.glob("*"))


def test_a_cache_that_cannot_be_written_is_no_traceback(nowhere):
    nowhere.write_text("a file where the directory should be")
    with pytest.raises(UnreachableError, match=r"some\.bin cannot be read \(\w+Error\)"):
        fetch(FILE)
