"""What a rule may plan, and numbers of steps that cannot be counted."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from localgd import FixedSteps, LeastSquares, Rule, ScheduledSteps, UntilStationary, run
from localgd.algorithm.rules import Plan

PROBLEM = LeastSquares([np.eye(2)] * 2, [np.ones(2)] * 2)


class Planned(Rule):
    """Plans what it is given for m nodes."""

    def __init__(self, make: Callable[[int], object]) -> None:
        self.make = make

    def plan(self, info, num_nodes):
        return self.make(num_nodes)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda m: Plan(np.full(m, 2.5)), ValueError, r"\[2\.5, 2\.5\] steps: expected whole"),
        (lambda m: Plan(np.full(m, -3)), ValueError, r"\[-3, -3\] steps"),
        (lambda m: Plan(np.full(m, math.inf)), ValueError, r"\[inf, inf\] steps"),
        (lambda m: Plan(np.full(m + 1, 2)), ValueError, r"shape \(3,\) for 2 nodes"),
        (lambda m: Plan(np.full(m, 2), -1.0), ValueError, r"grad_tol=-1\.0"),
        (lambda m: Plan(np.full(m, 2), math.nan), ValueError, "grad_tol=nan"),
        (lambda m: [2] * m, TypeError, r"planned \[2, 2\]: expected a Plan"),
        (lambda m: None, TypeError, "planned None"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_rule(make, error, message):
    with pytest.raises(error, match=f"Planned.*{message}"):
        run(PROBLEM, local_steps=Planned(make), step_size=0.2, rounds=1)


@pytest.mark.parametrize("engine", ["eager", "closed"])
def test_whole_numbers_of_any_type_are_steps_and_none_is_one_of_them(engine):
    rule = Planned(lambda m: Plan(np.array([0.0, 2.0])))
    trace = run(PROBLEM, local_steps=rule, step_size=0.2, rounds=1, engine=engine)
    assert trace.local_steps[1].tolist() == [0, 2]
    np.testing.assert_allclose(trace.x, 0.5 * (1 - 0.8**2), rtol=1e-12)


@pytest.mark.parametrize(
    "make",
    [
        lambda: FixedSteps(2**63),
        lambda: FixedSteps([1, 10**30]),
        lambda: UntilStationary(1e-3, 10**30),
        lambda: ScheduledSteps([1e19, 1]),
    ],
)
def test_more_steps_than_can_be_counted_are_refused(make):
    with pytest.raises(ValueError, match="below 2⁶³"):
        make()


def test_an_array_without_axes_is_one_number_for_all_nodes():
    trace = run(PROBLEM, local_steps=np.array(3), step_size=0.2, rounds=1)
    assert trace.local_steps[1].tolist() == [3, 3]
