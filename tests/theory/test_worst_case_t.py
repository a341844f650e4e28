"""What T local steps are worth in the worst case: two count for two, and none for more than e."""

import math
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp

from localgd import AffineSubspace, SquaredDistance, run
from localgd.theory import worst_case, worst_case_any_nodes
from localgd.theory.certificate import (
    is_positive_semidefinite,
    one_step_multipliers,
    proves_loss,
    two_step_multipliers,
)


def floor(n):
    """(1/2) max q(1 − q)^2n: what two lines keep, whatever the T."""
    return Fraction((2 * n) ** (2 * n), (2 * n + 1) ** (2 * n + 1)) / 2


@pytest.mark.claim("worst-case-T", kind="symbolic")
@pytest.mark.parametrize("n", range(1, 12))
def test_two_local_steps_count_for_two(n):
    assert proves_loss(two_step_multipliers(n), n, 2, Fraction(1, 8 * n + 2))


@pytest.mark.claim("worst-case-T", kind="symbolic")
@pytest.mark.parametrize("n", [1, 2, 5, 12])
def test_one_local_step_is_gradient_descent(n):
    assert proves_loss(one_step_multipliers(n), n, 1, Fraction(1, 4 * n + 2))


@pytest.mark.claim("worst-case-T", kind="numeric")
@pytest.mark.parametrize(
    ("n", "T", "expected"),
    [(1, 1, 1 / 6), (3, 1, 1 / 14), (1, 2, 1 / 10), (3, 2, 1 / 26), (2, 3, 0.04252475)],
)
def test_known_values_and_those_of_equal_nodes(n, T, expected):
    case = worst_case_any_nodes(n, T)
    assert case.value == pytest.approx(expected, rel=1e-6)
    alone = worst_case_any_nodes(n, T, single_node=True).value
    assert alone == pytest.approx(1 / (4 * n * T + 2), rel=1e-6)
    assert case.value >= alone * (1 - 1e-7)


@pytest.mark.claim("worst-case-T", kind="numeric")
def test_after_one_round_the_fourth_step_makes_it_worse():
    third, fourth = (worst_case_any_nodes(1, T).value for T in (3, 4))
    assert third + 5e-5 < fourth < Fraction(1, 10)


@pytest.mark.claim("worst-case-T", kind="numeric")
@pytest.mark.parametrize("m", [2, 3])
def test_the_number_of_nodes_does_not_matter(m):
    general = worst_case(1, 3, m, measure="grad_norm_sq").value
    assert general == pytest.approx(worst_case_any_nodes(1, 3, 1.0, "grad_norm_sq").value, abs=1e-7)


@pytest.mark.claim("worst-case-T", kind="numeric")
@pytest.mark.parametrize(("n", "T", "eta"), [(1, 5, 1.0), (2, 4, 0.5), (3, 2, 0.7)])
def test_two_lines_lie_under_every_worst_case(n, T, eta):
    q = 1 / (2 * n + 1)
    pair = [AffineSubspace([0.0, 0.0], [[math.sqrt(1 - q), s * math.sqrt(q)]]) for s in (1, -1)]
    trace = run(SquaredDistance(pair), [1.0, 0.0], local_steps=T, step_size=eta / 2, rounds=n)
    kept = trace.loss[-1] / 2  # squared distances have L = 2
    assert (
        float(floor(n)) * (1 - 1e-9) <= kept <= worst_case_any_nodes(n, T, eta).value * (1 + 1e-7)
    )


@pytest.mark.claim("worst-case-T", kind="symbolic")
def test_the_floor_is_e_times_under_gradient_descent():
    n = sp.symbols("n", positive=True)
    steps = ((2 * n + 1) * (1 + 1 / (2 * n)) ** (2 * n) - 1) / 2  # 1/(4k + 2) = floor
    assert sp.limit(steps / n, n, sp.oo) == sp.E
    for k in (1, 2, 5, 30, 400):
        assert 1 / (4 * floor(k)) - Fraction(1, 2) <= math.e * k + (math.e - 1) / 2


@pytest.mark.claim("worst-case-T", kind="numeric")
def test_the_functions_found_attain_the_value():
    case = worst_case_any_nodes(2, 3, margin=1e-8)
    trace = run(case.problem(), case.start, local_steps=3, step_size=1.0, rounds=2)
    assert np.linalg.norm(case.start) == pytest.approx(1, abs=1e-6)
    assert trace.loss[-1] == pytest.approx(case.value, abs=1e-6)


# Negative controls.


@pytest.mark.claim("worst-case-T", kind="control")
@pytest.mark.parametrize("n", [1, 4])
def test_wrong_multipliers_and_smaller_values_prove_nothing(n):
    right, value = two_step_multipliers(n), Fraction(1, 8 * n + 2)
    assert not proves_loss(right, n, 2, value * Fraction(99, 100))
    with pytest.raises(ValueError, match="the points of this run"):
        proves_loss(right, n, 1, value)
    shifted = dict(right)
    shifted[0, 1] += Fraction(1, 1000)
    assert not proves_loss(shifted, n, 2, value)
    negative = {pair: -weight for pair, weight in right.items()}
    assert not proves_loss(negative, n, 2, value)
    assert not is_positive_semidefinite([[Fraction(0), Fraction(1)], [Fraction(1), Fraction(0)]])


@pytest.mark.claim("worst-case-T", kind="control")
def test_gradient_descents_multipliers_do_not_do_for_two_steps():
    assert proves_loss(one_step_multipliers(2), 2, 1, Fraction(1, 10))
    assert not proves_loss(one_step_multipliers(4), 2, 2, Fraction(1, 18))


@pytest.mark.claim("worst-case-T", kind="control")
def test_without_the_common_minimiser_the_bound_is_violated():
    assert worst_case(1, 2, common_minimiser=False).value > 1.5 * worst_case(1, 2).value


@pytest.mark.claim("worst-case-T", kind="control")
def test_beyond_two_over_l_it_grows():
    values = [worst_case_any_nodes(n, 1, 2.1).value for n in (1, 2, 4)]
    assert values == sorted(values)
    assert values[-1] > 1
