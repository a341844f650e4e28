"""No server that combines mean moves beats 1/T_n(1/c) on two subspaces with cosine c."""

import math

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from localgd import (
    Anderson,
    Average,
    ConjugateGradient,
    Nesterov,
    Relaxed,
    SquaredDistance,
    ToOptimum,
    run,
)
from localgd.theory import fewest_rounds, hard_subspaces, round_map

X = sp.symbols("x")


def chebyshev(n: int, y: float) -> float:
    """T_n(y) for y ≥ 1."""
    return math.cosh(n * math.acosh(y))


@pytest.mark.claim("accelerated-bound", kind="symbolic")
@pytest.mark.mutation(
    "sign", "best = sp.chebyshevt(n, (1 - 2 * X) / c)", "best = sp.chebyshevt(n, (1 + 2 * X) / c)"
)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_chebyshevs_polynomial_is_the_best_one_for_this_start(n):
    c = sp.symbols("c", positive=True)
    lam = [(1 - c * sp.cos(sp.pi * j / n)) / 2 for j in range(n + 1)]
    signed = [
        1 / (lam[j] * sp.prod([lam[j] - lam[k] for k in range(n + 1) if k != j]))
        for j in range(n + 1)
    ]
    # x_0 weighs λ_j by |signed_j|, p* alternates: it is at right angles to λ, …, λⁿ
    for k in range(1, n + 1):
        assert sp.simplify(sum(w * v**k for w, v in zip(signed, lam, strict=True))) == 0
    best = sp.chebyshevt(n, (1 - 2 * X) / c)
    assert [sp.simplify(best.subs(X, v)) for v in lam] == [(-1) ** j for j in range(n + 1)]


@pytest.mark.claim("accelerated-bound")
@pytest.mark.mutation("formula", "1 / chebyshev(n, 1 / c)", "c**n")
@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 7), c=st.floats(0.3, 0.97))
def test_no_combination_of_the_moves_is_better(n, c):
    sets, start = hard_subspaces(n, c)
    A = round_map(SquaredDistance(sets), math.inf, 0.25).numpy()
    powers = np.stack([np.linalg.matrix_power(A, k) @ start for k in range(1, n + 1)], 1)
    best = np.linalg.lstsq(powers, -start, rcond=None)[0]
    found = np.linalg.norm(start + powers @ best)
    assert found == pytest.approx(1 / chebyshev(n, 1 / c), rel=1e-6)


@pytest.mark.claim("accelerated-bound")
@pytest.mark.parametrize("n", [2, 5])
@pytest.mark.parametrize(
    "server",
    [Average(), Relaxed(2.0), Nesterov(), Anderson(10, safeguard=False), ConjugateGradient()],
    ids=repr,
)
def test_every_server_stays_above_it(server, n):
    sets, start = hard_subspaces(n, 0.9)
    call = {"local_steps": ToOptimum(), "step_size": 0.5, "rounds": n, "server": server}
    trace = run(SquaredDistance(sets), start, **call)
    assert np.linalg.norm(trace.x) >= (1 - 1e-9) / chebyshev(n, 1 / 0.9)


@pytest.mark.claim("accelerated-bound", kind="control")
@pytest.mark.parametrize("n", [2, 5])
def test_a_round_more_is_enough(n):
    """The bound of n rounds does not hold for n + 1: A has n + 1 eigenvalues."""
    sets, start = hard_subspaces(n, 0.9)
    assert fewest_rounds(SquaredDistance(sets), math.inf, 0.5, 1e-18, start) == n + 1


@pytest.mark.parametrize(("n", "c"), [(0, 0.5), (2, 0.0), (2, 1.0)])
def test_what_there_is_no_instance_for_is_refused(n, c):
    with pytest.raises(ValueError, match="must be"):
        hard_subspaces(n, c)
