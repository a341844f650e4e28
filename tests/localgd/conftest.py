"""What the tests of the data share: a machine without data and without a network."""

import pooch
import pytest
import requests

from localgd.datasets import download


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """No data directory, an empty cache, no network; returns the cache directory."""
    monkeypatch.delenv("LOCALGD_DATA", raising=False)
    monkeypatch.setattr(download, "cache_dir", lambda: tmp_path / "cache")

    def unreachable(self, url, output_file, pooch, check_only=False):
        raise requests.ConnectionError("no route to host")

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", unreachable)
    return tmp_path / "cache"


@pytest.fixture
def given(nowhere, tmp_path, monkeypatch):
    """A data directory that is empty, a cache that is too, and no network."""
    directory = tmp_path / "given"
    directory.mkdir()
    monkeypatch.setenv("LOCALGD_DATA", str(directory))
    return directory


@pytest.fixture
def home(nowhere, monkeypatch):
    """Answer downloads from a dict, URL to bytes; returns it and the list of URLs asked for."""
    served: dict[str, bytes] = {}
    asked: list[str] = []

    def answer(self, url, output_file, pooch, check_only=False):
        asked.append(url)
        if url not in served:
            raise requests.HTTPError("404 Not Found")
        for start in range(0, len(served[url]), 2**16):
            output_file.write(served[url][start : start + 2**16])

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", answer)
    return served, asked
