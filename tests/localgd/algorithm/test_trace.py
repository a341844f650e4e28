"""What a run recorded survives a trip to the disk, and half a file does not pass for one."""

import json

import numpy as np
import pytest

from localgd import LeastSquares, ToOptimum, Trace, UntilStationary, run
from localgd.algorithm.trace import first_row
from localgd.files import write_atomically

PROBLEM = LeastSquares([[[1.0, 0.0]], [[0.0, 1.0], [1.0, 1.0]]], [[1.0], [2.0, 3.0]])


@pytest.mark.parametrize("local_steps", [3, UntilStationary(1e-3), ToOptimum()])
def test_save_and_load_give_back_every_column(tmp_path, local_steps):
    trace = run(PROBLEM, local_steps=local_steps, step_size=0.2, rounds=6)
    trace.save(tmp_path / "runs" / "a.npz")
    again = Trace.load(tmp_path / "runs" / "a.npz")
    for name in (
        "round",
        "loss",
        "grad_norm_sq",
        "dist",
        "local_steps",
        "met",
        "seconds",
        "bytes",
        "x",
    ):
        before, after = getattr(trace, name), getattr(again, name)
        assert (before is None) == (after is None), name
        if before is not None:
            np.testing.assert_array_equal(before, after)
            assert before.dtype == after.dtype
    assert again.reason == trace.reason
    assert again.provenance == trace.provenance


def test_provenance_says_what_ran():
    trace = run(PROBLEM, local_steps=[3, 4], step_size=0.2, rounds=1, stop=1e-9, seed=7)
    record = json.loads(json.dumps(trace.provenance))
    assert record["settings"] == {
        "local_steps": "FixedSteps([3, 4])",
        "step_size": [0.2, 0.2],
        "rounds": 1,
        "stop": 1e-9,
        "seed": 7,
        "server": "Average()",
        "engine": "auto",
        "chunks": [2],
        "convolutions": "grouped",
        "tf32": False,
    }
    assert record["problem"]["samples"] == [1, 2]
    assert set(record["versions"]) == {"localgd", "python", "torch", "numpy"}


def test_to_frame_has_one_row_a_round_and_one_column_a_node():
    frame = run(PROBLEM, local_steps=UntilStationary(1e-3), step_size=0.2, rounds=2).to_frame()
    assert list(frame["round"]) == [0, 1, 2]
    assert {"loss", "grad_norm_sq", "dist", "local_steps_0", "local_steps_1", "met_1"} <= set(frame)


def test_a_file_that_is_no_trace_is_refused_by_name(tmp_path):
    whole = tmp_path / "whole.npz"
    run(PROBLEM, local_steps=1, step_size=0.2, rounds=1).save(whole)
    for name, content in [
        ("cut.npz", whole.read_bytes()[:-40]),
        ("empty.npz", b""),
        ("text.npz", b"round,loss\n0,1\n"),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name} is not a saved trace"):
            Trace.load(tmp_path / name)
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(ValueError, match=r"other\.npz is not a saved trace"):
        Trace.load(tmp_path / "other.npz")


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    write_atomically(path, b"old")

    def full_disk(_):
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="no space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_first_row_is_the_first_and_its_absence_an_error():
    assert first_row([False, True, True]) == 1
    assert first_row(np.array([3.0, 2.0]) > 2.5) == 0
    with pytest.raises(ValueError, match="holds in none of the 2 rows"):
        first_row([False, False])


def test_what_is_measured_is_kept_row_by_row(tmp_path):
    call = {"local_steps": 3, "step_size": 0.2, "rounds": 6}
    seen = []

    def measure(x):
        seen.append(x.clone())
        x.zero_()  # what it does to its argument is its own affair
        return {"first": seen[-1][0], "square": np.float32(seen[-1] @ seen[-1])}

    trace = run(PROBLEM, **call, measure=measure)
    assert list(trace.measures) == ["first", "square"]
    np.testing.assert_array_equal(trace.measures["first"], [float(x[0]) for x in seen])
    assert trace.measures["first"].shape == (7,)
    np.testing.assert_array_equal(trace.x, run(PROBLEM, **call).x)
    np.testing.assert_array_equal(trace.to_frame()["square"], trace.measures["square"])
    trace.save(tmp_path / "a.npz")
    again = Trace.load(tmp_path / "a.npz")
    for name, column in trace.measures.items():
        np.testing.assert_array_equal(again.measures[name], column)
    assert run(PROBLEM, **call).measures == {}


@pytest.mark.parametrize(
    ("measure", "error", "message"),
    [
        (lambda x: float(x[0]), TypeError, "measure returned float, expected a mapping"),
        (
            lambda x: {"a" if x[0] == 0 else "b": 1.0},
            ValueError,
            r"\['b'\] after round 1 and \['a'\]",
        ),
    ],
)
def test_a_measure_that_returns_no_numbers_is_refused(measure, error, message):
    with pytest.raises(error, match=message):
        run(PROBLEM, local_steps=3, step_size=0.2, rounds=6, measure=measure)


def test_a_flipped_bit_is_refused_or_changes_nothing(tmp_path):
    trace = run(LeastSquares([np.eye(2)], [np.ones(2)]), local_steps=1, step_size=0.2, rounds=2)
    path = tmp_path / "trace.npz"
    trace.save(path)
    whole = path.read_bytes()
    refused = 0
    for bit in range(0, 8 * len(whole), 29):
        broken = bytearray(whole)
        broken[bit // 8] ^= 1 << bit % 8
        path.write_bytes(broken)
        try:
            found = Trace.load(path)
        except ValueError:
            refused += 1
            continue
        for name in ("loss", "x", "local_steps", "dist"):
            np.testing.assert_array_equal(getattr(found, name), getattr(trace, name))
    assert refused


def test_an_archive_without_the_columns_is_refused(tmp_path):
    path = tmp_path / "other.npz"
    np.savez(path, header=np.array('{"reason": "rounds", "provenance": {}}'))
    with pytest.raises(ValueError, match=r"not a saved trace: the columns bytes, .*, x differ"):
        Trace.load(path)
    np.save(tmp_path / "other.npy", np.ones(3))
    with pytest.raises(ValueError, match="not a saved trace"):
        Trace.load(tmp_path / "other.npy")
