"""Files are whole or not there, also when something goes wrong in between."""

import os
from pathlib import Path

import pytest

from bookrun.errors import BookError
from bookrun.files import build_lock, digest, digest_files, recover, swap_directory, write_atomic


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    write_atomic(path, "old")

    def fail(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def make(directory: Path, text: str) -> Path:
    directory.mkdir()
    (directory / "index.html").write_text(text)
    return directory


def test_a_swap_puts_the_new_directory_in_place(tmp_path: Path) -> None:
    current = tmp_path / "html"
    swap_directory(make(tmp_path / "new", "1"), current)
    swap_directory(make(tmp_path / "new", "2"), current)
    assert (current / "index.html").read_text() == "2"
    assert list(tmp_path.iterdir()) == [current]


def test_a_swap_cut_between_its_renames_is_undone(tmp_path: Path) -> None:
    make(tmp_path / "html.old", "1")
    recover(tmp_path / "html")
    assert (tmp_path / "html" / "index.html").read_text() == "1"


def test_a_swap_cut_before_the_clean_up_is_finished(tmp_path: Path) -> None:
    make(tmp_path / "html.old", "1")
    make(tmp_path / "html", "2")
    recover(tmp_path / "html")
    assert (tmp_path / "html" / "index.html").read_text() == "2"
    assert not (tmp_path / "html.old").exists()


def test_a_second_build_at_the_same_time_is_refused(tmp_path: Path) -> None:
    with (
        build_lock(tmp_path),
        pytest.raises(BookError, match="another build"),
        build_lock(tmp_path),
    ):
        pass
    with build_lock(tmp_path):
        pass


def test_digests_tell_apart_what_differs(tmp_path: Path) -> None:
    assert digest("ab", "c") != digest("a", "bc")
    (tmp_path / "a.py").write_text("1")
    first = digest_files(tmp_path, [tmp_path / "a.py"])
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    assert digest_files(tmp_path, [tmp_path / "b.py"]) != first
