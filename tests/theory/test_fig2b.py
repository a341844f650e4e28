"""Figure 2(b), what is exact about it: ranks, rates and the level at which runs stall.

LIBSVM's features are centred over the 62 samples, so that the stacked matrix has rank 61 but for
the rounding of the file, and the labels do not fit: T ≥ 2 stalls at the fixed point of the round
map. With an intercept Assumptions 1 to 3 hold, and every T is linear at its exact rate.
"""

import math

import numpy as np
import pytest

from localgd import LeastSquares, datasets, run
from localgd.geometry import sigma_min
from localgd.theory import contraction_factor

#: Above the rounding of the file's six digits (7e-5), far below every other singular value.
RANK_TOL = 1e-3
SOURCES = ["stand-in"]
if datasets.fingerprint("colon-cancer") != "stand-in":
    SOURCES.append("real")


@pytest.fixture(scope="module", params=SOURCES)
def data(request):
    return datasets.colon_cancer(request.param)


@pytest.fixture(scope="module")
def plain(data):
    return LeastSquares(*data.split(2)).reduced()[0]


@pytest.fixture(scope="module")
def with_intercept(data):
    return LeastSquares(*data.with_intercept().split(2)).reduced()[0]


def common_step(problem):
    return 1 / float(problem.smoothness().max())


def quadratics(problem):
    """H_i and a minimiser x_i* of every node, as arrays."""
    hessians = [(s.vectors.mT * s.values @ s.vectors).numpy() for s in problem.hessian_spectra()]
    return hessians, [s.point.numpy() for s in problem.solution_sets()]


def travelled(hessian, eta, T):
    """p_T(H) = I − (I − ηH)^T: the part of x − x_i* that T local steps take off."""
    values, vectors = np.linalg.eigh(hessian)
    values = np.where(values > 1e-9 * values.max(), values, 0.0)
    left = np.where(values > 0, (1 - eta * values) ** T, 1.0)
    return (vectors * (1 - left)) @ vectors.T


def residuals(problem, T, rounds, eta):
    """‖∇f(x_n)‖² for n = 0 … rounds from 0, T steps at once by their closed form."""
    hessians, minima = quadratics(problem)
    moves = [travelled(H, eta, T) for H in hessians]
    step = sum(moves) / len(moves)
    shift = sum(p @ x for p, x in zip(moves, minima, strict=True)) / len(moves)
    H = sum(hessians) / len(hessians)
    g = sum(h @ x for h, x in zip(hessians, minima, strict=True)) / len(hessians)
    x, seen = np.zeros(problem.dim), []
    for _ in range(rounds + 1):
        gradient = H @ x - g
        seen.append(float(gradient @ gradient))
        x = x - step @ x + shift
    return np.array(seen)


def stall_level(problem, T, eta):
    """‖∇f‖² where Σ p_T(H_i)(x − x_i*) = 0, on the directions that are more than rounding."""
    hessians, minima = quadratics(problem)
    moves = [travelled(H, eta, T) for H in hessians]
    values, vectors = np.linalg.eigh(sum(moves))
    real = values > 1e-9
    pull = sum(p @ x for p, x in zip(moves, minima, strict=True))
    x = vectors[:, real] @ ((vectors[:, real].T @ pull) / values[real])
    gradient = sum(h @ (x - y) for h, y in zip(hessians, minima, strict=True)) / len(hessians)
    return float(gradient @ gradient)


@pytest.mark.claim("fig2b", kind="difference")
def test_the_samples_have_rank_61_up_to_the_rounding_of_the_file(data):
    values = np.linalg.svd(data.features, compute_uv=False)
    assert np.linalg.matrix_rank(data.features, tol=RANK_TOL) == 61
    assert values[60] > 10
    assert values[61] < 1e-4  # not zero: in double precision the rank is 62, by rounding alone
    # the small direction is the sum over the samples, and the labels do not add up to zero
    assert np.abs(data.features.mean(0)).max() < 1e-6
    assert abs(data.labels.sum()) == 18


@pytest.mark.claim("fig2b", kind="numeric")
def test_each_node_alone_interpolates(data):
    for A in data.split(2)[0]:
        assert np.linalg.matrix_rank(A, tol=RANK_TOL) == 31


@pytest.mark.claim("fig2b", kind="numeric")
def test_with_an_intercept_the_rank_is_62(data, with_intercept):
    values = np.linalg.svd(data.with_intercept().features, compute_uv=False)
    assert np.linalg.matrix_rank(data.with_intercept().features, tol=RANK_TOL) == 62
    # the new direction is orthogonal to the others: its value is ‖1‖ = √62, the least of all
    assert values[61] == pytest.approx(math.sqrt(62), rel=1e-6)
    # Assumptions 1 to 3 hold
    assert sigma_min(with_intercept.solution_sets()) > 1e-3
    assert (with_intercept.strong_convexity() > 1).all()


