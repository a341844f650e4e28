"""Theorem 2: liminf n‖∇f(x_n)‖² = 0 and liminf √n (f(x_n) − f*) = 0; more is true.

With k = min η_i min(1, 2 − η_i L_i): Σ_n (f(x_n) − f*) ≤ d(x_0, S)²/(2k), whatever 1 ≤ T_i ≤ ∞; and
f(x_n) − f* ≤ (d(x_0, S)²/k) √(A/(n + 1)) for every n and fixed T_i < ∞, with
A = max η_i L_i T_i/(2 − η_i L_i).
"""

import math
from fractions import Fraction
from itertools import pairwise

import pytest
import sympy as sp
from hypothesis import assume, given, settings

from rounds import (
    Federation,
    alphas,
    decrease,
    excess_rate,
    iterates,
    mean_gradient,
    mean_loss,
    nearest_common_point,
    one_round,
    squared_norm,
)
from strategies import federations

REL = 1e-10
ROUNDS = 3
FINITE = (1, 2, 3, 7)


def start_distance_sq(case: Federation) -> float:
    """d(x_0, S)², or where S is not known exactly ‖x_0 − x*‖² for a point of it."""
    return squared_norm(case.x0 - nearest_common_point(case, case.x0))


def path_length_constant(case: Federation) -> float:
    """A = max η_i L_i T_i/(2 − η_i L_i): ‖x_{n+1} − x_n‖² ≤ A z_n."""
    ratios = [e * n.L for n, e in zip(case.nodes, case.etas, strict=True)]
    return max(r * T / (2 - r) for r, T in zip(ratios, case.steps, strict=True))


@pytest.mark.claim("thm2", kind="symbolic")
def test_a_summable_sequence_has_liminf_n_z_n_zero():
    # Otherwise z_n ≥ ε/n from some n on, and the harmonic series would converge.
    n = sp.symbols("n", integer=True, positive=True)
    assert sp.Sum(1 / n, (n, 1, sp.oo)).is_convergent() == sp.false


@pytest.mark.claim("thm2", kind="symbolic")
def test_monotone_and_summable_squares_give_the_bound_for_every_n():
    # δ_n non-increasing with Σ δ_j² ≤ A d²: (n + 1) δ_n² ≤ A d². With p = P_S(x_n),
    # 2k(f(x_n) − f*) ≤ ‖x_n − p‖² − ‖x_{n+1} − p‖² ≤ 2‖x_n − p‖ δ_n ≤ 2 d δ_n.
    a, b = sp.symbols("a b", nonnegative=True)  # ‖x_n − p‖, ‖x_{n+1} − p‖; |a − b| ≤ δ_n, b ≤ a
    assert sp.expand(2 * a * (a - b) - (a**2 - b**2) - (a - b) ** 2) == 0
    A, d, k, n = sp.symbols("A d k n", positive=True)
    delta = d * sp.sqrt(A / (n + 1))
    assert sp.simplify(2 * d * delta / (2 * k) - d**2 / k * sp.sqrt(A / (n + 1))) == 0


@pytest.mark.claim("thm2", kind="symbolic")
@pytest.mark.mutation(
    "exponent", "- eta * L * T / (2 - eta * L)", "- eta * L * T**2 / (2 - eta * L)"
)
def test_path_length_constant():
    # ‖x^{i,T} − x_n‖² = η²‖Σ g_t‖² ≤ η² T Σ‖g_t‖² = (η² T/α) α Σ‖g_t‖².
    eta, L, T = sp.symbols("eta L T", positive=True)
    alpha = eta * (2 / L - eta)
    assert sp.simplify(eta**2 * T / alpha - eta * L * T / (2 - eta * L)) == 0


@pytest.mark.claim("lem1-remarks", kind="numeric")  # (1) and (3): constant η_i, any T_i
@pytest.mark.claim("thm2", kind="numeric")
@pytest.mark.mutation(
    "constant", "sum(values) <= distance_sq / (2 *", "sum(values) <= distance_sq / (20 *"
)
@settings(max_examples=1000)
@given(federations())
def test_values_and_gradients_are_summable(case):
    xs = iterates(case, ROUNDS)
    distance_sq = start_distance_sq(case) * (1 + REL) + 1e-15
    values = [mean_loss(case, x) for x in xs]
    gradients = [squared_norm(mean_gradient(case, x)) for x in xs]
    assert sum(values) <= distance_sq / (2 * excess_rate(case))
    assert sum(gradients) <= distance_sq / alphas(case).min()
    # hence (i) and (ii) along the running minimum, (ii) with n in place of √n
    for n in range(1, len(xs) + 1):
        assert min(values[:n]) * n <= distance_sq / (2 * excess_rate(case))
        assert min(gradients[:n]) * n <= distance_sq / alphas(case).min()
    # the distance to every common minimiser never grows
    for x_star in (case.point, nearest_common_point(case, case.x0)):
        lengths = [squared_norm(x - x_star) for x in xs]
        for before, after in pairwise(lengths):
            assert after <= before + REL * lengths[0] + 1e-15


@pytest.mark.claim("thm2", kind="numeric")
@settings(max_examples=1000)
@given(federations(counts=FINITE))
def test_bound_for_every_n(case):
    xs = iterates(case, ROUNDS)
    distance_sq, k, A = start_distance_sq(case), excess_rate(case), path_length_constant(case)
    moves = [math.dist(a, b) for a, b in pairwise(xs)]
    for n, x in enumerate(xs):
        bound = distance_sq / k * math.sqrt(A / (n + 1))
        assert mean_loss(case, x) <= bound * (1 + REL) + 1e-15
    # the two steps of its proof: the moves never grow, and z_n controls them
    size = REL * (math.sqrt(distance_sq) + 1e-6)
    for before, after in pairwise(moves):
        assert after <= before + size
    z = decrease(case, one_round(case, xs[0]))
    assert moves[0] ** 2 <= A * z * (1 + REL) + 1e-15


