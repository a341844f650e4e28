"""Do more local steps mean fewer rounds? Not in general; in the worst case of quadratics, yes.

Remark (2) after Lemma 1 is false in three ways: (A) for η in (1/L, 2/L), (B) from a particular
start, (C) within one round. True for η_i ≤ 1/L_i: M_T = (1/m) Σ (I − η_i H_i)^{T_i} does not
increase with any T_i in the Loewner order, and with it ρ(T) and the worst-case rounds; in one
dimension d(x_n, S) does not increase, for all convex smooth f_i.
"""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from exact_rounds import count, norm_sq, round_map, times
from localgd import LeastSquares, ToOptimum, run
from localgd.theory import contraction_factor
from rounds import smallest_angle_eigenvalue
from smooth import INFINITY
from strategies import AFFINE, Choices, federations

TOL = 1e-10

# The counterexamples: f_i = ⟨u_i, x⟩²/2, a common η, S = {0}.


def trap(k):
    """Example (B): the off-diagonals of u₁u₁ᵀ + u₂u₂ᵀ cancel."""
    return [(1, 2 * k), (2, -k)], Fraction(1, 4 * k * k + 1)


OVERSHOOT = ([(1,), (7,)], Fraction(1, 25))
ONE_ROUND = ([(0, 1), (1, -1)], Fraction(1, 2))


@pytest.mark.claim("monotone-T", kind="counterexample")
@pytest.mark.mutation("constant", "[1, 85, 1, 43, 1]", "[1, 84, 1, 43, 1]")
def test_a_step_above_one_over_l():
    rows, eta = OVERSHOOT
    assert Fraction(1, 49) < eta < Fraction(2, 49)
    maps = [round_map(rows, eta, T)[0][0] for T in (1, 2, 3, 4, INFINITY)]
    assert maps == [0, Fraction(576, 625), 0, Fraction(331776, 390625), 0]
    assert [count([[M]], [Fraction(1)]) for M in maps] == [1, 85, 1, 43, 1]


@pytest.mark.claim("monotone-T", kind="counterexample")
@pytest.mark.parametrize(
    ("k", "Ts", "by_distance", "by_residual"),
    [
        (3, (1, 2, 3, 10, INFINITY), [8, 44, 41, 37, 37], [8, 25, 27, 27, 27]),
        (10, (1, 2, INFINITY), [8, 344, 281], [8, 7, 111]),
    ],
)
def test_b_a_particular_start(k, Ts, by_distance, by_residual):
    rows, eta = trap(k)
    assert eta == 1 / Fraction(norm_sq(rows[0])) < 1 / Fraction(norm_sq(rows[1]))
    start = [Fraction(0), Fraction(1)]
    maps = [round_map(rows, eta, T) for T in Ts]
    # x₀ is an eigenvector of M₁ and of no other
    assert times(maps[0], start) == [0, 1 - Fraction(5 * k * k, 2 * (4 * k * k + 1))]
    assert all(times(M, start)[0] != 0 for M in maps[1:])
    assert [count(M, start) for M in maps] == by_distance
    H = [[Fraction(sum(u[i] * u[j] for u in rows), 2) for j in (0, 1)] for i in (0, 1)]
    found = [count(M, start, lambda x: norm_sq(times(H, x))) for M in maps]
    assert found == by_residual


@pytest.mark.claim("monotone-T", kind="counterexample")
@pytest.mark.mutation("sign", "[2, -1])", "[2, 1])")
def test_c_one_round():
    rows, eta = ONE_ROUND
    after = [norm_sq(times(round_map(rows, eta, T), [2, -1])) for T in (1, 2, INFINITY)]
    assert after == [Fraction(25, 16), Fraction(101, 64), Fraction(13, 8)]
    # although M₁ − M_∞ is positive semidefinite: squaring does not preserve the order
    first, last = (sp.Matrix(round_map(rows, eta, T)) for T in (1, INFINITY))
    assert (first - last).is_positive_semidefinite
    assert (first**2 - last**2).det() == -sp.Rational(1, 256)


@pytest.mark.claim("monotone-T", kind="counterexample")
@pytest.mark.parametrize(
    ("example", "start", "Ts", "rounds"),
    [
        (OVERSHOOT, [1], (1, 2, 3, 4), 90),
        (trap(3), [0, 1], (1, 2, 3, 10, INFINITY), 50),
        (trap(10), [0, 1], (1, INFINITY), 290),
    ],
)
def test_the_library_counts_the_same(example, start, Ts, rounds):
    rows, eta = example
    problem = LeastSquares([[u] for u in rows], [[0.0]] * len(rows))  # ⟨u, x⟩²: half the step
    for T in Ts:
        trace = run(
            problem,
            [float(a) for a in start],
            local_steps=ToOptimum() if T == INFINITY else T,
            step_size=float(eta) / 2,
            rounds=rounds,
        )
        exact = count(round_map(rows, eta, T), [Fraction(a) for a in start])
        assert int(np.argmax(trace.dist <= 1e-3 * trace.dist[0])) == exact


