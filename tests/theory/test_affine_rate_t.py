"""Affine S_i and local maps with ‖g(x) − P_i x‖ ≤ q^T d(x, S_i): the factor 1 − σ + q^T."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localgd import AffineSubspace, SquaredDistance, run
from localgd.geometry import sigma_min

TOL = 1e-10


def orthonormal(rng, dim):
    """Rows a_j that span S_i^⊥."""
    return np.linalg.qr(rng.standard_normal((dim, rng.integers(1, dim + 1))))[0].T


def bent_path(A, x, eta, T):
    """T steps on Σφ(⟨a_j, x⟩): φ′(t) = t for |t| ≤ 1, beyond (t ± 1)/2, so μ = ½ and L = 1."""
    for _ in range(T):
        r = A @ x
        x = x - eta * A.T @ np.where(abs(r) <= 1, r, (r + np.sign(r)) / 2)
    return x


def least_and_basis(blocks):
    """σ and an orthonormal basis of S^⊥."""
    values, vectors = np.linalg.eigh(sum(A.T @ A for A in blocks) / len(blocks))
    kept = values > 1e-9
    return values[kept][0], vectors[:, kept]


@pytest.mark.claim("affine-rate-T", kind="numeric")
@pytest.mark.mutation(
    "constant", "<= q**T * np.linalg.norm(A @ x)", "<= 0.1 * q**T * np.linalg.norm(A @ x)"
)
@settings(max_examples=500)
@given(st.integers(0, 2**32 - 1), st.integers(1, 20), st.integers(1, 19))
def test_losses_that_are_not_quadratic(seed, T, twentieths):
    rng, eta = np.random.default_rng(seed), twentieths / 10
    m, dim = int(rng.integers(1, 6)), int(rng.integers(1, 7))
    blocks, x = [orthonormal(rng, dim) for _ in range(m)], rng.standard_normal(dim) * 5
    ends = [bent_path(A, x, eta, T) for A in blocks]
    q = math.sqrt(1 - eta * (2 - eta) / 4)  # √(1 − αμ²)
    for A, end in zip(blocks, ends, strict=True):
        onto = x - A.T @ (A @ x)
        assert np.linalg.norm(end - onto) <= q**T * np.linalg.norm(A @ x) + TOL
    sigma, W = least_and_basis(blocks)
    after, before = np.linalg.norm(W.T @ np.mean(ends, 0)), np.linalg.norm(W.T @ x)
    assert after <= (1 - sigma + q**T) * before + TOL


@pytest.mark.claim("affine-rate-T", kind="numeric")
@settings(max_examples=500)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_any_local_map_within_its_ball(seed, radius):
    # nothing but the hypothesis: an arbitrary error of size r·d(x, S_i), in any direction
    rng = np.random.default_rng(seed)
    dim = int(rng.integers(1, 6))
    blocks, x = [orthonormal(rng, dim) for _ in range(3)], rng.standard_normal(dim)
    ends = []
    for A in blocks:
        error = rng.standard_normal(dim)
        size = radius * np.linalg.norm(A @ x) / np.linalg.norm(error)
        ends.append(x - A.T @ (A @ x) + size * error)
    sigma, W = least_and_basis(blocks)
    after, before = np.linalg.norm(W.T @ np.mean(ends, 0)), np.linalg.norm(W.T @ x)
    assert after <= (1 - sigma + radius) * before + TOL


def two_lines(phi):
    return [AffineSubspace([0.0, 0.0], [[math.cos(phi), s * math.sin(phi)]]) for s in (1, -1)]


@pytest.mark.claim("affine-rate-T", kind="numeric")
@pytest.mark.mutation("sign", "1 - sigma_min(two_lines(phi)),", "1 + sigma_min(two_lines(phi)),")
@pytest.mark.parametrize("phi", [0.1, 0.4, 0.7])
def test_projections_reach_one_minus_sigma(phi):
    trace = run(SquaredDistance(two_lines(phi)), [1.0, 0.0], local_steps=1, step_size=0.5, rounds=1)
    assert trace.dist[1] == pytest.approx(1 - sigma_min(two_lines(phi)), rel=1e-9)


# Negative controls.


@pytest.mark.claim("affine-rate-T", kind="control")
def test_without_the_local_term_it_fails():
    lines = two_lines(0.4)
    trace = run(SquaredDistance(lines), [1.0, 0.0], local_steps=2, step_size=0.05, rounds=1)
    assert trace.dist[1] > 1.02 * (1 - sigma_min(lines))


@pytest.mark.claim("affine-rate-T", kind="control")
def test_sets_that_are_not_affine_have_no_sigma():
    # disc and half-plane that touch: projections gain less and less, whatever the factor
    x, factors = np.array([0.3, 0.02]), []
    for _ in range(400):
        away = x - [0.0, 1.0]
        onto = np.array([0.0, 1.0]) + away / max(1.0, float(np.linalg.norm(away)))
        after = (onto + np.array([x[0], min(x[1], 0.0)])) / 2
        factors.append(np.linalg.norm(after) / np.linalg.norm(x))
        x = after
    assert factors[-1] > 0.998
