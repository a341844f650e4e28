"""Files are whole or not there, also when something goes wrong in between."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from bookrun import files
from bookrun.errors import BookError
from bookrun.files import (
    build_lock,
    clear_unfinished,
    digest,
    digest_files,
    recover,
    scratch,
    swap_directory,
    write_atomic,
)


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


#: Writes in the moment before its file gets its name, or works in a scratch directory; and waits.
WRITES = """
import os, sys, time
os.replace = lambda *_: (print("there", flush=True), time.sleep(3600))
from bookrun.files import write_atomic
from pathlib import Path
write_atomic(Path({path!r}), "mine")
"""
WORKS = """
import os, sys, time
from bookrun.files import scratch
with scratch("one-") as place:
    (place / "kept").touch()
    print(place, flush=True)
    time.sleep(3600)
"""


@contextmanager
def waiting(code: str, home: Path) -> Iterator[str]:
    """Run the code until it has said a line, and kill it at the end."""
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(home)},
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def test_what_a_killed_write_leaves_is_cleared_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a[1]"
    other = tmp_path / ".hidden.tmp.txt"
    other.touch()
    with waiting(WRITES.format(path=str(path)), tmp_path):
        unfinished = [each for each in tmp_path.iterdir() if each != other]
        assert len(unfinished) == 1
        write_atomic(path, "ours")
        clear_unfinished(tmp_path)
        assert set(tmp_path.iterdir()) == {path, other, *unfinished}
    write_atomic(path, "ours again")
    assert set(tmp_path.iterdir()) == {path, other}
    with waiting(WRITES.format(path=str(tmp_path / "below" / "b")), tmp_path):
        pass
    assert list((tmp_path / "below").iterdir())
    clear_unfinished(tmp_path)
    assert not list((tmp_path / "below").iterdir())
    assert path.read_text() == "ours again"


def test_what_a_killed_process_worked_in_is_cleared_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with waiting(WORKS, tmp_path) as name:
        with scratch("two-") as place:
            assert {path.name for path in tmp_path.iterdir()} == {Path(name).name, place.name}
        assert (Path(name) / "kept").is_file()
    assert (Path(name) / "kept").is_file()
    with scratch() as place:
        assert list(tmp_path.iterdir()) == [place]
    assert not list(tmp_path.iterdir())


MANY = """
from bookrun.files import scratch, write_atomic
from pathlib import Path
for number in range(150):
    write_atomic(Path({path!r}), str(number))
    with scratch() as place:
        (place / "mine").write_text(str(number))
        assert (place / "mine").read_text() == str(number)
"""


def test_many_that_write_and_clear_at_once_are_not_in_each_others_way(tmp_path: Path) -> None:
    code = MANY.format(path=str(tmp_path / "a"))
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    together = [
        subprocess.Popen(
            [sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, env=environment
        )
        for _ in range(4)
    ]
    complaints = [process.communicate()[1] for process in together]
    assert complaints == [""] * 4
    assert (tmp_path / "a").read_text() == "149"
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


def make(directory: Path, text: str) -> Path:
    directory.mkdir()
    (directory / "index.html").write_text(text)
    return directory


@pytest.mark.parametrize("exchange", [files._exchange, lambda *_: False], ids=["one", "two"])
def test_a_swap_puts_the_new_directory_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: Callable[[Path, Path], bool]
) -> None:
    monkeypatch.setattr(files, "_exchange", exchange)
    current = tmp_path / "html"
    swap_directory(make(tmp_path / "new", "1"), current)
    swap_directory(make(tmp_path / "new", "2"), current)
    assert (current / "index.html").read_text() == "2"
    assert list(tmp_path.iterdir()) == [current]


def test_at_no_moment_of_a_swap_is_there_no_site(tmp_path: Path) -> None:
    current, new = make(tmp_path / "html", "1"), make(tmp_path / "new", "2")
    if not files._exchange(new, current):
        pytest.skip("two directories cannot exchange their names here")
    assert (current / "index.html").read_text() == "2"
    seen = []

    def look(_frame: FrameType, _event: str, _arg: object) -> Any:
        seen.append((current / "index.html").read_text())
        return look  # before each statement of each function that is called

    before = sys.gettrace()
    sys.settrace(look)
    try:
        swap_directory(new, current)
    finally:
        sys.settrace(before)
    assert seen == sorted(seen, reverse=True)
    assert set(seen) == {"1", "2"}
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
