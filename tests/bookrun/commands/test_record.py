"""A recording goes on where it was cut, runs nothing twice, and never records a stand-in."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import recordings
from bookrun.commands.record import record
from bookrun.errors import BookError
from bookrun.experiments import case, figures, records
from bookrun.experiments.case import Case, carry_out
from bookrun.project import Project
from localgd import Trace


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    return recordings.make(tmp_path, monkeypatch)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the cases that were carried out, in order."""
    names: list[str] = []

    def counted(case: Case, **settings: object) -> Trace:
        names.append(case.name)
        return carry_out(case, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr("bookrun.commands.record.carry_out", counted)
    return names


def test_a_record_holds_what_the_runs_gave(project: Project) -> None:
    path = record(project, "tiny", "cpu")
    found = records.load(path)
    assert path == project.root / "recorded" / "tiny.json"
    assert [each.case for each in found.cases] == recordings.CASES
    for each in found.cases:
        trace = carry_out(each.case)
        np.testing.assert_allclose(each.loss, trace.loss, rtol=1e-6)
        np.testing.assert_allclose(each.grad_norm_sq, trace.grad_norm_sq, rtol=1e-6)
        np.testing.assert_array_equal(each.local_steps, trace.local_steps)
        assert (each.parameters, each.buffers) == (44_426, 0)
    assert found.data.sha256 == recordings.SHA
    fixed, threshold = found.cases
    assert fixed.met is None
    assert threshold.met is not None
    assert not threshold.met[1].any()  # four steps are not enough, and the record says so


def test_what_is_finished_is_not_run_again(project: Project, ran: list[str]) -> None:
    record(project, "tiny", "cpu")
    assert ran == [case.name for case in recordings.CASES]
    record(project, "tiny", "cpu")
    assert len(ran) == 2
    record(project, "tiny", "cpu", again=True)
    assert len(ran) == 4


def test_a_case_with_other_settings_is_run_anew(
    project: Project, ran: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    record(project, "tiny", "cpu")
    more = [replace(recordings.TINY, rounds=4), recordings.CASES[1]]
    monkeypatch.setattr(figures, "cases", lambda figure, scale: more)
    record(project, "tiny", "cpu")
    assert ran[2:] == [recordings.TINY.name]
    assert len(records.load(project.recorded("tiny")).cases[0]) == 5


def test_a_record_of_another_scale_is_not_taken_for_this_one(
    project: Project, ran: list[str]
) -> None:
    record(project, "tiny", "cpu")
    record(project, "tiny", "paper")
    assert len(ran) == 4
    assert records.load(project.recorded("tiny")).scale == "paper"


def test_a_killed_recording_ends_with_the_same_numbers(project: Project, tmp_path: Path) -> None:
    whole = records.load(record(project, "tiny", "cpu"))
    elsewhere = tmp_path / "killed"
    # The second round of the first case kills the process: its checkpoint holds the first.
    script = f"""
import sys, os, signal, pytest
sys.path.insert(0, {str(Path(recordings.__file__).parent)!r})
import recordings
from pathlib import Path
from bookrun.commands.record import record
from bookrun.experiments import case
from localgd import Checkpoint
patch = pytest.MonkeyPatch()
project = recordings.make(Path({str(elsewhere)!r}), patch)
plain = case.run
def run(problem, **settings):
    def stop(trace):
        if len(trace) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return False
    settings["checkpoint"] = Checkpoint(settings["checkpoint"], every_rounds=1)
    return plain(problem, stop=stop, **settings)
case.run = run
record(project, "tiny", "cpu")
"""
    killed = subprocess.run([sys.executable, "-c", script], env=dict(os.environ), check=False)
    assert killed.returncode == -signal.SIGKILL
    again = Project(elsewhere)
    assert not again.recorded("tiny").exists()
    assert list((elsewhere / "build/record/tiny-cpu").glob("*.pt"))
    resumed = records.load(record(again, "tiny", "cpu"))
    for one, other in zip(whole.cases, resumed.cases, strict=True):
        np.testing.assert_array_equal(one.loss, other.loss)
        np.testing.assert_array_equal(one.local_steps, other.local_steps)
    assert not list((elsewhere / "build/record/tiny-cpu").glob("*.pt"))


def test_an_interrupt_keeps_what_has_finished_and_publishes_nothing(
    project: Project, ran: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = record.__globals__["carry_out"]

    def interrupted(case: Case, **settings: object) -> Trace:
        trace: Trace = counted(case, **settings)
        return trace if case == recordings.TINY else replace(trace, reason="interrupted")

    monkeypatch.setattr("bookrun.commands.record.carry_out", interrupted)
    with pytest.raises(KeyboardInterrupt):
        record(project, "tiny", "cpu")
    assert not project.recorded("tiny").exists()
    monkeypatch.setattr("bookrun.commands.record.carry_out", counted)
    record(project, "tiny", "cpu")
    assert ran.count(recordings.TINY.name) == 1


def test_stand_in_data_are_never_recorded(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(case._DATA, "lenet", recordings.unreachable)
    assert carry_out(recordings.TINY).provenance["problem"]["data"]["kind"] == "stand-in"
    with pytest.raises(BookError, match="tiny is recorded from real data only: the images are not"):
        record(project, "tiny", "cpu")
    assert not project.recorded("tiny").exists()


def test_a_run_that_diverges_is_recorded_as_far_as_it_went(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    wild = replace(recordings.TINY, step_size=1e12, rounds=5)
    monkeypatch.setattr(figures, "cases", lambda figure, scale: [wild])
    (found,) = records.load(record(project, "tiny", "cpu")).cases
    assert found.reason == "diverged"
    assert len(found) < 6
    assert np.isfinite(found.loss).all()


def test_two_recordings_of_a_figure_do_not_run_at_once(project: Project) -> None:
    from bookrun.files import build_lock

    with (
        build_lock(project.build / "record" / "tiny-cpu"),
        pytest.raises(BookError, match="another build is running"),
    ):
        record(project, "tiny", "cpu")
