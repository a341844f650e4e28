"""The threshold rule stops after m d²/(min α tol) rounds, at d(x, S) ≤ (c/m) Σ √tol/μ_i."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localgd import AffineSubspace, Ball, HalfSpace, SquaredDistance, UntilStationary, run

LIMIT = 400


def lines(phi):
    return SquaredDistance(
        [AffineSubspace([0.0, 0.0], [[math.cos(phi), s * math.sin(phi)]]) for s in (1, -1)]
    )


def frozen(problem, start, tol, eta):
    """The run, and how many of its rounds moved some node."""
    rule = UntilStationary(grad_tol=tol)
    trace = run(problem, start, local_steps=rule, step_size=eta, rounds=LIMIT)
    return trace, int((trace.local_steps[1:].sum(1) > 0).sum())


@pytest.mark.claim("freeze-distance", kind="numeric")
@settings(max_examples=20)
@given(
    st.floats(0.2, 0.78),
    st.integers(1, 18),
    st.sampled_from([1e-1, 1e-3, 1e-6]),
    st.floats(0, 2 * math.pi),
)
def test_where_and_when_a_run_on_two_lines_stops(phi, twentieths, tol, angle):
    eta, start = twentieths / 20, [math.cos(angle), math.sin(angle)]
    trace, moving = frozen(lines(phi), start, tol, eta)
    assert trace.local_steps[-1].sum() == 0
    c = 2 / math.sin(2 * phi)  # the best constant; L = μ = 2
    assert trace.dist[-1] <= c * math.sqrt(tol) / 2 * (1 + 1e-9)
    assert moving <= 2 * trace.dist[0] ** 2 / (eta * (1 - eta) * tol)


@pytest.mark.claim("freeze-distance", kind="numeric")
def test_the_bound_is_attained():
    # on the first line both nodes rest exactly where node 2's gradient is √tol
    phi, tol = 0.5, 1e-4
    gap = math.sqrt(tol) / 2  # d(x, S_2) there
    x = gap / math.sin(2 * phi) * np.array([math.cos(phi), math.sin(phi)])
    trace, moving = frozen(lines(phi), (x * (1 - 1e-9)).tolist(), tol, 0.25)
    assert moving == 0
    worst_over_the_nodes = 2 / math.sin(2 * phi) * (0 + gap) / 2  # (c/m) Σ d(x, S_i)
    assert trace.dist[-1] == pytest.approx(worst_over_the_nodes, rel=1e-6)


# Negative controls.


@pytest.mark.claim("freeze-distance", kind="control")
def test_without_separation_the_distance_is_not_of_order_root_tol():
    sets = [Ball([0.0, 1.0], 1.0), HalfSpace([0.0, 1.0], 0.0)]
    touching = SquaredDistance(sets, common=Ball([0.0, 0.0], 0.0))
    shares = []
    for tol in (1e-2, 1e-4):
        trace, _ = frozen(touching, [0.9, 0.1], tol, 0.5)
        assert trace.local_steps[-1].sum() == 0
        shares.append(trace.dist[-1] / math.sqrt(tol))
    assert shares[1] > 2 * shares[0]


@pytest.mark.claim("freeze-distance", kind="control")
def test_half_the_constant_is_too_small():
    phi, tol = 0.5, 1e-4
    gap = math.sqrt(tol) / 2
    x = gap / math.sin(2 * phi) * np.array([math.cos(phi), math.sin(phi)])
    trace, moving = frozen(lines(phi), (x * (1 - 1e-9)).tolist(), tol, 0.25)
    assert moving == 0
    assert trace.dist[-1] > 0.49 * (2 / math.sin(2 * phi)) * gap
    assert trace.dist[-1] > 1.01 * gap  # and with c = 1 it is false