@pytest.mark.claim("monotone-T", kind="numeric")
def test_c_is_the_smallest_in_integers():
    def vectors(size):
        side = range(-size, size + 1)
        return [v for v in itertools.product(side, side) if abs(v[0]) + abs(v[1]) == size]

    for a, b, c in itertools.product(range(1, 4), repeat=3):
        if a + b + c <= 5:  # (C) has 1 + 2 + 3
            for u1, u2, x in itertools.product(vectors(a), vectors(b), vectors(c)):
                eta = Fraction(1, max(norm_sq(u1), norm_sq(u2)))
                first, *more = (
                    norm_sq(times(round_map([u1, u2], eta, T), x)) for T in (1, 2, INFINITY)
                )
                assert max(more) <= first


@pytest.mark.claim("monotone-T", kind="counterexample")
def test_a_even_counts_take_more_than_one_round_up_to_168():
    factors = {T: Fraction(24, 25) ** T for T in range(2, 201, 2)}
    assert max(T for T, factor in factors.items() if factor > Fraction(1, 1000)) == 168


# The algebra of the proof.


@pytest.mark.claim("monotone-T", kind="symbolic")
def test_powers_do_not_increase_and_are_convex():
    x = sp.symbols("x", positive=True)
    T = sp.symbols("T", integer=True, positive=True)
    step = (1 - x) ** T - (1 - x) ** (T + 1) - x * (1 - x) ** T
    assert sp.simplify(sp.powsimp(sp.expand(step))) == 0
    # t^T lies above its tangent at a: the difference is (t − a)² times terms ≥ 0
    a = sp.symbols("a", positive=True)
    for k in range(2, 9):
        share, rest = sp.div(
            sp.Poly(x**k - a**k - k * a ** (k - 1) * (x - a), x), sp.Poly((x - a) ** 2, x)
        )
        assert rest.is_zero
        assert all(c.is_positive for c in share.all_coeffs())
    # 1 − r^T = (1 − r)(1 + r + … + r^{T−1}) ≤ T(1 − r) on [0, 1]
    for k in (1, 2, 5):
        assert sp.expand((1 - x) * sum(x**j for j in range(k)) - (1 - x**k)) == 0


@pytest.mark.claim("monotone-T", kind="symbolic")
@pytest.mark.parametrize("T", [1, 2, 3, 4])
def test_a_round_of_a_single_row(T):
    a, b, eta = sp.symbols("a b eta", real=True)
    u = sp.Matrix([a, b])
    L = u.dot(u)
    power = (sp.eye(2) - eta * u * u.T) ** T
    assert sp.simplify(power - sp.eye(2) + (1 - (1 - eta * L) ** T) / L * u * u.T) == sp.zeros(2)


# The theorem over random families, η_i ≤ 1/L_i.

SHORT_STEPS = federations(kinds=AFFINE, largest_step=0.5, counts=(1, 2, 3, 7, 50, INFINITY))


def matrix(case, steps):
    """M_T."""
    M = np.zeros((len(case.x0), len(case.x0)))
    for node, eta, T in zip(case.nodes, case.etas, steps, strict=True):
        left = np.maximum(1 - eta * node.values, 0.0) ** T
        M += np.eye(len(case.x0)) - (node.normals.T * (1 - left)) @ node.normals
    return M / len(case.nodes)


def range_basis(case):
    """An orthonormal basis of S^⊥, the range of Q = I − M_∞, in columns."""
    values, vectors = np.linalg.eigh(matrix(case, [INFINITY] * len(case.nodes)))
    return vectors[:, values < 1 - 1e-9]


def top_on_range(W, M):
    """The largest eigenvalue of M on S^⊥."""
    return float(np.linalg.eigvalsh(W.T @ M @ W)[-1])


def active(case):
    """The nodes with H_i ≠ 0, which the bounds range over; a case without any is dropped."""
    nodes = [i for i, node in enumerate(case.nodes) if len(node.values)]
    assume(nodes)
    return nodes


@pytest.mark.claim("monotone-T", kind="corrected")
@settings(max_examples=1000)
@given(SHORT_STEPS, st.integers(0, 7), st.sampled_from([1, 2, 5, INFINITY]))
def test_the_round_map_does_not_increase(case, which, extra):
    active(case)
    more = list(case.steps)
    more[which % len(more)] += extra  # one T_i at a time
    M, later, W = matrix(case, case.steps), matrix(case, more), range_basis(case)
    assert np.linalg.eigvalsh(M - later)[0] >= -TOL
    assert np.linalg.eigvalsh(later)[0] >= -TOL
    assert np.linalg.eigvalsh(M)[-1] <= 1 + TOL
    assert top_on_range(W, later) <= top_on_range(W, M) + TOL
    # what one round can lose: d(x₁, S)² ≤ (what T leaves) · d(x₀, S)
    x = case.x0 - case.point
    lost = np.linalg.norm(later @ x) ** 2
    assert lost <= np.linalg.norm(M @ x) * np.linalg.norm(x) + TOL * (1 + x @ x)


