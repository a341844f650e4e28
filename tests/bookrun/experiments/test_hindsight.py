"""The record of rules for T against the best fixed T, and today's code where that is cheap."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from bookrun.experiments.hindsight import compare, follow, outcome, rules
from bookrun.experiments.settings import SETTINGS
from localgd import FixedSteps

ROWS = json.loads((Path(__file__).parents[3] / "recorded" / "choosing.json").read_text())["rows"]
DISC = SETTINGS["disc and half-plane"]


def test_the_record_has_every_problem_server_ratio_and_rule():
    expected = {
        (setting.name, repr(server), r, rule)
        for setting in SETTINGS.values()
        for server in setting.servers
        for r in setting.ratios
        for rule in rules(DISC, 0.1, 10.0)
    }
    found = [(row["setting"], row["server"], row["r"], row["rule"]) for row in ROWS]
    assert len(found) == len(set(found))
    assert set(found) == expected


def test_the_goals_of_the_record_are_those_of_the_settings():
    for row in ROWS:
        setting = SETTINGS[row["setting"]]
        assert row["loss_share"] == setting.loss_share
        assert row["residual_share"] == setting.residual_share


def test_todays_code_finds_what_is_recorded_on_the_disc():
    names = ("BalancedSteps", "T = 1", "AdaComm")
    kept = {row["rule"]: row for row in ROWS if row["setting"] == DISC.name and row["r"] == 0.1}
    for row in compare(DISC, (0.1,), names=names):
        assert row["best"] == kept[row["rule"]]["best"]
        assert row["ratio"] == pytest.approx(kept[row["rule"]]["ratio"], rel=1e-3)
        assert row["ratio_residual"] == pytest.approx(kept[row["rule"]]["ratio_residual"], rel=1e-3)


def test_a_cost_counts_the_rounds_until_the_goal_and_is_infinite_without():
    trace = follow(DISC, FixedSteps(3), 400)
    found = outcome(DISC, trace, 0.1)
    met = int(np.flatnonzero(trace.loss <= DISC.loss_share * trace.loss[0])[0])
    assert found.rounds == met
    assert found.loss == pytest.approx(met * 1.3)
    assert found.steps == (3,) * met
    short = outcome(DISC, follow(DISC, FixedSteps(3), 2), 0.1)
    assert math.isinf(short.loss)
