"""Lemma 1: d(x_{n+1}, S)² ≤ d(x_n, S)² − (1/m) Σ_i α_i Σ_{t<T_i} ‖∇f_i(x^{i,t})‖².

The proof gives more: it holds with any x* ∈ S in place of the projection, for every η_i > 0, and
V_n = (1/m) Σ ‖x^{i,T_i} − x_{n+1}‖² may be subtracted too.
"""

from fractions import Fraction

import pytest
import sympy as sp
from hypothesis import assume, given, settings

from rounds import (
    decrease,
    nearest_common_point,
    one_round,
    spread,
    squared_norm,
)
from smooth import INFINITY
from strategies import AFFINE, federations

REL = 1e-10


def scale(case, done, x_star):
    """The size of the numbers that cancel in the inequality."""
    largest = max(squared_norm(path.end - x_star) for path in done.paths)
    return squared_norm(case.x0 - x_star) + largest + decrease(case, done) + 1e-12


# The proof, step by step.


@pytest.mark.claim("lem1", kind="symbolic")
def test_a_step_expands_into_three_terms():
    eta = sp.symbols("eta", positive=True)
    e, g = (sp.Matrix(sp.symbols(f"{name}:4", real=True)) for name in "eg")  # x − x*, ∇f_i(x)
    moved = e - eta * g
    expanded = e.dot(e) - 2 * eta * e.dot(g) + eta**2 * g.dot(g)
    assert sp.expand(moved.dot(moved) - expanded) == 0


@pytest.mark.claim("lem1", kind="symbolic")
def test_two_descent_inequalities_add_up_to_co_coercivity():
    # x* minimises f, x minimises h(z) = f(z) − ⟨g, z⟩, both L-smooth; a gradient step from the
    # other point stays above the minimum:
    #   (a) f* ≤ f(x − g/L) ≤ f(x) − ‖g‖²/2L,   (b) h(x) ≤ h(x* + g/L) ≤ h(x*) − ‖g‖²/2L.
    fx, f_star, inner, G, L = sp.symbols("f_x f_star inner G L", real=True)  # inner = ⟨g, x − x*⟩
    slack_a = fx - f_star - G / (2 * L)
    slack_b = (f_star + inner) - fx - G / (2 * L)  # h(x*) − h(x) − G/2L, ⟨g, x⟩ taken off both
    assert sp.expand(slack_a + slack_b - (inner - G / L)) == 0


@pytest.mark.claim("lem1", kind="symbolic")
@pytest.mark.mutation("sign", "alpha = eta * (2 / L - eta)", "alpha = eta * (2 / L + eta)")
def test_co_coercivity_turns_the_cross_term_into_alpha():
    eta, L, G, inner = sp.symbols("eta L G inner", real=True)
    alpha = eta * (2 / L - eta)
    change = -2 * eta * inner + eta**2 * G
    # −αG minus the change is 2η times the slack of co-coercivity, non-negative for every η > 0.
    assert sp.simplify((-alpha * G - change) - 2 * eta * (inner - G / L)) == 0


@pytest.mark.claim("lem1", kind="symbolic")
@pytest.mark.parametrize("m", range(1, 9))
def test_the_average_drops_exactly_the_variance(m):
    # (2) of the paper is ‖mean‖² ≤ mean‖·‖²; the difference is V_n. One coordinate is enough.
    x, x_star = sp.symbols(f"x:{m}", real=True), sp.symbols("x_star", real=True)
    mean = sum(x) / m
    to_star = sum((xi - x_star) ** 2 for xi in x) / m
    variance = sum((xi - mean) ** 2 for xi in x) / m
    assert sp.expand((mean - x_star) ** 2 - (to_star - variance)) == 0


@pytest.mark.claim("lem1", kind="symbolic")
def test_alpha_is_at_most_one_over_l_squared_and_positive_below_two_over_l():
    eta, L = sp.symbols("eta L", positive=True)
    alpha = eta * (2 / L - eta)
    assert sp.expand(1 / L**2 - alpha - (1 / L - eta) ** 2) == 0
    assert sp.solve(alpha, eta) == [2 / L]
    assert alpha.subs(eta, 3 / L) == -3 / L**2


@pytest.mark.claim("lem1", kind="symbolic")
def test_second_form_of_a_step():
    # (b) alone: inner ≥ F + G/2L with F = f(x) − f*; and G ≤ 2LF from (a).
    eta, L, G, F, inner = sp.symbols("eta L G F inner", real=True)
    change = -2 * eta * inner + eta**2 * G
    bound = -2 * eta * F - eta * (1 / L - eta) * G
    assert sp.simplify((bound - change) - 2 * eta * (inner - F - G / (2 * L))) == 0
    # η > 1/L: the last term is positive and G = 2LF is its worst case.
    assert sp.simplify(bound.subs(G, 2 * L * F) + 2 * eta * (2 - eta * L) * F) == 0


# The inequality over random problems.


@pytest.mark.claim("lem1", kind="numeric")
@settings(max_examples=1000)
@given(federations())
def test_sharp_forms_over_mixed_sets(case):
    done, m = one_round(case, case.x0), len(case.nodes)
    fine = coarse = 0.0  # the second form, with function values
    for node, eta, path in zip(case.nodes, case.etas, done.paths, strict=True):
        fine += (2 * eta * path.excess + eta * (1 / node.L - eta) * path.energy) / m
        coarse += 2 * eta * min(1, 2 - eta * node.L) * path.excess / m
    for x_star in (case.point, nearest_common_point(case, case.x0)):
        tolerance = REL * (scale(case, done, x_star) + abs(fine))
        before, after = squared_norm(case.x0 - x_star), squared_norm(done.end - x_star)
        assert after <= before - decrease(case, done) - spread(done) + tolerance
        assert after <= before - fine - spread(done) + tolerance
        assert coarse <= fine + tolerance


