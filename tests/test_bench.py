"""The benchmark measures what it says, and its record is one that the chapter can show."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.cases import CASES
from bench.timing import Timing, ratio, take_turns

ROOT = Path(__file__).resolve().parents[1]


def test_contenders_take_turns_and_the_order_is_reversed_every_other_time():
    calls: list[str] = []
    take_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, repeats=2)
    # warm-up, then in each turn once untimed and once timed
    assert "".join(calls) == "ab" + "aabb" + "bbaa"


def test_a_turn_takes_as_long_as_its_work():
    times = take_turns({"slow": lambda: time.sleep(0.02), "fast": lambda: None}, repeats=3)
    assert len(times["slow"].seconds) == 3
    assert min(times["slow"].seconds) >= 0.02


def test_ratios_are_taken_turn_by_turn():
    assert ratio(Timing([2.0, 40.0, 6.0]), Timing([1.0, 10.0, 2.0])) == (3.0, 2.5, 3.5)


@pytest.mark.parametrize("arguments", [["9"], ["--repeats", "2"]])
def test_bad_arguments_are_refused(arguments):
    run = subprocess.run(
        [sys.executable, "-m", "bench", *arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 2
    assert "cases are 1, 2, 3, 4, 5" in run.stderr


def test_a_case_runs_and_its_record_is_written(tmp_path):
    output = tmp_path / "bench.json"
    command = [sys.executable, "-m", "bench", "3", "--repeats", "3", "--output", str(output)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    record = json.loads(output.read_text())
    assert {row["case"][0] for row in record["rows"]} == {"3"}
    assert record["machine"]["torch"]
    assert "≥ 100" in run.stdout


def test_the_committed_record_holds_every_case():
    record = json.loads((ROOT / "recorded" / "bench-cpu.json").read_text())
    assert {row["case"][0] for row in record["rows"]} == set(CASES)
    assert set(record["machine"]) >= {"processor", "cores", "threads", "torch", "commit", "date"}
    assert set(record["lenet_profile"]) == {"localgd compiled", "loop over nodes"}
    assert all(row["low"] <= row["ratio"] <= row["high"] for row in record["rows"])


@pytest.mark.parametrize("path", ["recorded/bench-cpu.json"])
def test_a_target_is_met_when_the_median_that_is_shown_is_within_it(path):
    for row in json.loads((ROOT / path).read_text())["rows"]:
        sign, _, number = row["target"].partition(" ")
        if sign == "≥":
            assert row["met"] == (row["ratio"] >= float(number)), row
        elif sign == "≤":
            assert row["met"] == (row["ratio"] <= float(number)), row
        elif sign == "same":
            assert row["met"] == (1 / 1.2 <= row["ratio"] <= 1.2), row
        else:
            assert row["met"] is None


def test_the_readme_says_what_the_record_holds():
    record = json.loads((ROOT / "recorded" / "bench-cpu.json").read_text())
    fastest = {}
    for row in record["rows"]:
        if row["against"] == "loop over nodes":
            kind = (row["case"][0], row["case"].partition("m=")[2])
            fastest[kind] = max(row["ratio"], fastest.get(kind, 0.0))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for kind, of in {
        ("1", ""): "for LeNet on 10 × 100 images",
        ("2", ""): "for a softmax layer",
        ("4", "100"): "for a hundred small networks",
    }.items():
        said = re.search(rf"([0-9.]+) times (as fast as in the loop )?{of}", readme)
        assert said, of
        assert said[1] == f"{fastest[kind]:.1f}", of
