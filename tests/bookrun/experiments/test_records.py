"""A record reads back as it was written, and a broken one says what is wrong with it."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recordings
from bookrun.experiments import records
from bookrun.experiments.case import Case
from bookrun.experiments.records import Made, Record, Recorded, RecordError
from bookrun.experiments.replays import Replay, Replays
from localgd.datasets import Source

MADE = Made(
    started="2026-11-24T20:00:00+00:00",
    commit="abc1234",
    code="0" * 64,
    device="the CPU (Ferranti Mark 1)",
    engine="auto",
    threads=1,
    versions={"torch": "2.13.0", "numpy": "2.4.0", "python": "3.13.1", "localgd": "0.1.0"},
)


def recorded(case: Case = recordings.TINY, **changes: Any) -> Recorded:
    """A run with made-up columns."""
    rows = case.rounds + 1
    steps = np.full((rows, case.nodes), 2.0)
    steps[0] = 0
    plain = Recorded(
        case=case,
        made=MADE,
        parameters=44_426,
        buffers=0,
        reason="rounds",
        loss=1 / np.arange(3.0, 3 + rows),
        grad_norm_sq=np.exp(-np.arange(float(rows))),
        local_steps=steps,
        met=None if case.grad_tol is None else np.ones((rows, case.nodes), bool),
        seconds=np.full(rows, 40.0),
        measures={"test_loss": np.full(rows, 0.25)},
    )
    return replace(plain, **changes)


def whole(*cases: Recorded) -> Record:
    """A record of these runs."""
    data = Source("mnist", "real", "digits", "home", {"train": "0123456789abcdef" * 4})
    return Record("fig4a", "cpu", data, cases or tuple(recorded(case) for case in recordings.CASES))


def test_a_record_reads_back_to_seven_digits(tmp_path: Path) -> None:
    written = whole()
    records.save(written, tmp_path / "fig4a.json")
    read = records.load(tmp_path / "fig4a.json")
    assert (read.figure, read.scale, read.data) == ("fig4a", "cpu", written.data)
    for one, other in zip(written.cases, read.cases, strict=True):
        assert (one.case, one.made, one.reason) == (other.case, other.made, other.reason)
        np.testing.assert_allclose(other.loss, one.loss, rtol=5e-7)
        np.testing.assert_array_equal(other.local_steps, one.local_steps)
        np.testing.assert_array_equal(other.measures["test_loss"], one.measures["test_loss"])
        assert (other.met is None) == (one.case.grad_tol is None)


def test_runs_are_selected_by_the_settings_of_their_cases() -> None:
    record = whole()
    assert record.one(seed=1) is record.cases[1]
    assert record.select(nodes=2) == list(record.cases)
    with pytest.raises(RecordError, match="the record of fig4a has no run with nodes=3, seed=1"):
        record.select(nodes=3, seed=1)
    with pytest.raises(RecordError, match="has 2 such runs: m2-T2"):
        record.one(nodes=2)


def test_a_caption_says_when_on_what_and_of_what() -> None:
    assert whole().provenance() == (
        "Recorded 24 November 2026 on the CPU (Ferranti Mark 1), 1 thread, in 5 min of "
        "computing, at commit abc1234, with PyTorch 2.13.0, NumPy 2.4.0, Python 3.13.1; seeds "
        "0, 1; mnist, SHA-256 train 0123456789ab…. It was not replayed yet: `make record-check` "
        "does that."
    )


def test_a_caption_says_what_todays_code_was_checked_to_do() -> None:
    run = Replay("m2-T2", 50, 25, 1e-5, 1e-4, steps_agree=True)
    found = Replays("record", records.code_digest(), "2026-11-24", "a processor", (run,))
    said = replace(whole(), digest="record", replays=found).provenance()
    assert said.endswith("the first 50 local steps of every run agree to 0.001 in the loss.")
    parted = replace(found, runs=(run, replace(run, steps=0)))
    said = replace(whole(), digest="record", replays=parted).provenance()
    assert said.endswith("Of 2 replayed runs 1 differ.")


def test_the_code_is_what_runs_depend_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def place(name: str, text: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)

    case, run, drawing = (
        "bookrun/experiments/case.py",
        "localgd/algorithm/run.py",
        "bookrun/style.py",
    )
    for name in (case, run, drawing, "localgd/__init__.py", "localgd/convex/losses.py"):
        place(name, "")
    monkeypatch.setattr(records.localgd, "__file__", str(tmp_path / "localgd/__init__.py"))
    monkeypatch.setattr(records.case, "__file__", str(tmp_path / case))
    before = records.code_digest()
    place(drawing, "pictures = 1")
    place("localgd/convex/losses.py", "parabolas = 1")
    assert records.code_digest() == before
    place(run, "rounds = 1")
    changed = records.code_digest()
    assert changed != before
    place(run, '"""A docstring."""\nimport os\nrounds = 1  # a comment')
    assert records.code_digest() == changed
    place("localgd/engine/moved.py", "rounds = 1")
    place(run, "")
    assert records.code_digest() == changed
    place(case, "cases = 1")
    assert records.code_digest() not in {before, changed}


def test_no_network_run_uses_what_is_left_out_of_its_code() -> None:
    package = Path(records.localgd.__file__).parent
    left_out = re.compile(rf"^\s*(?:from|import) localgd\.(?:{'|'.join(records.CONVEX)})\b", re.M)
    importing = {
        path.relative_to(package).parts[0].removesuffix(".py")
        for path in package.rglob("*.py")
        if path.name != "fitted.py"  # a rule that no recorded run has
        and left_out.search(path.read_text())
    }
    assert importing <= {"__init__", *records.CONVEX}
    assert "__init__" in importing


def _without(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda found: found["cases"][0]["columns"].pop(name)


def _set(where: str, name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda found: found["cases"][0][where].update({name: value})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda found: found.update(format="another"), "is not a record of the format"),
        (lambda found: found.pop("scale"), "lacks 'scale'"),
        (lambda found: found["data"].pop("sha256"), "its data are real data with the hashes {}"),
        (lambda found: found["data"].update(kind="stand-in"), "its data are stand-in data"),
        (lambda found: found["data"].pop("origin"), "'origin'"),
        (lambda found: found["cases"][0].pop("made"), "lacks 'made'"),
        (lambda found: found["cases"][0]["made"].pop("commit"), "'commit'"),
        (lambda found: found["cases"][0]["case"].pop("samples"), "'samples'"),
        (_set("case", "momentum", 0.9), "'momentum'"),
        (_without("grad_norm_sq"), "lacks 'grad_norm_sq'"),
        (_set("columns", "loss", [1.0, 0.5]), r"local_steps has shape \(4, 2\), not \(2, 2\)"),
        (_set("columns", "loss", [1.0] * 9), "9 rows for 3 rounds"),
        (_set("columns", "loss", [1.0, None, 1.0, 1.0]), "a NaN or an infinity"),
        (_set("columns", "local_steps", [[2, 2]] * 4), "has steps in row 0"),
        (_set("columns", "local_steps", [[0]] * 4), r"shape \(4, 1\), not \(4, 2\)"),
    ],
)
def test_a_broken_record_says_what_is_wrong(
    tmp_path: Path, spoil: Callable[[dict[str, Any]], None], message: str
) -> None:
    path = tmp_path / "fig4a.json"
    records.save(whole(), path)
    found = json.loads(path.read_text())
    spoil(found)
    path.write_text(json.dumps(found))
    with pytest.raises(RecordError, match=message) as raised:
        records.load(path)
    assert str(path) in str(raised.value)


def test_a_missing_record_says_what_makes_it(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="make record FIGURE=fig4a makes it"):
        records.load(tmp_path / "fig4a.json")
    (tmp_path / "fig4a.json").write_text("{")
    with pytest.raises(RecordError, match="is not a record"):
        records.load(tmp_path / "fig4a.json")


def test_a_threshold_run_without_its_outcomes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "fig4a.json"
    records.save(whole(), path)
    found = json.loads(path.read_text())
    del found["cases"][1]["columns"]["met"]
    path.write_text(json.dumps(found))
    with pytest.raises(RecordError, match="lacks 'met'"):
        records.load(path)