@pytest.mark.claim("monotone-T", kind="corrected")
@settings(max_examples=1000)
@given(SHORT_STEPS)
def test_the_sandwich_and_the_cap(case):
    nodes, sigma = active(case), smallest_angle_eigenvalue(case)
    W = range_basis(case)
    rho = top_on_range(W, matrix(case, case.steps))
    high = [1 - max(0.0, 1 - case.etas[i] * case.nodes[i].L) ** case.steps[i] for i in nodes]
    low = [1 - (1 - case.etas[i] * case.nodes[i].mu) ** case.steps[i] for i in nodes]
    assert 1 - max(high) * sigma - TOL <= rho <= 1 - min(low) * sigma + TOL
    infinite = top_on_range(W, matrix(case, [INFINITY] * len(case.nodes)))
    assert infinite == pytest.approx(1 - sigma, abs=TOL)
    assert rho >= infinite - TOL


@pytest.mark.claim("local-steps-best", kind="numeric")
@pytest.mark.claim("monotone-T", kind="corrected")
@settings(max_examples=1000)
@given(SHORT_STEPS, st.integers(1, 60))
def test_local_steps_never_save_gradient_steps(case, T):
    nodes, m, sigma = active(case), len(case.nodes), smallest_angle_eigenvalue(case)
    W = range_basis(case)
    one, many = (top_on_range(W, matrix(case, [k] * m)) for k in (1, T))
    assert many >= one**T - TOL
    assert 1 - many <= T * (1 - one) + TOL
    # the share of the best gain, and all of it but δ at T = log(1/δ)/(ημ)
    decay = min(case.etas[i] * case.nodes[i].mu for i in nodes)
    assert 1 - many >= (1 - math.exp(-decay * T)) * sigma - TOL


@pytest.mark.claim("monotone-T", kind="corrected")
@settings(max_examples=1000)
@given(SHORT_STEPS, st.integers(2, 9))
def test_the_worst_case_number_of_rounds(case, tenths):
    # Attained by the top eigenvector, and by no start exceeded.
    active(case)
    M, W, eps = matrix(case, case.steps), range_basis(case), tenths / 10
    rho = top_on_range(W, M)
    assume(1e-6 < rho < 0.999 and abs(math.log(eps) / math.log(rho) % 1 - 0.5) < 0.49)
    predicted = math.ceil(math.log(eps) / math.log(rho))
    assert rho**predicted <= eps < rho ** (predicted - 1)
    restricted = W.T @ M @ W
    worst = np.linalg.eigh(restricted)[1][:, -1]
    power = np.linalg.matrix_power(restricted, predicted - 1)
    assert np.linalg.norm(power @ worst) > eps
    assert np.linalg.norm(restricted @ power, 2) <= eps


@pytest.mark.claim("monotone-T", kind="numeric")
@given(SHORT_STEPS)
def test_the_library_computes_the_same_factor(case):
    nodes = active(case)
    assume(len(nodes) == len(case.nodes))
    problem = LeastSquares(
        [node.A for node in case.nodes], [node.A @ node.point for node in case.nodes]
    )
    rho = contraction_factor(problem, case.steps, case.etas)
    assert rho == pytest.approx(top_on_range(range_basis(case), matrix(case, case.steps)), abs=1e-9)


# One dimension: f_i' is piecewise linear, zero on S_i ∋ 0, all in fractions.


class Line:
    """f' is 0 on [−left, right]; beyond, slopes[k] on the k-th unit and the last for ever."""

    def __init__(self, choices):
        self.left, self.right = choices.below(3), choices.below(3)
        self.slopes = [1 + choices.below(4), choices.below(5), choices.below(5)]
        self.L = max(self.slopes)

    def derivative(self, x):
        beyond = x - self.right if x > 0 else -x - self.left
        value = Fraction(0)
        for k, slope in enumerate(self.slopes):
            width = beyond - k if k == 2 else min(Fraction(1), beyond - k)
            value += slope * max(width, Fraction(0))
        return value if x > 0 else -value

    def path(self, x, eta, T):
        if T == INFINITY:
            return max(min(x, Fraction(self.right)), Fraction(-self.left))
        for _ in range(T):
            x -= eta * self.derivative(x)
        return x


