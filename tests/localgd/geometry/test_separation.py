"""The separation constant: closed forms, bounds, the point that attains it, and its certificate."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from localgd import AffineSubspace
from localgd.geometry import intersection, separation_constant, sigma_min
from localgd.geometry.separation_bound import branch_and_bound

ORIGIN = [0.0, 0.0]


def line(*direction: float) -> AffineSubspace:
    """The line through the origin along `direction`."""
    return AffineSubspace([0.0] * len(direction), [list(direction)])


def lines(*angles: float) -> list[AffineSubspace]:
    """Lines through the origin of the plane at the given angles."""
    return [line(math.cos(a), math.sin(a)) for a in angles]


def cone_lines(m: int, phi: float) -> list[AffineSubspace]:
    """m lines equally spaced on the cone of half-angle phi about the third axis."""
    around = 2 * math.pi * np.arange(m) / m
    return [
        line(math.sin(phi) * math.cos(a), math.sin(phi) * math.sin(a), math.cos(phi))
        for a in around
    ]


def mean_distance(sets: list[AffineSubspace], point: torch.Tensor) -> float:
    """(1/m) Σ d(p + point, S_i) with p ∈ S; d(p + point, S) is 1 where point is a unit normal."""
    common = intersection(sets)
    return sum(float(s.distance(common.point + point)) for s in sets) / len(sets)


@st.composite
def families(draw, num_nodes=(1, 4), max_dim=5):
    """Affine subspaces of every rank through a random point, at least one of them proper."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dim, m = draw(st.integers(1, max_dim)), draw(st.integers(*num_nodes))
    point = rng.standard_normal(dim)
    sets = []
    for _ in range(m):
        normals = rng.standard_normal((draw(st.integers(0, dim)), dim))
        sets.append(AffineSubspace.from_normals(point, normals))
    assume(any(len(s.normals) for s in sets))
    return sets


# Where c is known.


@pytest.mark.parametrize("phi", [math.pi / 4, 0.7, 0.3, 0.05, 1e-3, 1e-5])
def test_two_lines(phi):
    found = separation_constant(lines(phi, -phi))
    assert found.c == pytest.approx(2 / math.sin(2 * phi), rel=1e-9)
    assert found.c <= found.upper <= found.c * (1 + 1e-12)
    on_a_line = min(abs(math.sin(math.atan2(*found.point.flip(0)) - a)) for a in (phi, -phi))
    assert on_a_line < 1e-10


@given(st.floats(1e-5, math.pi / 4))
def test_two_lines_at_any_angle(phi):
    assert separation_constant(lines(phi, -phi)).c == pytest.approx(2 / math.sin(2 * phi), rel=1e-6)


@pytest.mark.parametrize("k", [2, 3, 4, 5, 8, 16])
def test_lines_equally_spaced_in_the_plane(k):
    found = separation_constant(lines(*(math.pi * j / k for j in range(k))))
    assert found.c == pytest.approx(k * math.tan(math.pi / (2 * k)), rel=1e-9)
    assert found.gap <= 1e-12


@pytest.mark.parametrize("dim", [2, 3, 5])
def test_orthogonal_hyperplanes(dim):
    # Q = I/m, and on an axis only one distance is not zero: c = m.
    sets = [AffineSubspace.from_normals(np.zeros(dim), [row]) for row in np.eye(dim)]
    found = separation_constant(sets)
    assert found.c == pytest.approx(dim, rel=1e-9)
    assert found.gap <= 1e-6


@pytest.mark.parametrize(("dim", "inner"), [(2, 1), (3, 1), (5, 3)])
def test_a_subspace_and_the_origin(dim, inner):
    directions = np.linalg.qr(np.random.default_rng(dim).standard_normal((dim, dim)))[0]
    sets = [
        AffineSubspace(np.zeros(dim), directions[:inner]),
        AffineSubspace(np.zeros(dim), []),
    ]
    assert separation_constant(sets).c == pytest.approx(2, rel=1e-9)


