"""More nodes: splitting every node evenly, T = 1, 2, ∞, one node to several; and what fails.

f_i = (1/k) Σ_j f_ij with η ≤ 1/max L_ij: M′_1 = M_1 and M′_T ⪰ M_T for T = 2, ∞, and ρ′(T) ≥ ρ(T)
for every T where m = 1.  Linearly independent samples: ρ(T) ≥ 1 − 1/m.
"""

import math
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from localgd import LeastSquares, ToOptimum, run
from localgd.geometry import sigma_min
from localgd.geometry.sets import AffineSubspace
from localgd.theory import contraction_factor

ROUNDING = 1e-9


@st.composite
def splits(draw, max_nodes=3):
    """Rows with integer entries, m, and k: m nodes in file order, and the km that split them."""
    m, k = draw(st.integers(1, max_nodes)), draw(st.integers(2, 3))
    shape = m * k * draw(st.integers(1, 2)), draw(st.integers(2, 5))
    rows = draw(arrays(np.int64, shape, elements=st.integers(-4, 4)))
    assume(rows.any(1).all())
    return rows.astype(float), m, k


def dealt(rows, m):
    """The rows dealt to m nodes in order; 0 is a common minimiser."""
    return LeastSquares(np.split(rows, m), np.zeros((m, len(rows) // m)))


def step_size(rows, *counts):
    """1/max L over all nodes of all the numbers of nodes."""
    return 1 / max(float(dealt(rows, m).smoothness().max()) for m in counts)


def round_map(rows, m, T, eta):
    """M_T = (1/m) Σ (I − ηH_i)^T, from the eigenvalues of each H_i."""
    total = np.zeros((rows.shape[1],) * 2)
    for A in np.split(rows, m):
        values, vectors = np.linalg.eigh(2 * A.T @ A / len(A))
        shrunk = np.where(values > 1e-9, (1 - eta * np.maximum(values, 0)) ** T, 1.0)
        total += (vectors * shrunk) @ vectors.T
    return total / m


# The theorem.


@pytest.mark.claim("more-nodes", kind="symbolic")
@pytest.mark.mutation("sign", "(part - mean) ** 2", "(part + mean) ** 2")
def test_the_square_of_a_mean_is_at_most_the_mean_of_squares():
    # mean of B_j² − (mean B_j)² = mean of (B_j − mean B)², for matrices that do not commute
    parts = [sp.Matrix(2, 2, sp.symbols(f"{name}:4")) for name in "bcd"]
    mean = sum(parts, sp.zeros(2)) / 3
    variance = sum(((part - mean) ** 2 for part in parts), sp.zeros(2)) / 3
    squares = sum((part**2 for part in parts), sp.zeros(2)) / 3
    assert sp.expand(squares - mean**2 - variance) == sp.zeros(2)


@pytest.mark.claim("more-nodes", kind="corrected")
@given(splits())
def test_one_step_does_not_see_the_split(split):
    rows, m, k = split
    eta = step_size(rows, m, k * m)
    np.testing.assert_allclose(
        round_map(rows, k * m, 1, eta), round_map(rows, m, 1, eta), atol=1e-9
    )


@pytest.mark.claim("more-nodes", kind="corrected")
@pytest.mark.parametrize("T", [2, math.inf])
@given(split=splits())
def test_an_even_split_raises_the_round_map(T, split):
    rows, m, k = split
    eta = step_size(rows, m, k * m)
    gap = round_map(rows, k * m, T, eta) - round_map(rows, m, T, eta)
    assert np.linalg.eigvalsh(gap).min() >= -1e-8
    assert contraction_factor(dealt(rows, k * m), T, eta) >= (
        contraction_factor(dealt(rows, m), T, eta) - ROUNDING
    )


@pytest.mark.claim("more-nodes", kind="corrected")
@given(split=splits(max_nodes=1), T=st.integers(1, 200))
def test_one_node_is_never_slower_than_its_parts(split, T):
    rows, _, k = split
    eta = step_size(rows, 1, k)
    one, many = (contraction_factor(dealt(rows, m), T, eta) for m in (1, k))
    assert many >= one - ROUNDING


@pytest.mark.claim("more-nodes", kind="corrected")
@given(split=splits(), T=st.integers(1, 200))
def test_no_split_beats_infinitely_many_steps_before_it(split, T):
    rows, m, k = split
    eta = step_size(rows, m, k * m)
    before = contraction_factor(dealt(rows, m), math.inf, eta)
    assert contraction_factor(dealt(rows, k * m), T, eta) >= before - ROUNDING


@pytest.mark.claim("more-nodes", kind="corrected")
@pytest.mark.mutation("constant", "1 - 1 / m - ROUNDING", "1 - 1 / m**3 - ROUNDING")
@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 3, 6]), st.sampled_from([1, 10, math.inf]))
def test_independent_samples_leave_a_share_that_grows_with_the_nodes(seed, m, T):
    rows = np.random.default_rng(seed).standard_normal((6, 8))
    assert contraction_factor(dealt(rows, m), T, step_size(rows, m)) >= 1 - 1 / m - ROUNDING


