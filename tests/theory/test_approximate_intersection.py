"""Where no common minimiser exists: the mean of the local losses against any point w.

For f_i ≥ 0 convex and L-smooth, η < 2/L, ε = 1 − ηL/2 and every w, the mean of the local losses
f_i(x_n^{i,t}) over N rounds is at most ‖x₀ − w‖²/(2εηTN) + f(w)/ε².
"""

import math

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from softmax import Share, smoothness
from softmax_nodes import course, federations, mean_loss

# The proof.


@pytest.mark.claim("approximate-intersection", kind="symbolic")
@pytest.mark.mutation("sign", "apart = (1 - eps) * square", "apart = (1 + eps) * square")
def test_one_local_step():
    # f(w) ≥ f(x) + ⟨g, w − x⟩ + ‖g − h‖²/(2L), ‖g‖² ≤ 2L f(x), ‖h‖² ≤ 2L f(w), ε = 1 − ηL/2
    eta, L, at_x, at_w, square = sp.symbols("eta L f_x f_w g_sq", positive=True)
    eps = 1 - eta * L / 2
    apart = (1 - eps) * square - (1 / eps - 1) * 2 * L * at_w
    change = -2 * eta * (at_x - at_w + apart / (2 * L)) + eta**2 * square
    assert sp.simplify(sp.diff(change, square) - eta / L * (1 - eps)) == 0  # ≥ 0
    worst = change.subs(square, 2 * L * at_x)
    assert sp.simplify(worst + 2 * eta * eps * at_x - 2 * eta / eps * at_w) == 0


@pytest.mark.claim("approximate-intersection", kind="symbolic")
@pytest.mark.mutation("sign", "(1 / eps - 1) * h.dot(h)", "(1 / eps + 1) * h.dot(h)")
def test_the_two_gradients():
    # ‖g − h‖² = (1 − ε)‖g‖² − (1/ε − 1)‖h‖² + ‖εg − h‖²/ε
    eps = sp.symbols("epsilon", positive=True)
    u, g, h = (sp.Matrix(sp.symbols(f"{name}1:4")) for name in "ugh")
    rest = (g - h).dot(g - h) - (1 - eps) * g.dot(g) + (1 / eps - 1) * h.dot(h)
    assert sp.simplify(rest - (eps * g - h).dot(eps * g - h) / eps) == 0
    eta = sp.symbols("eta", positive=True)
    step = (u - eta * g).dot(u - eta * g) - u.dot(u)
    assert sp.expand(step - (-2 * eta * g.dot(u) + eta**2 * g.dot(g))) == 0


@pytest.mark.claim("approximate-intersection", kind="symbolic")
def test_the_rate_from_the_margin():
    # w = W log N has f(w) ≤ (K − 1)e^{−log N} = (K − 1)/N
    N, rivals = sp.symbols("N r", positive=True)
    assert sp.simplify(rivals * sp.exp(-sp.log(N)) - rivals / N) == 0


@pytest.mark.claim("approximate-intersection", kind="numeric")
@settings(max_examples=300)
@given(
    federations(),
    st.integers(1, 8),
    st.floats(0.02, 1.98),
    st.floats(-2, 1.5),
    st.integers(1, 20),
)
def test_the_bound_for_every_point(case, steps, eta_L, decade, rounds):
    nodes, W, x0 = case
    eta = eta_L / max(smoothness(share) for share in nodes)
    local, losses = course(nodes, x0, eta, steps, rounds)
    w = 10.0**decade * W
    away = float(((x0 - w) ** 2).sum())
    eps = 1 - eta_L / 2
    bound = away / (2 * eps * eta * steps * rounds) + mean_loss(w, nodes) / eps**2
    assert local.mean() <= bound * (1 + 1e-9)
    assert losses.min() <= steps * local.mean() * (1 + 1e-9)
    if eta_L <= 0.5:
        assert losses.min() <= away / (eta * rounds) + 2 * steps * mean_loss(w, nodes) + 1e-12


@pytest.mark.claim("approximate-intersection", kind="numeric")
@settings(max_examples=200)
@given(federations(separable=False), st.integers(1, 8), st.floats(0.02, 0.5), st.integers(1, 20))
def test_it_holds_without_separability_too(case, steps, eta_L, rounds):
    nodes, w, x0 = case
    eta = eta_L / max(smoothness(share) for share in nodes)
    _, losses = course(nodes, x0, eta, steps, rounds)
    away = float(((x0 - w) ** 2).sum())
    assert losses.min() <= away / (eta * rounds) + 2 * steps * mean_loss(w, nodes) + 1e-12


@pytest.mark.claim("approximate-intersection", kind="numeric")
@settings(max_examples=100)
@given(federations(), st.integers(1, 6), st.integers(2, 30))
def test_the_rate_in_the_margin(case, steps, rounds):
    nodes, W, x0 = case
    eta, eps = 1 / max(smoothness(share) for share in nodes), 0.5
    _, losses = course(nodes, x0, eta, steps, rounds)
    norms = np.linalg.norm(x0), np.linalg.norm(W) * math.log(rounds)
    bound = sum(norms) ** 2 / (2 * eps * eta * rounds) + steps * (len(W) - 1) / (eps**2 * rounds)
    assert losses.min() <= bound


# Negative controls.


@pytest.mark.claim("approximate-intersection", kind="control")
@settings(max_examples=100)
@given(st.integers(2, 30), st.floats(0.05, 0.5))
def test_without_the_loss_of_w_the_bound_fails(steps, eta_L):
    # one sample under two labels at two nodes: f ≥ log 2 everywhere
    nodes = [Share(np.ones((1, 1)), np.array([label])) for label in (0, 1)]
    eta, w = eta_L / smoothness(nodes[0]), np.zeros((2, 1))
    rounds = 1 + int(8 / eta)
    _, losses = course(nodes, np.array([[1.0], [-1.0]]), eta, steps, rounds)
    away = 2.0
    assert losses.min() > away / (eta * rounds)
    assert losses.min() <= away / (eta * rounds) + 2 * steps * mean_loss(w, nodes)


@pytest.mark.claim("approximate-intersection", kind="control")
def test_for_a_loss_that_may_be_negative_the_bound_fails():
    # f = x²/2 − 8 with η = 1/2 from 4, w = 0: 2T f(w) is −16T, and f is never under −8
    x, losses = 4.0, []
    for _ in range(50):
        losses.append(x**2 / 2 - 8)
        x = x - 0.5 * x
    assert min(losses) > 4.0**2 / (0.5 * 50) + 2 * 1 * (-8)
