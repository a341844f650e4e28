"""Affine S_i: P_S(x_n) = P_S(x_0) whatever T_i, η_i and m; so x_n → P_S(x_0) if it reaches S."""

import math
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from localgd import Ball, LeastSquares, SquaredDistance, ToOptimum, run
from quasi import inflection, saturated_descent
from rounds import nearest_common_point, one_round, squared_norm, stacked_normals
from strategies import AFFINE, federations


def round_map(case):
    """M with x_{n+1} − p = M(x_n − p), column by column."""
    columns = np.eye(len(case.point))
    return np.stack([one_round(case, case.point + e).end - case.point for e in columns], 1)


def onto_common(case):
    """The projector on the directions of S."""
    _, singular, right = np.linalg.svd(stacked_normals(case), full_matrices=False)
    basis = right[: int((singular > 1e-8).sum())]
    return np.eye(len(case.point)) - basis.T @ basis


# The proof.


@pytest.mark.claim("affine-limit", kind="symbolic")
def test_steps_normal_to_the_sets_do_not_move_the_projection():
    # two planes of R³ with normals a, b meet in a line along a × b
    a, b = (sp.Matrix(sp.symbols(f"{k}:3", real=True)) for k in "ab")
    s, t = sp.symbols("s t", real=True)
    assert sp.expand((s * a + t * b).dot(a.cross(b))) == 0


@pytest.mark.claim("affine-limit", kind="symbolic")
@pytest.mark.mutation("constant", "r * (2 - r)", "r * (1 - r)")
def test_a_step_towards_the_set_is_nearer_to_all_its_points():
    # y ∈ S_i: x − y = along + gap at right angles; the step takes the share r of the gap
    along, gap, r = sp.symbols("along gap r", real=True)
    before, after = along**2 + gap**2, along**2 + (1 - r) ** 2 * gap**2
    assert sp.expand(before - after - r * (2 - r) * gap**2) == 0


@pytest.mark.claim("affine-limit", kind="symbolic")
def test_mixed_nodes_exactly():
    # S_1: x = 0, S_2: x + y = 0 in R³ with different T and η; S is the z axis.
    x = sp.Matrix(sp.symbols("x y z", real=True))
    for etas, steps in (((1, 3), (1, 4)), ((5, 2), (3, 1))):
        ends = []
        for k, T, n in zip(etas, steps, [(1, 0, 0), (1, 1, 0)], strict=True):
            normal = sp.Matrix(n)
            end = x
            for _ in range(T):
                end = end - sp.Rational(1, k) * normal * normal.dot(end)
            ends.append(end)
        assert sp.expand((ends[0] + ends[1])[2] / 2) == x[2]


# Over random problems.


@pytest.mark.claim("affine-limit", kind="numeric")
@pytest.mark.mutation(
    "hypothesis", "one_round(case, case.x0).end)", "2 * one_round(case, case.x0).end + 1)"
)
@settings(max_examples=1000)
@given(federations(kinds=AFFINE))
def test_a_round_does_not_move_the_projection(case):
    before = nearest_common_point(case, case.x0)
    after = nearest_common_point(case, one_round(case, case.x0).end)
    assert squared_norm(after - before) <= 1e-20 * (1 + squared_norm(case.x0))


@pytest.mark.claim("affine-limit", kind="numeric")
@settings(max_examples=1000)
@given(federations(kinds=AFFINE))
def test_nor_does_a_round_of_quasi_convex_losses(case):
    etas = [eta * node.L / 2 for eta, node in zip(case.etas, case.nodes, strict=True)]  # L = 2
    ends = [
        saturated_descent(node, case.x0, eta, steps)
        for node, eta, steps in zip(case.nodes, etas, case.steps, strict=True)
    ]
    x = sum(ends) / len(ends)
    before = nearest_common_point(case, case.x0)
    assert squared_norm(nearest_common_point(case, x) - before) <= 1e-20 * (
        1 + squared_norm(case.x0)
    )
    # and it is nearer to every point of S, strictly so off S
    distance = squared_norm(case.x0 - before)
    for y in (case.point, before):
        assert squared_norm(x - y) <= squared_norm(case.x0 - y) * (1 + 1e-12) + 1e-20
    if distance > 1e-6:
        assert squared_norm(x - before) < distance


@pytest.mark.claim("affine-limit", kind="numeric")
@settings(max_examples=1000)
@given(federations(kinds=AFFINE, counts=(1, 2, 3, math.inf)))
def test_the_powers_of_the_round_map_tend_to_the_projection(case):
    limit = np.linalg.matrix_power(round_map(case), 2**28)
    np.testing.assert_allclose(limit, onto_common(case), atol=1e-5)


@pytest.mark.claim("affine-limit", kind="numeric")
@settings(max_examples=20)
@given(st.integers(0, 10**6))
def test_the_split_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    A, solution, x0 = rng.standard_normal((4, 6)), *rng.standard_normal((2, 6))
    A /= np.linalg.norm(A, 2)
    expected = x0 - np.linalg.pinv(A) @ A @ (x0 - solution)
    for cuts, T in (([], 3), ([2], 1), ([1, 2, 3], 5)):
        parts = np.split(A, cuts)
        problem = LeastSquares(parts, [part @ solution for part in parts])
        etas = 1.5 / problem.smoothness()
        trace = run(problem, x0, local_steps=T, step_size=etas, rounds=50)
        # the error that is left is all at right angles to S
        assert np.linalg.norm(trace.x - expected) == pytest.approx(trace.dist[-1], abs=1e-9)
        assert trace.dist[-1] < trace.dist[0]


# Negative controls.


@pytest.mark.claim("affine-limit", kind="control")
def test_for_discs_the_limit_depends_on_the_number_of_steps():
    discs = SquaredDistance([Ball([-0.75, 0.0], 1.0), Ball([0.75, 0.0], 1.0)])
    x0 = np.array([1.1, 1.5])
    rules = (1, 10, ToOptimum())
    limits = [run(discs, x0, local_steps=r, step_size=0.1, rounds=600).x for r in rules]
    assert np.linalg.norm(limits[0] - limits[2]) > 0.05
    offset = x0 - np.array([-0.75, 0.0])
    nearest = x0 - offset * (1 - 1 / np.linalg.norm(offset))
    assert np.linalg.norm(nearest - [0.75, 0]) < 1  # in both discs: this is P_S(x_0)
    assert min(np.linalg.norm(limit - nearest) for limit in limits) > 0.04


@pytest.mark.claim("affine-limit", kind="control")
def test_without_convergence_to_the_set_the_limit_is_elsewhere():
    x = Fraction(1)
    for _ in range(10):
        x -= inflection(x) / 50
    assert x == 1  # P_S(x_0) = 0


@pytest.mark.claim("affine-limit", kind="control")
@settings(max_examples=200)
@given(federations(kinds=AFFINE, counts=(1, 2, 3)))
def test_a_step_out_of_the_normal_directions_moves_the_projection(case):
    along = onto_common(case)
    if np.abs(along).max() > 1e-6:
        column = along[:, np.abs(along).max(0).argmax()]
        end = one_round(case, case.x0).end + 0.1 * column
        moved = nearest_common_point(case, end) - nearest_common_point(case, case.x0)
        assert squared_norm(moved) > 1e-4 * squared_norm(column) > 0
