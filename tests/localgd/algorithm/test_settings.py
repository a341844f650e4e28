"""Settings that cannot be run are refused by name, before any work."""

import math

import numpy as np
import pytest
import torch

from localgd import BalancedSteps, Checkpoint, LeastSquares, run

PROBLEM = LeastSquares([np.eye(2)], [np.ones(2)])
CALL = {"local_steps": 1, "step_size": 0.2, "rounds": 1}


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"dtype": torch.complex64}, ValueError, r"dtype=torch\.complex64 must be torch\.float32"),
        ({"dtype": torch.float16}, ValueError, r"dtype=torch\.float16"),
        ({"dtype": "float32"}, ValueError, "dtype=float32"),
        (
            {"step_size": 1e-50, "dtype": torch.float32},
            ValueError,
            r"step_size=1e-50 at node 0 is 0 in torch\.float32",
        ),
        ({"step_size": "0.1"}, TypeError, "step_size='0.1' must be a number"),
        ({"step_size": True}, TypeError, "step_size=True must be a number"),
        ({"stop": True}, TypeError, "stop=True must be a positive tolerance"),
        ({"stop": "1"}, TypeError, "stop='1'"),
        ({"seed": 1.7}, ValueError, r"seed=1\.7 must be an integer"),
        ({"seed": 2**64}, ValueError, "seed=18446744073709551616 must be"),
        ({"tf32": "x"}, TypeError, "tf32='x' must be True or False"),
        ({"device": "meta"}, ValueError, "device='meta' holds no numbers"),
        ({"device": None}, TypeError, "device=None must be a name"),
        ({"checkpoint": True}, TypeError, "checkpoint=True must be a path"),
    ],
)
def test_a_setting_that_cannot_be_run_is_named(given, error, message):
    with pytest.raises(error, match=message):
        run(PROBLEM, **(CALL | given))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: BalancedSteps(0.1, optimum=math.nan), ValueError, "optimum=nan must be finite"),
        (lambda: BalancedSteps(0.1, optimum=[0, math.inf]), ValueError, r"optimum=\[0, inf\]"),
        (lambda: BalancedSteps(None), ValueError, "cost_ratio=None must be positive"),
        (lambda: BalancedSteps(True), ValueError, "cost_ratio=True must be positive"),
        (lambda: BalancedSteps(0.1, max_steps=1.5), TypeError, r"max_steps=1\.5"),
        (lambda: Checkpoint("a", every_rounds=math.nan), ValueError, "every_rounds=nan"),
    ],
)
def test_a_part_that_cannot_be_run_is_named(make, error, message):
    with pytest.raises(error, match=message):
        make()
