"""Section 2: f is L-smooth with L the mean of the L_i; the best constant may be 1/m of that."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rounds import mean_gradient, squared_norm
from strategies import AFFINE, federations

KINDS = (*AFFINE, "ball", "half-space", "box")


def curvatures(seed):
    """The best L of f and the best L_i, for up to five random quadratics ½‖A_i x‖²."""
    rng = np.random.default_rng(seed)
    m, dim = rng.integers(1, 6), rng.integers(1, 6)
    hessians = [A.T @ A for A in (rng.standard_normal((rng.integers(1, 4), dim)) for _ in range(m))]
    return np.linalg.eigvalsh(sum(hessians) / m)[-1], [np.linalg.eigvalsh(H)[-1] for H in hessians]


@pytest.mark.claim("mean-L", kind="numeric")
@settings(max_examples=500)
@given(federations(kinds=KINDS), st.integers(0, 2**32 - 1))
def test_the_gradient_of_the_mean_has_the_mean_constant(case, seed):
    y = case.x0 + np.random.default_rng(seed).standard_normal(len(case.x0))
    L = np.mean([node.L for node in case.nodes])
    change = squared_norm(mean_gradient(case, case.x0) - mean_gradient(case, y))
    assert change <= L**2 * squared_norm(case.x0 - y) * (1 + 1e-9) + 1e-15


@pytest.mark.claim("mean-L", kind="numeric")
@pytest.mark.mutation("constant", "<= L <= np.mean(each) *", "<= L <= 0.5 * np.mean(each) *")
@settings(max_examples=500)
@given(st.integers(0, 2**32 - 1))
def test_for_quadratics_the_best_constant_is_within_a_factor_m(seed):
    L, each = curvatures(seed)
    assert np.mean(each) / len(each) * (1 - 1e-12) <= L <= np.mean(each) * (1 + 1e-12)


@pytest.mark.claim("mean-L", kind="numeric")
@pytest.mark.mutation("constant", "approx(1 / m)", "approx(1 / m**2)")
def test_both_ends_occur():
    # equal nodes: L = mean L_i; orthogonal ones: the m-th part
    for m in (2, 5):
        equal = sum([np.eye(m)] * m) / m
        orthogonal = sum(np.outer(e, e) for e in np.eye(m)) / m
        assert np.linalg.eigvalsh(equal)[-1] == pytest.approx(1)
        assert np.linalg.eigvalsh(orthogonal)[-1] == pytest.approx(1 / m)


@pytest.mark.claim("mean-L", kind="control")
@given(st.integers(0, 2**32 - 1))
def test_the_least_of_the_constants_would_not_do(seed):
    # two nodes c and 1 on the line: L = (1 + c)/2 exceeds the smaller of the two
    c = Fraction(1 + seed % 97, 100)
    assume(c < 1)
    assert (1 + c) / 2 > min(c, 1)