# What is not true.

CLOSE_PAIR = np.eye(10)
CLOSE_PAIR[5, 4:6] = 4, 3
PLANE = np.array([[0, 1], [-2, 5], [1, 0], [4, -1]], float)


@pytest.mark.claim("more-nodes", kind="counterexample")
@pytest.mark.mutation("constant", "4 / 5, 49 / 50", "9 / 10, 49 / 50")
def test_five_nodes_can_be_faster_than_two_and_than_ten():
    factors = [contraction_factor(dealt(CLOSE_PAIR, m), math.inf, 0.01) for m in (2, 5, 10)]
    np.testing.assert_allclose(factors, [9 / 10, 4 / 5, 49 / 50], atol=1e-12)


@pytest.mark.claim("more-nodes", kind="counterexample")
def test_the_five_nodes_are_faster_in_a_run():
    x0 = np.zeros(10)
    x0[4:6] = 1, -3  # the direction that both samples of the pair leave longest
    ends = [
        run(dealt(CLOSE_PAIR, m), x0, local_steps=ToOptimum(), step_size=0.01, rounds=30).dist[-1]
        for m in (2, 5)
    ]
    assert ends[1] < 0.1 * ends[0]


@pytest.mark.claim("more-nodes", kind="counterexample")
def test_an_uneven_split_can_be_faster():
    first, second = (AffineSubspace.from_normals(np.zeros(2), row) for row in np.eye(2)[:, None])
    assert sigma_min([first, first, second]) == pytest.approx(1 / 3, abs=1e-12)
    assert sigma_min([first, first, second, second]) == pytest.approx(1 / 2, abs=1e-12)


@pytest.mark.claim("more-nodes", kind="counterexample")
def test_an_even_split_can_be_faster_at_a_hundred_steps():
    # exactly: 7/10 − M′ is positive definite and 7/10 − M is not
    eta = Fraction(1, 116)

    def exact(m):
        size = 4 // m
        total = sp.zeros(2)
        for i in range(0, 4, size):
            A = sp.Matrix(PLANE[i : i + size].astype(int))
            total += (sp.eye(2) - sp.Rational(eta) * 2 * A.T * A / size) ** 100
        return sp.Rational(7, 10) * sp.eye(2) - total / m

    assert exact(4).is_positive_definite
    assert not exact(2).is_positive_definite


@pytest.mark.claim("more-nodes", kind="control")
@pytest.mark.parametrize(
    ("rows", "T", "fraction"),
    [(PLANE, 100, 0.5), (np.array([[1, 4], [0, 2], [2, 0], [4, 1]], float), 10, 1.0)],
)
def test_the_order_of_the_round_maps_fails_between_two_and_infinity(rows, T, fraction):
    eta = fraction * step_size(rows, 2, 4)
    gap = round_map(rows, 4, T, eta) - round_map(rows, 2, T, eta)
    assert np.linalg.eigvalsh(gap).min() < -0.01