@pytest.mark.claim("fig2b", kind="numeric")
@pytest.mark.parametrize(("T", "rounds"), [(1, 4000), (10, 1200), (100, 1000), (math.inf, 1000)])
def test_the_exact_rate_is_the_slope_of_a_run(with_intercept, T, rounds):
    eta = common_step(with_intercept)
    rho = contraction_factor(with_intercept, T, eta)
    seen = residuals(with_intercept, T, rounds, eta)
    usable = np.flatnonzero(seen > 1e-20 * seen[0])  # above the rounding of float64
    last = usable[-1]
    slope = math.log(seen[last] / seen[last - 200]) / 200
    assert slope == pytest.approx(2 * math.log(rho), rel=0.02)


@pytest.mark.claim("fig2b", kind="numeric")
def test_the_closed_form_is_the_library_run(with_intercept):
    eta = common_step(with_intercept)
    trace = run(with_intercept, local_steps=10, step_size=eta, rounds=30)
    np.testing.assert_allclose(
        trace.grad_norm_sq, residuals(with_intercept, 10, 30, eta), rtol=1e-8
    )


@pytest.mark.claim("fig2b", kind="numeric")
@pytest.mark.mutation("sign", "(1 - sigma, rel=1e-9)", "(1 + sigma, rel=1e-9)")
@pytest.mark.mutation("inequality", "reverse=True", "reverse=False")
def test_larger_t_has_the_smaller_asymptotic_factor(with_intercept):
    eta = common_step(with_intercept)
    factors = [contraction_factor(with_intercept, T, eta) for T in (1, 10, 100, math.inf)]
    assert factors == sorted(factors, reverse=True)
    sigma = sigma_min(with_intercept.solution_sets())
    assert factors[-1] == pytest.approx(1 - sigma, rel=1e-9)


@pytest.mark.claim("fig2b", kind="difference")
@pytest.mark.parametrize("T", [2, 10, 100])
def test_without_an_intercept_larger_t_stalls_at_the_predicted_level(plain, T):
    eta = common_step(plain)
    level = stall_level(plain, T, eta)
    seen = residuals(plain, T, 2000, eta)
    assert level > 1e-4 * seen[0]
    assert seen[-1] == pytest.approx(level, rel=0.01)
    assert seen[-1] == pytest.approx(seen[-500], rel=0.01)


@pytest.mark.claim("fig2b", kind="difference")
def test_without_an_intercept_one_common_step_does_not_stall(plain):
    # T = 1 with a common η is gradient descent on f: Σ ηH_i(x − x_i*) = 0 says ∇f = 0.
    eta = common_step(plain)
    seen = residuals(plain, 1, 3000, eta)
    assert stall_level(plain, 1, eta) < 1e-9
    assert seen[-1] < 1e-9 * seen[0]


# Negative controls.


@pytest.mark.claim("fig2b", kind="control")
def test_with_an_intercept_nothing_stalls(with_intercept):
    eta = common_step(with_intercept)
    for T in (10, 100):
        assert stall_level(with_intercept, T, eta) < 1e-15
        assert residuals(with_intercept, T, 2000, eta)[-1] < 1e-7


@pytest.mark.claim("fig2b", kind="control")
def test_the_rate_of_another_t_is_rejected(with_intercept):
    eta = common_step(with_intercept)
    seen = residuals(with_intercept, 1, 4000, eta)
    usable = np.flatnonzero(seen > 1e-20 * seen[0])
    slope = math.log(seen[usable[-1]] / seen[usable[-1] - 200]) / 200
    wrong = 2 * math.log(contraction_factor(with_intercept, math.inf, eta))
    assert slope != pytest.approx(wrong, rel=0.02)
    assert slope > wrong


@pytest.mark.claim("fig2b", kind="control")
def test_own_step_sizes_make_one_step_stall(plain):
    # With η_i = 1/L_i the fixed point of T = 1 is not that of ∇f = 0: a common η is needed.
    hessians, minima = quadratics(plain)
    moves = [H / L for H, L in zip(hessians, plain.smoothness(), strict=True)]
    values, vectors = np.linalg.eigh(sum(moves))
    real = values > 1e-9
    pull = sum(p @ x for p, x in zip(moves, minima, strict=True))
    x = vectors[:, real] @ ((vectors[:, real].T @ pull) / values[real])
    gradient = sum(h @ (x - y) for h, y in zip(hessians, minima, strict=True)) / 2
    assert gradient @ gradient > 1e-3
