"""For convex losses the worst-case number of rounds of one problem can increase with T.

f_i(x) = ½ Σ_k max(⟨a_ik, x⟩, 0)², homogeneous of degree 2, so that a round has a largest factor
over all starts, and the factor of n rounds is at most its n-th power.
"""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

RAYS = ([(-4, -3), (-4, 0), (3, 0)], [(4, 5), (0, -4), (-2, 3)])
ETA = Fraction(1, 56)
COUNT = 20_000


def one_round(points, T, rays=RAYS, eta=float(ETA)):
    """The averages after T local steps from each row of `points`."""
    ends = []
    for rows in rays:
        A, y = np.array(rows, float), points
        for _ in range(T):
            y = y - eta * np.maximum(y @ A.T, 0) @ A
        ends.append(y)
    return np.mean(ends, 0)


def bounds(T, **problem):
    """The largest factor of a round lies between these: the map is homogeneous and 1-Lipschitz."""
    angle = np.arange(COUNT) * 2 * math.pi / COUNT
    circle = np.stack([np.cos(angle), np.sin(angle)], 1)
    found = float(np.linalg.norm(one_round(circle, T, **problem), axis=1).max())
    return found, found + math.pi / COUNT


@pytest.mark.claim("worst-starts", kind="symbolic")
def test_the_losses_are_56_smooth_with_the_minimiser_0_alone():
    for rows in RAYS:
        trace = sum(a * a + b * b for a, b in rows)
        det = sum(a * a for a, _ in rows) * sum(b * b for _, b in rows)
        det -= sum(a * b for a, b in rows) ** 2
        assert 56**2 - 56 * trace + det >= 0  # both eigenvalues on one side of 56
        assert trace <= 2 * 56
    # node 2 has its gradient 0 at 0 alone: some a_2k has ⟨a, x⟩ > 0 in every direction
    angles = sorted(math.atan2(b, a) for a, b in RAYS[1])
    gaps = np.diff([*angles, angles[0] + 2 * math.pi])
    assert gaps.max() < math.pi


@pytest.mark.claim("worst-starts", kind="symbolic")
def test_node_1_rests_at_the_start():
    assert all(b <= 0 for _, b in RAYS[0])  # ⟨a, (0, 1)⟩ = b


@pytest.mark.claim("worst-starts", kind="numeric")
def test_twelve_local_steps_beat_infinitely_many():
    _, at_most = bounds(12)
    assert at_most < 0.4912
    after = one_round(np.array([[0.0, 1.0]]), 3000)[0]
    assert after == pytest.approx([0, 0.5], abs=1e-12)


@pytest.mark.claim("worst-starts", kind="numeric")
def test_rounds_to_a_small_distance():
    goal = 1e-18
    needed = {T: math.log(goal) / math.log(f) for T, f in ((12, bounds(12)[1]), (math.inf, 0.5))}
    assert math.ceil(needed[12]) < math.ceil(needed[math.inf])


# Negative controls.


@pytest.mark.claim("worst-starts", kind="control")
def test_from_one_local_step_to_twelve_it_improves():
    factors = [bounds(T)[0] for T in (1, 2, 4, 8, 12)]
    assert factors == sorted(factors, reverse=True)


@pytest.mark.claim("worst-starts", kind="control")
def test_the_quadratics_on_the_same_rays_are_ordered():
    both = [[*rows, *[(-a, -b) for a, b in rows]] for rows in RAYS]
    factors = [bounds(T, rays=both)[0] for T in (1, 2, 12, 40, 400)]
    assert all(later <= earlier + 1e-12 for earlier, later in itertools.pairwise(factors))
