"""Two affine sets, T = ∞: what a round, a relaxed round and the best polynomial take off."""

import math

import numpy as np
import pytest
import sympy as sp
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from localgd import AffineSubspace, Relaxed, SquaredDistance, ToOptimum, run
from localgd.theory import contraction_factor, round_map


def subspaces(seed: int, d: int, dims: tuple[int, int], shared: int = 0):
    """Two subspaces given by random normals, `shared` of them the same."""
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((shared, d))
    normals = [np.vstack([common, rng.standard_normal((k, d))]) for k in dims]
    bases = [np.linalg.svd(n)[2][: len(n)] for n in normals]
    sets = [AffineSubspace(np.zeros(d), np.linalg.svd(n)[2][len(n) :]) for n in normals]
    cosines = np.linalg.svd(bases[0] @ bases[1].T, compute_uv=False)
    return SquaredDistance(sets), float(max(cosines[cosines < 1 - 1e-9], default=0.0))


PAIRS = {"seed": st.integers(0, 10**6), "a": st.integers(1, 3), "b": st.integers(1, 3)}


@pytest.mark.claim("accelerated-rates", kind="symbolic")
def test_the_eigenvalues_of_two_lines():
    theta = sp.symbols("theta", positive=True)
    normal = [sp.Matrix([-sp.sin(a), sp.cos(a)]) for a in (theta / 2, -theta / 2)]
    A = sum((n * n.T for n in normal), sp.zeros(2)) / 2
    expected = sp.diag((1 - sp.cos(theta)) / 2, (1 + sp.cos(theta)) / 2)
    assert sp.simplify(A - expected) == sp.zeros(2)


@pytest.mark.claim("accelerated-rates", kind="symbolic")
def test_the_rates_in_terms_of_the_angle():
    c = sp.symbols("c", positive=True)
    low, high = (1 - c) / 2, (1 + c) / 2
    assert sp.simplify(2 / (low + high) - 2) == 0
    assert sp.simplify((high - low) / (high + low) - c) == 0
    root = sp.sqrt(high / low)
    for value in (sp.Rational(3, 5), sp.Rational(5, 13), sp.Rational(8, 17)):  # s is rational
        s = sp.sqrt(1 - value**2)
        rate = ((root - 1) / (root + 1)).subs(c, value)
        assert sp.simplify(rate - value / (1 + s)) == 0


@pytest.mark.claim("accelerated-rates")
@settings(max_examples=40, deadline=None)
@given(**PAIRS)
def test_the_factors_of_a_round(seed, a, b):
    problem, c = subspaces(seed, 8, (a, b))
    assume(c < 0.999)
    assert contraction_factor(problem, math.inf, 0.5) == pytest.approx((1 + c) / 2, abs=1e-9)
    A = round_map(problem, math.inf, 0.5).numpy()
    values = np.linalg.eigvalsh(A)
    values = values[values > 1e-9]
    assert np.abs(1 - 2 * values).max() == pytest.approx(c, abs=1e-9)
    for omega in (1.5, 1.9, 2.1):
        assert np.abs(1 - omega * values).max() >= c - 1e-9


@pytest.mark.claim("accelerated-rates", kind="control")
@settings(max_examples=20, deadline=None)
@given(**PAIRS)
def test_with_a_shared_direction_twice_the_step_does_not_converge(seed, a, b):
    problem, _ = subspaces(seed, 8, (a, b), shared=1)
    start = np.random.default_rng(seed).standard_normal(8)
    call = {"local_steps": ToOptimum(), "step_size": 0.5, "rounds": 400}
    twice = run(problem, start, server=Relaxed(2.0), **call)
    once = run(problem, start, **call)
    assert twice.dist[-1] > 0.99 * twice.dist[-2] > 1e-6
    assert once.dist[-1] < once.dist[0]