@pytest.mark.parametrize(("m", "phi"), [(3, 0.1), (3, 0.4), (4, 0.2), (5, 0.4)])
def test_lines_on_a_cone_attain_the_lower_bound(m, phi):
    # The axis is at the same distance sin φ from all: c = 1/sin φ = σ^{-1/2}.
    sets = cone_lines(m, phi)
    found = separation_constant(sets)
    assert found.c == pytest.approx(1 / math.sin(phi), rel=1e-9)
    assert found.c == pytest.approx(sigma_min(sets) ** -0.5, rel=1e-9)
    assert abs(float(found.point[2])) == pytest.approx(1, abs=1e-6)
    assert found.gap <= 1.001e-6


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 10**6))
def test_equal_sets_have_the_constant_one(m, rank, seed):
    rng = np.random.default_rng(seed)
    subspace = AffineSubspace.from_normals(rng.standard_normal(4), rng.standard_normal((rank, 4)))
    assert separation_constant([subspace] * m).c == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("wholes", [1, 2, 3])
def test_the_whole_space_only_dilutes(wholes):
    plane = AffineSubspace(ORIGIN, np.eye(2))
    for proper in (lines(0.3, -0.3), lines(0.0), [AffineSubspace(ORIGIN, [])]):
        alone = separation_constant(proper).c
        found = separation_constant([*proper, *[plane] * wholes])
        assert found.c == pytest.approx(alone * (len(proper) + wholes) / len(proper), rel=1e-9)


@pytest.mark.parametrize("max_boxes", [0, 100])
@pytest.mark.parametrize("wholes", [1, 3])
def test_the_whole_space_dilutes_the_certificate_as_well(wholes, max_boxes):
    cone, space = cone_lines(4, 0.4), AffineSubspace([0.0] * 3, np.eye(3))
    alone = separation_constant(cone, max_boxes=max_boxes)
    found = separation_constant([*cone, *[space] * wholes], max_boxes=max_boxes)
    assert found.c == pytest.approx(alone.c * (4 + wholes) / 4, rel=1e-9)
    assert found.upper == pytest.approx(alone.upper * (4 + wholes) / 4, rel=1e-6)


@given(families(num_nodes=(2, 2)))
def test_two_subspaces_by_their_principal_angles(sets):
    # The angle by SciPy's independent route; an angle is counted where it is not zero.
    from scipy.linalg import null_space, subspace_angles

    common = intersection(sets).normals.numpy()
    assert len(common)
    inside = [null_space(s.normals.numpy() @ common.T) for s in sets]
    if len(sets[0].normals) == 0:
        inside[0] = np.eye(len(common))
    if len(sets[1].normals) == 0:
        inside[1] = np.eye(len(common))
    found = separation_constant(sets)
    if inside[0].shape[1] and inside[1].shape[1]:
        least = subspace_angles(*inside).min()
        assume(least > 1e-3)
        assert found.c == pytest.approx(2 / math.sin(least), rel=1e-9)
    else:
        equal = inside[0].shape[1] == inside[1].shape[1]
        assert found.c == pytest.approx(1 if equal else 2, rel=1e-9)


# What it must always satisfy.


@settings(max_examples=80)
@given(families())
def test_bounds_witness_and_certificate(sets):
    found, sigma, m = separation_constant(sets), sigma_min(sets), len(sets)
    assert sigma**-0.5 * (1 - 1e-9) <= found.c <= min(1 / sigma, (m / sigma) ** 0.5) * (1 + 1e-9)
    assert found.c <= found.upper <= found.c * (1 + 1.001e-6)
    # the point is a unit vector of S^⊥ and attains c
    normals = intersection(sets).normals
    assert float(found.point @ found.point) == pytest.approx(1, abs=1e-12)
    torch.testing.assert_close(normals.T @ (normals @ found.point), found.point)
    assert mean_distance(sets, found.point) * found.c == pytest.approx(1, rel=1e-7)


