"""Two hosts on shaped links: rounds times measured costs choose a T that is nearly the fastest."""

import json
from pathlib import Path
from statistics import median

import pytest

RECORD = Path(__file__).parents[2] / "recorded" / "machines.json"
LINKS = (1, 10, 100, 1000)  # Mbit/s
PROBLEMS = ("colon-cancer", "LeNet")


def averages(problem, mbit):
    """The recorded runs of the average with a fixed T, by T."""
    found = json.loads(RECORD.read_text(encoding="utf-8"))["rows"]
    return {
        int(row["local_steps"]): row
        for row in found
        if (row.get("problem"), row["mbit"], row.get("server")) == (problem, mbit, "Average()")
        and row["local_steps"].isdigit()
    }


def counted(runs):
    """The T with the least n(T)(C_c + C_g T), from the seconds of T = 1 and of the largest T."""
    few, many = min(runs), max(runs)
    step = (many * runs[many]["step"] - few * runs[few]["step"]) / (many - few)
    beside = few * (runs[few]["step"] - step)
    message = beside + median(run["communicating"] for run in runs.values())
    return min(runs, key=lambda T: runs[T]["rounds"] * (message + step * T))


@pytest.mark.claim("machines-clock")
@pytest.mark.mutation("constant", "1.1 * least", "0.9 * least")
@pytest.mark.mutation("formula", "(message + step * T)", "message", within="counted")
def test_the_counted_steps_take_a_tenth_more_than_the_fastest_at_most():
    for problem in PROBLEMS:
        for mbit in LINKS:
            runs = averages(problem, mbit)
            least = min(run["seconds"] for run in runs.values())
            if least >= 0.2:
                assert runs[counted(runs)]["seconds"] <= 1.1 * least


@pytest.mark.claim("machines-clock", kind="control")
def test_one_step_is_not_nearly_the_fastest_on_the_slowest_link():
    for problem in PROBLEMS:
        runs = averages(problem, LINKS[0])
        assert runs[1]["seconds"] > 1.5 * min(run["seconds"] for run in runs.values())
