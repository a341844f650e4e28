"""Section 3.2.1: the number of parameters is not what decides whether the optimal sets meet.

Softmax cross-entropy of an affine layer has the infimum 0 exactly if the samples are separable,
and then no minimiser; otherwise every loss is at least log 2/n.  Both networks of Figure 3
separate their samples, with 7,850 and with 490 weights.
"""

import math
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from hypothesis import event, given, settings
from hypothesis import strategies as st

from localgd import datasets
from softmax import Share, best_margin, gradient, images, loss, margin_rows, margins, smoothness

SOURCES = ["stand-in"]
if datasets.fingerprint("mnist") != "stand-in":
    SOURCES.append("real")
SCALE = 2**20  # weights are rounded to multiples of 1/SCALE


@st.composite
def shares(draw, max_samples=6, separable=False):
    """Samples in small integers with a one appended; separable ones are labelled by a layer."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, p = draw(st.integers(1, max_samples)), draw(st.integers(1, 4))
    classes = draw(st.integers(2, 4))
    U = np.hstack([rng.integers(-3, 4, (n, p)), np.ones((n, 1), np.int64)])
    if not separable:
        return Share(U, rng.integers(0, classes, n)), classes, None
    W = rng.integers(-9, 10, (classes, p + 1))
    W *= classes
    W[:, -1] += np.arange(classes)  # no ties: the scores differ modulo the number of classes
    return Share(U, np.argmax(U @ W.T, axis=1)), classes, W


@pytest.fixture(scope="module", params=SOURCES)
def data(request):
    return datasets.mnist("train", first=500, source=request.param)


# The infimum.


@pytest.mark.claim("params-490", kind="symbolic")
@pytest.mark.mutation("sign", "z / (1 + z)", "z / (1 - z)")
def test_the_loss_of_a_separating_layer_tends_to_zero():
    lam, rivals, z = sp.symbols("lambda r z", positive=True)
    worst = sp.log(1 + rivals * sp.exp(-lam))
    assert sp.limit(worst.subs(rivals, 9), lam, sp.oo) == 0
    # log(1 + z) ≤ z: equal at 0, and the difference has the slope z/(1 + z)
    assert sp.simplify(sp.diff(z - sp.log(1 + z), z) - z / (1 + z)) == 0


@pytest.mark.claim("params-490", kind="numeric")
@settings(max_examples=300)
@given(shares(separable=True), st.integers(0, 12))
def test_separable_samples_have_infimum_zero_and_no_minimiser(case, scale):
    share, classes, W = case
    least = int(margins(W, share.U, share.labels).min())
    assert least > 0
    value = loss(scale * W / least, share)
    assert 0 < value <= (classes - 1) * math.exp(-scale) * (1 + 1e-12)
    # along the ray the gradient never vanishes: ⟨∇f(W), W⟩ < 0
    assert float((gradient(scale * W / least, share) * W).sum()) < 0


@pytest.mark.claim("params-490", kind="numeric")
@pytest.mark.mutation("constant", "math.log(2) / len(share.labels)", "4 * math.log(2)")
@settings(max_examples=300)
@given(st.one_of(shares(), shares(separable=True)), st.integers(0, 60), st.integers(0, 2))
def test_a_small_loss_separates(case, steps, decade):
    share, classes, _ = case
    W = np.zeros((classes, share.U.shape[1]))
    for _ in range(steps):  # gradient descent, as far as it gets
        W = W - gradient(W, share) / smoothness(share)
    W = np.rint(SCALE * W * 10.0**decade).astype(np.int64)
    small = loss(W / SCALE, share) < math.log(2) / len(share.labels) * (1 - 1e-12)
    event(f"small: {small}")
    if small:
        assert margins(W, share.U, share.labels).min() > 0


@pytest.mark.claim("params-490", kind="numeric")
@settings(max_examples=200)
@given(shares())
def test_the_program_decides(case):
    share, classes, _ = case
    found = best_margin(share, classes)
    if found.gamma > 1e-6:  # an integer certificate
        W = np.rint(SCALE * found.W).astype(np.int64)
        assert margins(W, share.U, share.labels).min() > 0
    else:  # multipliers, and a loss that stays above log 2/n
        assert found.bound < 1e-6
        W = np.zeros((classes, share.U.shape[1]))
        for _ in range(300):
            W = W - 0.1 * gradient(W, share)
        assert loss(W, share) > math.log(2) / len(share.labels) * (1 - 1e-9)


@pytest.mark.claim("params-490", kind="numeric")
@pytest.mark.mutation("hypothesis", "+ np.eye(n)", "+ 0 * np.eye(n)")
@settings(max_examples=200)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(2, 5))
def test_independent_samples_are_separable_under_any_labels(seed, n, classes):
    rng = np.random.default_rng(seed)
    # an upper triangular block makes the rows independent for certain
    triangle = np.triu(rng.integers(-3, 4, (n, n)), 1) + np.eye(n)
    U = np.hstack([triangle, rng.integers(-3, 4, (n, 2))])
    labels = rng.integers(0, classes, n)
    W = np.linalg.lstsq(U, np.eye(classes)[labels])[0].T
    assert margins(W, U, labels).min() == pytest.approx(1, abs=1e-6)


@pytest.mark.claim("params-490", kind="numeric")
@settings(max_examples=200)
@given(shares(max_samples=8, separable=True), st.integers(1, 4))
def test_parts_of_separable_samples_are_separable(case, nodes):
    share, _, W = case
    for part in np.array_split(np.arange(len(share.labels)), nodes):
        if len(part):
            assert margins(W, share.U[part], share.labels[part]).min() > 0


# The count does not decide.


@pytest.mark.claim("params-490", kind="counterexample")
@given(st.integers(5, 200))
def test_four_parameters_fit_any_number_of_samples(n):
    x = np.array([v for v in range(-n, n + 1) if v])
    share = Share(np.column_stack([x, np.ones_like(x)]), (x > 0).astype(int))
    W = np.array([[-1, 0], [1, 0]])
    assert W.size < len(x)
    assert margins(W, share.U, share.labels).min() == 2


@pytest.mark.claim("params-490", kind="counterexample")
@settings(max_examples=200)
@given(st.fractions(-99, 99), st.fractions(-99, 99))
def test_four_parameters_need_not_fit_three_samples(v, c):
    # labels 0, 1, 0 at −1, 0, 1, and w_1 − w_0 = (v, c): left + 2·middle + right = 0
    left, middle, right = -(-v + c), c, -(v + c)
    assert left + 2 * middle + right == Fraction(0)
    assert min(left, middle, right) <= 0


@pytest.mark.claim("params-490", kind="counterexample")
def test_490_weights_separate_500_images(data):
    share = Share(images(data, pools=2), data.labels)
    assert share.U.shape == (500, 50)
    found = best_margin(Share(share.U / 255, share.labels), 10)
    W = np.rint(SCALE * found.W).astype(np.int64)
    assert margins(W, share.U, share.labels).min() > 0  # in integers
    # the one W serves every node, whatever the split
    assert found.gamma <= found.bound + 1e-7


@pytest.mark.claim("params-490", kind="counterexample")
def test_490_weights_do_not_separate_200_images_under_other_labels(data):
    labels = np.random.default_rng(0).permutation(data.labels[:200])
    share = Share(images(data.first(200), pools=2) / 255, labels)
    found = best_margin(share, 10)
    assert found.bound < 1e-8
    for part in np.array_split(np.arange(200), 10):  # while every node alone could
        own = best_margin(Share(share.U[part], labels[part]), 10)
        W = np.rint(SCALE * own.W).astype(np.int64)
        whole = images(data.first(200), pools=2)[part]
        assert margins(W, whole, labels[part]).min() > 0


@pytest.mark.claim("params-490", kind="numeric")
@pytest.mark.parametrize("shuffle", [False, True])
def test_the_pixels_are_independent_and_fit_any_labels(data, shuffle):
    U = images(data)
    labels = np.random.default_rng(1).permutation(data.labels) if shuffle else data.labels
    if np.linalg.matrix_rank(U / 255) < 500:
        assert data.source.kind != "real"
        return
    W = np.linalg.lstsq(U / 255, np.eye(10)[labels])[0].T
    rounded = np.rint(2**30 * W).astype(np.int64)
    assert margins(rounded, U, labels).min() > 0


# Negative controls.


@pytest.mark.claim("params-490", kind="control")
@settings(max_examples=200)
@given(shares(separable=True), st.integers(0, 2**32 - 1), st.integers(0, 4))
def test_one_contradiction_bounds_the_loss_away_from_zero(case, seed, decade):
    share, classes, W = case
    n = len(share.labels) + 1
    other = (share.labels[0] + 1) % classes
    both = Share(np.vstack([share.U, share.U[:1]]), np.append(share.labels, other))
    rng = np.random.default_rng(seed)
    for V in (W, W * 10.0**-decade, rng.standard_normal(W.shape) * 10.0 ** (decade - 2)):
        assert loss(V, both) >= 2 * math.log(2) / n * (1 - 1e-12)
    assert best_margin(both, classes).gamma < 1e-7


@pytest.mark.claim("params-490", kind="control")
def test_the_multipliers_prove_nothing_for_separable_samples():
    share = Share(np.array([[-1.0, 1.0], [2.0, 1.0]]), np.array([0, 1]))
    rows = margin_rows(share, 2)
    rng = np.random.default_rng(0)
    for weights in rng.dirichlet(np.ones(2), 100):
        assert np.abs(rows.T @ weights).sum() > 0.5
    assert best_margin(share, 2).gamma == pytest.approx(1)


@pytest.mark.claim("params-490", kind="control")
@settings(max_examples=100)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(2, 5), st.floats(0.01, 0.9))
def test_with_smoothed_labels_independent_samples_have_a_common_minimiser(seed, n, classes, part):
    rng = np.random.default_rng(seed)
    U = np.hstack([np.triu(rng.integers(-3, 4, (n, n)), 1) + np.eye(n), np.ones((n, 1))])
    q = (1 - part) * np.eye(classes)[rng.integers(0, classes, n)] + part / classes
    W = np.linalg.lstsq(U, np.log(q))[0].T
    scores = U @ W.T
    softmax = np.exp(scores - np.logaddexp.reduce(scores, axis=1, keepdims=True))
    # every sample's own gradient vanishes, so W minimises the loss of whatever node it is on
    np.testing.assert_allclose(softmax, q, atol=1e-7)


@pytest.mark.claim("params-490", kind="control")
def test_above_log_two_over_n_a_loss_proves_nothing():
    # one sample of two is on the wrong side, and yet the loss is barely over log 2/2
    share = Share(np.array([[1.0], [-1.0]]), np.array([0, 0]))
    W = np.array([[1e-9], [0.0]])
    assert margins(W, share.U, share.labels).min() < 0
    far = Share(np.array([[100.0], [-1e-6]]), np.array([0, 0]))
    W = np.array([[1.0], [0.0]])
    assert math.log(2) / 2 < loss(W, far) < math.log(2) / 2 * (1 + 1e-5)
    assert margins(W, far.U, far.labels).min() < 0