@pytest.mark.claim("lem1", kind="numeric")
@pytest.mark.mutation("constant", "- decrease(case, done)", "- 1.1 * decrease(case, done)")
@pytest.mark.mutation("sign", "nearest_common_point(case, done.end))", "case.x0 + done.end)")
@settings(max_examples=1000)
@given(federations(kinds=AFFINE) | federations(kinds=("box",)))
def test_as_printed_with_the_distance_to_the_intersection(case):
    done = one_round(case, case.x0)
    nearest = nearest_common_point(case, case.x0)
    before = squared_norm(case.x0 - nearest)
    after = squared_norm(done.end - nearest_common_point(case, done.end))
    assert after <= before - decrease(case, done) + REL * scale(case, done, nearest)


@pytest.mark.claim("lem1", kind="numeric")
@settings(max_examples=1000)
@given(federations(largest_step=2.0, counts=(1, 2, 3)))
def test_sharp_form_holds_for_every_positive_step_size(case):
    # η up to 4/L: α is negative beyond 2/L, and the bound then lets the distance grow.
    done = one_round(case, case.x0)
    before, after = squared_norm(case.x0 - case.point), squared_norm(done.end - case.point)
    size = before + sum(abs(path.energy) for path in done.paths) + spread(done)
    size += max(squared_norm(path.end - case.point) for path in done.paths)
    # each step adds ‖x − x*‖² to what cancels
    assert after <= before - decrease(case, done) - spread(done) + REL * 10 * size


# Equality, in exact arithmetic.


@pytest.mark.claim("lem1", kind="symbolic")
@pytest.mark.mutation(
    "constant", "eta * (2 - eta), Fraction(1, 5)", "eta * (3 - eta), Fraction(1, 5)"
)
@pytest.mark.parametrize("T", [1, 2, 5, INFINITY])
def test_equality_for_two_lines(T):
    # f_i = d(x, S_i)²/2 for the lines y = ±x/2, L = 1: a step shrinks the offset n_i⟨n_i, x⟩ by
    # q = 1 − η. From (1, 0) both offsets have the squared length 1/5.
    eta = Fraction(1, 3)
    q, alpha, length_sq = 1 - eta, eta * (2 - eta), Fraction(1, 5)
    left = Fraction(0) if T == INFINITY else q**T
    gradients = length_sq * (1 - left**2) / (1 - q**2)  # Σ_t q^{2t}/5
    x, y = 1 - (1 - left) * Fraction(1, 5), (1 - left) * Fraction(2, 5)  # node 1; node 2 has −y
    after, variance = x**2, y**2
    assert after == 1 - alpha * gradients - variance
    assert after < 1 - alpha * gradients  # as printed it is not sharp


# Negative controls.


@pytest.mark.claim("lem1", kind="control")
def test_without_a_common_minimiser_it_fails():
    # f_1 = x²/2, f_2 = (x − 1)²/2, η = 1/2, one step each, from x* = 0 ∈ S_1 itself:
    # x_1 = (0 + 1/2)/2, and the right-hand side is 0 − (3/4)(0 + 1)/2 < 0.
    eta = Fraction(1, 2)
    x = x_star = Fraction(0)
    gradients = [x - 0, x - 1]
    after = sum(x - eta * g for g in gradients) / 2
    bound = (x - x_star) ** 2 - eta * (2 - eta) * sum(g**2 for g in gradients) / 2
    assert (after - x_star) ** 2 == Fraction(1, 16) > bound == Fraction(-3, 8)


@pytest.mark.claim("lem1", kind="control")
def test_above_two_over_l_the_distance_grows():
    # f = x²/2, η = 3: x ↦ −2x. The lemma still holds, as 4 ≤ 1 + 3, and says nothing.
    eta, x = Fraction(3), Fraction(1)
    after, alpha = x - eta * x, eta * (2 - eta)
    assert after**2 == x**2 - alpha * x**2 == 4


@pytest.mark.claim("lem1", kind="control")
@given(federations(kinds=("quadratic",), max_nodes=1, counts=(1, 2, 3)))
def test_with_half_the_smoothness_constant_it_fails(case):
    # Along the stiffest direction co-coercivity is an equality: a smaller L breaks it.
    (node,), (eta,) = case.nodes, case.etas
    assume(len(node.values) > 0)
    case.x0 = case.point + node.normals[0]
    case.steps = [1]
    done = one_round(case, case.x0)
    wrong_alpha = eta * (2 / (node.L / 2) - eta)
    assert squared_norm(done.end - case.point) > 1 - wrong_alpha * done.paths[0].energy + 1e-6


@pytest.mark.claim("lem1", kind="control")
def test_with_twice_the_variance_it_fails():
    # The two lines again: equality leaves no room for another V_n.
    eta, q = Fraction(1, 3), Fraction(2, 3)
    after, variance = (1 - (1 - q) / 5) ** 2, ((1 - q) * Fraction(2, 5)) ** 2
    assert after > 1 - eta * (2 - eta) / 5 - 2 * variance