def distances(nodes, etas, steps, x, rounds=3):
    """d(x_n, S) for n = 1 … rounds."""
    left, right = min(n.left for n in nodes), min(n.right for n in nodes)
    found = []
    for _ in range(rounds):
        ends = [n.path(x, e, T) for n, e, T in zip(nodes, etas, steps, strict=True)]
        x = sum(ends) / len(ends)
        found.append(max(x - right, -left - x, Fraction(0)))
    return found


def line_cases(stretch):
    """Nodes, η_i up to `stretch`/L_i, T_i, T_i' ≥ T_i, and x₀."""

    def build(data):
        choices = Choices(data)
        m = 1 + choices.below(3)
        nodes = [Line(choices) for _ in range(m)]
        etas = [stretch * Fraction(1 + choices.below(4), 4 * n.L) for n in nodes]
        steps = [1 + choices.below(3) for _ in nodes]
        more = [(T, T + 1, T + 2, INFINITY)[choices.below(4)] for T in steps]
        return nodes, etas, steps, more, Fraction(choices.below(49) - 24, 4)

    return st.binary(min_size=32, max_size=32).map(build)


@pytest.mark.claim("monotone-T", kind="corrected")
@settings(max_examples=1000)
@given(line_cases(1))
def test_on_the_line_every_round_is_ordered(case):
    nodes, etas, steps, more, x = case
    fewer, larger = distances(nodes, etas, steps, x), distances(nodes, etas, more, x)
    assert all(a <= b for a, b in zip(larger, fewer, strict=True))


# Negative controls.


@pytest.mark.claim("monotone-T", kind="control")
def test_on_the_line_a_long_step_breaks_it():
    # (A), with library-free iterates: one round suffices with T = 1 and does not with T = 2.
    nodes = [Line(Choices(bytes([0, 0, slope, 0, 0]))) for slope in (0, 3)]
    for node, slope in zip(nodes, (1, 4), strict=True):
        node.slopes, node.L = [slope] * 3, slope
    eta = [Fraction(2, 5)] * 2  # 1 − η = 3/5 and 1 − 4η = −3/5, η > 1/4
    assert distances(nodes, eta, [1, 1], Fraction(1))[0] == 0
    assert distances(nodes, eta, [2, 2], Fraction(1))[0] == Fraction(9, 25)


@pytest.mark.claim("monotone-T", kind="control")
@settings(max_examples=1000)
@given(federations(kinds=AFFINE, largest_step=0.95, counts=(1,)))
def test_above_one_over_l_only_even_counts_are_ordered(case):
    active(case)
    stretched = [max(eta, 1.1 / node.L) for eta, node in zip(case.etas, case.nodes, strict=True)]

    def power(T):
        M = np.zeros((len(case.x0), len(case.x0)))
        for node, eta in zip(case.nodes, stretched, strict=True):
            left = (1 - eta * node.values) ** T
            M += np.eye(len(M)) - (node.normals.T * (1 - left)) @ node.normals
        return M / len(case.nodes)

    assert np.linalg.eigvalsh(power(2) - power(4))[0] >= -TOL
    # the stiffest direction of a node on its own is not ordered from T = 1 to T = 2
    node = next(n for n in case.nodes if len(n.values))
    q = 1 - stretched[case.nodes.index(node)] * node.L
    assert q < q**2


@pytest.mark.claim("monotone-T", kind="control")
def test_with_the_mean_l_the_lower_bound_is_false():
    # One node on e₁ with λ = 1, two on e₂ with λ = ½; η = T = 1, σ = 1/3.
    curvature = [Fraction(1), Fraction(1, 2), Fraction(1, 2)]
    rho = max(1 - curvature[0] / 3, 1 - (curvature[1] + curvature[2]) / 3)
    sigma = Fraction(1, 3)
    assert rho == Fraction(2, 3)
    assert 1 - max(curvature) * sigma <= rho
    assert 1 - sum(curvature) / 3 * sigma == Fraction(7, 9) > rho


@pytest.mark.claim("monotone-T", kind="control")
def test_a_rate_below_the_cap_is_rejected():
    # 1 − σ cannot be improved: with all ηλ = 1 every T attains it.
    rows, eta = [(1, 0), (0, 1)], Fraction(1)
    for T in (1, 5, INFINITY):
        assert round_map(rows, eta, T) == [[Fraction(1, 2), 0], [0, Fraction(1, 2)]]


@pytest.mark.claim("monotone-T", kind="control")
def test_squared_distances_are_not_ordered_by_more_than_the_square_root():
    # the one-round bound with the exponent 1 in place of ½ is what (C) refutes
    rows, eta = ONE_ROUND
    few, many = (norm_sq(times(round_map(rows, eta, T), [2, -1])) for T in (1, INFINITY))
    assert many > few
    assert many**2 <= few * 5
