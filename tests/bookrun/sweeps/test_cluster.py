"""Sweeps on a cluster of this machine: what they run, keep, repeat and survive."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

import trial
from bookrun.cli import main
from bookrun.errors import BookError
from bookrun.project import Project
from bookrun.sweeps import Results, cluster, run, sweep
from bookrun.sweeps.cluster import connected
from bookrun.sweeps.points import FAILED, OK, OUTSIDE, points_of

#: Seconds, far more than is needed, for a machine that does other things.
PATIENCE = 600
#: Notes that it was started, and waits where it is asked to until a file lets it go on.
CELL = """\
import os, time
from pathlib import Path
from bookrun import check, report
with open(f"starts-{number}", "a") as log:
    log.write(f"{os.getpid()}\\n")
while wait and not Path("go").exists():
    time.sleep(0.05)
if number == 3:
    raise ValueError("three is bad")
class Trace:
    def __len__(self): return number
    def save(self, path): path.write_text("x" * number)
report("square", number**2)
report("threads", int(os.environ["OMP_NUM_THREADS"]))
report("run", Trace())
check("lem1", "small", number, high=3)"""
CHAPTER = trial.chapter_text("One", CELL, parameters="number = 1\nwait = False")


def make(root: Path, text: str) -> Project:
    project = trial.make_project(root, {"intro": "# A", "one": CHAPTER})
    write(project, "trial", text)
    return project


def write(project: Project, name: str, text: str) -> Path:
    path = project.root / "sweeps" / f"{name}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"chapter: one\n{text}\n")
    return path


def starts(project: Project, number: int) -> list[int]:
    """The processes that have started the point."""
    path = project.book / f"starts-{number}"
    return [int(line) for line in path.read_text().split()] if path.is_file() else []


def until(holds: Callable[[], object], seconds: float = PATIENCE) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"still not so after {seconds} s"
        time.sleep(0.05)


def start(project: Project, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "bookrun", "sweep", "sweeps/trial.yaml", *arguments],
        cwd=project.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make(tmp_path_factory.mktemp("sweep"), "grid: {number: [1, 2, 3, 4]}")


@pytest.fixture(scope="module")
def results(project: Project) -> Results:
    """Four points, one of which fails and one of which lies outside its bounds."""
    return sweep(project.root / "sweeps" / "trial.yaml", jobs=2)


def test_a_failure_is_kept_and_named_and_does_not_stop_the_rest(results: Results) -> None:
    frame = results.frame.set_index("number")
    assert dict(frame["status"]) == {1: OK, 2: OK, 3: FAILED, 4: OUTSIDE}
    assert frame["error"][3] == "ValueError: three is bad"
    assert dict(frame["square"].dropna()) == {1: 1.0, 2: 4.0, 4: 16.0}
    assert frame["small"][4] == 4.0
    assert frame["outside"][4] == "small"
    assert "three is bad" in results.page.read_text()


def test_each_point_has_a_directory_with_all_that_it_made(results: Results) -> None:
    row = results.frame.set_index("number").loc[2]
    directory = (results.directory / row["notebook"]).parent
    assert {path.name for path in directory.iterdir()} == {
        "one.ipynb", "one.html", "run.npz", "log.txt", "record.json",
    }  # fmt: skip
    assert (results.directory / row["traces"]).read_text() == "xx"
    partial = results.directory / results.failed["notebook"].iloc[0]
    assert "three is bad" in partial.read_text()


def test_a_point_has_one_thread_so_that_its_sums_do_not_depend_on_the_jobs(
    results: Results,
) -> None:
    assert set(results.frame["threads"].dropna()) == {1}


def test_nothing_is_run_twice_not_even_for_another_grid(
    project: Project, results: Results, capsys: pytest.CaptureFixture[str]
) -> None:
    again = sweep(project.root / "sweeps" / "trial.yaml", jobs=2)
    assert again.frame.equals(results.frame)
    other = sweep(write(project, "other", "list: [{number: 2}, {number: 1, wait: false}]"))
    assert list(other.frame["square"]) == [1.0, 4.0]
    assert [len(starts(project, number)) for number in (1, 2, 3, 4)] == [1, 1, 1, 1]
    assert capsys.readouterr().err == ""


def test_a_failed_point_is_run_again_when_that_is_asked_for(
    project: Project, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.root)
    before = len(starts(project, 3))
    assert main(["sweep", "sweeps/trial.yaml", "--retry", "--jobs", "1"]) == 1
    assert len(starts(project, 3)) == before + 1
    assert len(starts(project, 4)) == 1


def test_a_dry_run_names_the_points_and_runs_none(
    project: Project,
    results: Results,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(project.root)
    write(project, "more", "grid: {number: [1, 8, 9]}")
    assert main(["sweep", "sweeps/more.yaml", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "3 points of chapter one"
    assert lines[1].startswith("  number=1: ok, ")
    assert lines[2:] == ["  number=8: to run", "  number=9: to run"]
    assert main(["sweep", "sweeps/more.yaml", "--dry-run", "--every", "2"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert starts(project, 8) == []


def test_a_point_that_does_not_fit_stops_the_sweep_before_it_starts(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project.root)
    write(project, "bad", "grid: {number: [7, x]}")
    assert main(["sweep", "sweeps/bad.yaml"]) == 1
    assert "number='x' is not an int" in capsys.readouterr().err
    assert starts(project, 7) == []


def dask_worker(kernel: int) -> psutil.Process:
    """The worker of the cluster above a point's kernel: kernel, chapter's process, worker."""
    chapter = psutil.Process(kernel).parent()
    assert chapter is not None
    worker = chapter.parent()
    assert worker is not None
    return worker


def test_a_process_that_is_killed_costs_one_retry_of_one_point(tmp_path: Path) -> None:
    waiting = "{number: 1, wait: true}, {number: 2, wait: true}, {number: 4, wait: true}"
    project = make(tmp_path, f"list: [{waiting}, {{number: 5}}]")
    process = start(project, "--jobs", "3")
    try:
        until(lambda: all(starts(project, number) for number in (1, 2, 4)))
        kernels = [starts(project, number)[0] for number in (1, 2, 4)]
        chapter = psutil.Process(kernels[1]).parent()
        assert chapter is not None
        for victim in (dask_worker(kernels[0]), chapter, psutil.Process(kernels[2])):
            victim.send_signal(signal.SIGKILL)
        until(lambda: all(len(starts(project, number)) == 2 for number in (1, 2, 4)))
        (project.book / "go").touch()
        _, complaints = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, complaints
    frame = sweep(tmp_path / "sweeps" / "trial.yaml").frame.set_index("number")
    assert dict(frame["status"]) == {1: OK, 2: OK, 4: OUTSIDE, 5: OUTSIDE}
    assert dict(frame["attempts"]) == {1: 2, 2: 2, 4: 2, 5: 1}
    assert [len(starts(project, number)) for number in (1, 2, 4, 5)] == [2, 2, 2, 1]
    assert complaints.count("run 2 times because") == 3


@pytest.mark.parametrize("kill", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_sweep_goes_on_and_repeats_nothing(
    tmp_path: Path, kill: signal.Signals
) -> None:
    project = make(tmp_path, "list: [{number: 1}, {number: 2, wait: true}]")
    process = start(project, "--jobs", "1")
    try:
        until(lambda: starts(project, 2))
        point = points_of(project, run.grids.load(project, tmp_path / "sweeps" / "trial.yaml"))[0]
        until(point.found)
        kernel = psutil.Process(starts(project, 2)[0])
        above = [kernel, kernel.parent(), dask_worker(kernel.pid)]
        if kill == signal.SIGINT:
            os.killpg(process.pid, kill)  # as a terminal does: to the workers too
        else:
            os.kill(process.pid, kill)
        _, complaints = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == (130 if kill == signal.SIGINT else -signal.SIGKILL)
    if kill == signal.SIGINT:
        assert complaints.splitlines()[-1] == "Interrupted: what had finished is kept."
        assert "Traceback" not in complaints
    for orphan in above:
        until(lambda orphan=orphan: not alive(orphan))
    assert not list((tmp_path / "build" / "sweeps" / "points").rglob("*.tmp"))
    (project.book / "go").touch()
    frame = sweep(tmp_path / "sweeps" / "trial.yaml", jobs=1).frame.set_index("number")
    assert dict(frame["status"]) == {1: OK, 2: OK}
    assert [len(starts(project, number)) for number in (1, 2)] == [1, 2]


def starting(sweep: int) -> list[psutil.Process]:
    """The workers of a sweep, from their first moment on."""
    return [
        child
        for child in psutil.Process(sweep).children(recursive=True)
        if "multiprocessing.spawn" in " ".join(child.cmdline())
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_sweep_whose_workers_are_hit_while_they_start_ends(
    tmp_path: Path, number: signal.Signals
) -> None:
    project = make(tmp_path, "list: [{number: 1, wait: true}]")
    process = start(project, "--jobs", "1")
    try:
        until(lambda: starting(process.pid))
        os.killpg(process.pid, number)
        _, complaints = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, complaints
    assert complaints == "Interrupted: what had finished is kept.\n"


def alive(process: "psutil.Process | None") -> bool:
    try:
        return (
            process is not None
            and process.is_running()
            and process.status() != psutil.STATUS_ZOMBIE
        )
    except psutil.NoSuchProcess:
        return False


def test_a_scheduler_of_ones_own_is_used(tmp_path: Path) -> None:
    from distributed import LocalCluster

    project = make(tmp_path, "list: [{number: 1}]")
    with LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        memory_limit=0,
        local_directory=str(tmp_path / "dask"),
    ) as cluster:
        address = cluster.scheduler_address
        found = sweep(tmp_path / "sweeps" / "trial.yaml", scheduler=address)
        assert list(found.frame["status"]) == [OK]
        assert list(found.frame["threads"]) == [1.0]
    assert len(starts(project, 1)) == 1


def test_a_scheduler_that_dies_leaves_no_results_and_the_sweep_goes_on(tmp_path: Path) -> None:
    from distributed import Client

    project = make(tmp_path, "list: [{number: 1}, {number: 2, wait: true}]")
    file = tmp_path / "scheduler.json"
    scheduler = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_scheduler", "--scheduler-file", str(file),
         "--host", "127.0.0.1", "--port", "0", "--no-dashboard"],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    until(file.is_file)
    worker = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", str(file),
         "--nthreads", "1", "--no-nanny", "--no-dashboard", "--memory-limit", "0",
         "--local-directory", str(tmp_path)],
        stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(trial.ROOT / "lib")},
    )  # fmt: skip
    address = json.loads(file.read_text())["address"]
    with Client(address, timeout=PATIENCE) as client:
        client.wait_for_workers(1, timeout=PATIENCE)
    process = start(project, "--scheduler", address)
    try:
        until(lambda: starts(project, 2))
        scheduler.kill()
        _, complaints = process.communicate(timeout=PATIENCE)
    finally:
        for each in (process, scheduler, worker):
            each.kill()
            each.wait()
    assert process.returncode == 1
    assert "the sweep was broken off: the Dask scheduler has gone" in complaints
    assert "Traceback" not in complaints
    (project.book / "go").touch()
    frame = sweep(tmp_path / "sweeps" / "trial.yaml", jobs=1).frame.set_index("number")
    assert dict(frame["status"]) == {1: OK, 2: OK}
    assert len(starts(project, 1)) == 1


def test_another_cluster_on_this_machine_is_not_in_the_way() -> None:
    with socket.socket() as taken:
        with contextlib.suppress(OSError):  # then somebody else has it, which is as good
            taken.bind(("127.0.0.1", 8787))
            taken.listen()
        with connected(None, 1) as client:  # a warning about the port would be an error
            assert client.submit(int, 3).result() == 3


def warned() -> list[str]:
    """What Dask's warning of a slow start comes to in a worker, and one of another kind."""
    from distributed.utils import warn_on_duration

    with warnings.catch_warnings(record=True) as found:
        with warn_on_duration("0s", f"{cluster._SLOW}. (2.00s)"):
            pass
        warnings.warn("another", UserWarning, stacklevel=1)
    return [str(each.message) for each in found]


def test_a_machine_that_is_busy_is_no_news(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextlib.contextmanager
    def slow(_duration: str, message: str) -> Iterator[None]:
        yield
        warnings.warn(message.format(duration=2.0), stacklevel=2)

    monkeypatch.setattr("distributed.core.warn_on_duration", slow)
    with connected(None, 1) as client:  # a warning would be an error
        assert client.submit(warned).result() == ["another"]


def test_a_scheduler_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "grid: {number: [1, 2]}")
    monkeypatch.setattr("bookrun.sweeps.cluster._ANSWER_SECONDS", 0.5)
    with pytest.raises(BookError, match=r"SCHEDULER=tcp://127\.0\.0\.1:9: no scheduler answers"):
        sweep(tmp_path / "sweeps" / "trial.yaml", scheduler="tcp://127.0.0.1:9")
