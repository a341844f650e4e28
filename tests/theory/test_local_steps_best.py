"""Local steps in total: never fewer than with T = 1 in the worst case, and fewer from some starts.

That no T does better in the worst case is ρ(T) ≥ ρ(1)^T, checked with `monotone-T`.
"""

from fractions import Fraction

import numpy as np
import pytest

from exact_rounds import norm_sq, round_map, times


@pytest.mark.claim("local-steps-best", kind="numeric")
@pytest.mark.mutation("constant", "{1: 17, 2: 6, 3: 6, 5: 5}", "{1: 17, 2: 34, 3: 6, 5: 5}")
@pytest.mark.mutation("exponent", "rho[0] ** 2", "rho[0]")
def test_from_one_start_more_local_steps_save_steps_too():
    # u₁ = (2, −3), u₂ = (3, −3), η = 1/18 from (2, −3) to a tenth of the distance
    rows, eta, start = [(2, -3), (3, -3)], Fraction(1, 18), [Fraction(2), Fraction(-3)]
    taken = {}
    for T in (1, 2, 3, 5):
        M, x, n = round_map(rows, eta, T), start, 0
        while norm_sq(x) > norm_sq(start) / 100:
            x, n = times(M, x), n + 1
        taken[T] = n * T
    assert taken == {1: 17, 2: 6, 3: 6, 5: 5}
    # in the worst case it is not so: ρ(2) ≥ ρ(1)²
    rho = [float(np.linalg.eigvalsh(np.array(round_map(rows, eta, T), float))[-1]) for T in (1, 2)]
    assert rho[1] > rho[0] ** 2


@pytest.mark.claim("local-steps-best", kind="control")
def test_from_the_worst_start_the_saving_is_gone():
    # the same two lines, from the top eigenvector of M₂
    rows, eta = [(2, -3), (3, -3)], Fraction(1, 18)
    maps = {T: np.array(round_map(rows, eta, T), float) for T in (1, 2)}
    start = np.linalg.eigh(maps[2])[1][:, -1]
    taken = {}
    for T, M in maps.items():
        x, n = start, 0
        while np.linalg.norm(x) > 0.1:
            x, n = M @ x, n + 1
        taken[T] = n * T
    assert taken[1] <= taken[2]