@pytest.mark.claim("thm2", kind="symbolic")
@pytest.mark.mutation("constant", "N**2 / 2)", "N**2 / 3)")
def test_the_sum_attains_its_bound():
    # f = |x| − 1/2 beyond 1, x²/2 within (L = 1), η = 1: from x = N one unit a round to 0, so
    # Σ (f(x_n) − f*) = Σ_{j=1}^N (j − 1/2) = N²/2 = d²/(2k) with k = 1: ½ is the best constant.
    j, N = sp.symbols("j N", integer=True, positive=True)
    assert sp.simplify(sp.summation(j - sp.Rational(1, 2), (j, 1, N)) - N**2 / 2) == 0


@pytest.mark.claim("thm2", kind="symbolic")
def test_for_infinitely_many_steps_the_limit_is_a_minimiser_but_not_the_projection():
    # f = d(x, [−1, 1])², L = 2, η = 3/4: from 3 the first step overshoots to 0 and stays.
    x, eta = Fraction(3), Fraction(3, 4)
    x = x - eta * 2 * (x - 1)
    assert x == 0
    assert -1 <= x <= 1


@pytest.mark.claim("thm2", kind="numeric")
@settings(max_examples=200)
@given(federations(counts=(1, 2, math.inf)))
def test_the_iterates_close_in_on_one_point(case):
    # Fejér: the distance to any later iterate's limit never grows; here, to the last iterate's
    # nearest common point, which is within d(x_N, S) of it
    xs = iterates(case, 8)
    target = nearest_common_point(case, xs[-1])
    lengths = [math.sqrt(squared_norm(x - target)) for x in xs]
    for before, after in pairwise(lengths):
        assert after <= before + 1e-9 * (1 + lengths[0])


@pytest.mark.claim("thm2", kind="numeric")
def test_the_residual_of_a_round_may_rise():
    # u₁ = (1, 0), u₂ = (10, −10), x = (1, 1), T = ∞, f_i = ½⟨u_i, x⟩²: from ¼ to 4950.25/4
    def residual(x, y):
        second = 10 * x - 10 * y
        return ((x + 10 * second) / 2) ** 2 + (-10 * second / 2) ** 2

    start = Fraction(1), Fraction(1)
    ends = [(Fraction(0), Fraction(1)), start]  # node 2 is content
    after = tuple(sum(parts) / 2 for parts in zip(*ends, strict=True))
    assert after == (Fraction(1, 2), Fraction(1))
    assert residual(*start) == Fraction(1, 4)
    assert residual(*after) == Fraction(495025, 400)
    assert after[0] ** 2 + after[1] ** 2 == Fraction(5, 4) < 2


# Negative controls.


def huber_sum(N: int) -> Fraction:
    """Σ (f(x_n) − f*) for the example in which the sum attains its bound."""
    x, total = Fraction(N), Fraction(0)
    while x:
        total += abs(x) - Fraction(1, 2) if abs(x) >= 1 else x**2 / 2
        x = x - max(min(x, Fraction(1)), Fraction(-1))
    return total


@pytest.mark.claim("thm2", kind="control")
@pytest.mark.parametrize("N", [1, 2, 10])
def test_with_a_smaller_constant_the_sum_breaks_it(N):
    assert huber_sum(N) == Fraction(N**2, 2)
    assert huber_sum(N) > Fraction(N**2) / (2 * Fraction(101, 100))


@pytest.mark.claim("thm2", kind="control")
def test_without_a_common_minimiser_values_and_gradient_stay_away():
    # f_1 = x²/2, f_2 = 2(x − 1)², T = ∞: every x_n is (0 + 1)/2, while f is least at 4/5.
    def f(x):
        return (x**2 / 2 + 2 * (x - 1) ** 2) / 2

    x = Fraction(1, 2)
    gradient = (x + 4 * (x - 1)) / 2
    excess = f(x) - f(Fraction(4, 5))
    assert gradient == Fraction(-3, 4)
    distance_sq, k, n = Fraction(9, 100), Fraction(1, 4), 100  # η_1 = 1, η_2 = 1/4 = 1/L_2
    assert n * excess > distance_sq / (2 * k)  # the sum over n rounds
    assert n * gradient**2 > distance_sq / Fraction(1, 16)  # min α = 1/L_2²


@pytest.mark.claim("thm2", kind="control")
def test_at_two_over_l_nothing_converges():
    # α = 0: f = x²/2, η = 2 flips the sign for ever, and T = ∞ has no limit.
    x: Fraction = Fraction(1)
    seen = set()
    for _ in range(10):
        seen.add(x)
        x = x - 2 * x
    assert seen == {Fraction(1), Fraction(-1)}


@pytest.mark.claim("thm2", kind="control")
@given(federations(counts=FINITE, max_nodes=4))
def test_path_constant_cannot_drop_the_number_of_steps(case):
    # All nodes alike and flat (η L small): T steps in a row go T times as far, so that
    # δ² = T·(η² T/α) Σ‖g‖²/T and A without its T is too small.
    node, T = case.nodes[0], 7
    assume(squared_norm(node.gradient(case.x0)) > 1e-12)
    slow = Federation([node], [1e-3 / node.L], [T], case.x0, case.point)
    done = one_round(slow, slow.x0)
    move = squared_norm(done.end - slow.x0)
    assert move > path_length_constant(slow) / T * decrease(slow, done)