@settings(max_examples=30)
@given(families(num_nodes=(3, 4), max_dim=4), st.integers(0, 10**6))
def test_no_random_direction_needs_more_than_the_upper_bound(sets, seed):
    found = separation_constant(sets)
    normals = intersection(sets).normals.numpy()
    u = np.random.default_rng(seed).standard_normal((5000, len(normals))) @ normals
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    means = sum(np.linalg.norm(u @ s.normals.numpy().T, axis=1) for s in sets) / len(sets)
    assert 1 / means.min() <= found.upper * (1 + 1e-9)


@settings(max_examples=20)
@given(families(), st.integers(0, 10**6))
def test_translation_does_not_change_it(sets, seed):
    shift = torch.as_tensor(np.random.default_rng(seed).standard_normal(sets[0].dim) * 100)
    moved = [AffineSubspace.from_normals(s.point + shift, s.normals) for s in sets]
    assert separation_constant(moved).c == pytest.approx(separation_constant(sets).c, rel=1e-6)


def test_many_sets_in_a_small_space_are_searched_in_reasonable_time():
    rng = np.random.default_rng(0)
    sets = [AffineSubspace(np.zeros(3), rng.standard_normal((1, 3))) for _ in range(12)]
    found, sigma = separation_constant(sets, max_boxes=200), sigma_min(sets)
    assert sigma**-0.5 <= found.c <= found.upper <= min(1 / sigma, (12 / sigma) ** 0.5)


# The certificate and the limits on work.


def test_fewer_boxes_leave_a_wider_gap_and_say_so():
    sets = cone_lines(4, 0.4)
    gaps = [separation_constant(sets, max_boxes=boxes).gap for boxes in (0, 100, 4000)]
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[0] > 0.1
    assert gaps[2] <= 1.001e-6
    for boxes in (0, 100):
        assert separation_constant(sets, max_boxes=boxes).c == pytest.approx(1 / math.sin(0.4))


def test_a_finer_tolerance_is_met():
    assert separation_constant(cone_lines(3, 0.4), rtol=1e-3).gap <= 1.001e-3
    assert separation_constant(cone_lines(3, 0.4), rtol=1e-8).gap <= 1.001e-8


def test_the_bound_does_not_rest_on_the_witness_it_is_given():
    # Fed with a value 3 % too high, it meets a better point, reports it and certifies that one.
    grams = np.stack([s.normals.numpy().T @ s.normals.numpy() for s in cone_lines(3, 0.4)])
    best = math.sin(0.4)
    bound = branch_and_bound(grams, 1.03 * best, 1e-6, 4000)
    assert bound.witness is not None
    value = np.sqrt(np.einsum("ijk,j,k->i", grams, bound.witness, bound.witness)).mean()
    assert best * (1 - 1e-12) <= value <= best * (1 + 1e-5)
    assert best * (1 - 2e-6) <= bound.low <= best * (1 + 1e-12)


def test_float32_sets_give_a_float32_point():
    sets = [s.to(torch.device("cpu"), torch.float32) for s in lines(0.3, -0.3)]
    found = separation_constant(sets)
    assert found.point.dtype == torch.float32
    assert found.c == pytest.approx(2 / math.sin(0.6), rel=1e-5)


@pytest.mark.parametrize(
    ("sets", "options", "message"),
    [
        ([], {}, "sets is empty"),
        ([line(1.0, 0.0), line(1.0, 0.0, 0.0)], {}, r"the set of node 1 is in R\^3, expected R\^2"),
        (
            [line(1.0, 0.0), AffineSubspace([0.0, 1.0], [[1.0, 0.0]])],
            {},
            "no point in common",
        ),
        ([AffineSubspace(ORIGIN, np.eye(2))] * 2, {}, "every set is the whole space"),
        (lines(0.0, 1.0), {"rtol": 0.0}, "rtol=0.0 must lie between 0 and 1"),
        (lines(0.0, 1.0), {"rtol": math.nan}, "rtol=nan must lie"),
        (lines(0.0, 1.0), {"max_boxes": -1}, "max_boxes=-1 must be an integer ≥ 0"),
        (lines(0.0, 1.0), {"max_boxes": 1.5}, "max_boxes=1.5 must be"),
    ],
)
def test_bad_input_is_refused(sets, options, message):
    with pytest.raises(ValueError, match=message):
        separation_constant(sets, **options)
