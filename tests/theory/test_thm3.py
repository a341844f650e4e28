"""Theorem 3: d(x_n, S) ≤ ρⁿ d(x_0, S). As printed, ρ² = 1 − 1/(cκ), it is false.

The last line of its proof needs Jensen, which gives c⁻². Correct: ρ² = 1 − c₂⁻²κ⁻¹ ≤ 1 − c⁻²κ⁻¹,
and sharper still ρ² = 1 − c₂⁻² min k_i with k_i of the order of μ_i/L_i in place of (μ_i/L_i)².
"""

import math
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import separation
from localgd import AffineSubspace, SquaredDistance, ToOptimum, run
from localgd.geometry import sigma_min
from localgd.theory import contraction_factor
from rounds import (
    inverse_condition,
    inverse_condition_by_growth,
    nearest_common_point,
    one_round,
    smallest_angle_eigenvalue,
    squared_norm,
)
from smooth import INFINITY
from strategies import AFFINE, federations
from synthetic import touching_sets_round

REL = 1e-10


def squared_distances(case):
    """d(x_n, S)² and d(x_{n+1}, S)²."""
    end = one_round(case, case.x0).end
    return [squared_norm(x - nearest_common_point(case, x)) for x in (case.x0, end)]


# The counterexample: the lines y = ±x/2, f_i = d(x, S_i)²/2, η = 1.


def two_lines_rounds(rounds: int) -> list[Fraction]:
    """d(x_n, S)² from (1, 0): a step projects, further ones do nothing, so that T is free."""
    directions = [(Fraction(2), Fraction(1)), (Fraction(2), Fraction(-1))]
    x = (Fraction(1), Fraction(0))
    result = []
    for _ in range(rounds + 1):
        result.append(x[0] ** 2 + x[1] ** 2)
        ends = []
        for u in directions:
            share = (x[0] * u[0] + x[1] * u[1]) / 5
            ends.append((share * u[0], share * u[1]))
        x = (sum(e[0] for e in ends) / 2, sum(e[1] for e in ends) / 2)
    return result


@pytest.mark.claim("thm3", kind="counterexample")
@pytest.mark.mutation(
    "constant",
    "share = (x[0] * u[0] + x[1] * u[1]) / 5",
    "share = (x[0] * u[0] + x[1] * u[1]) / 6",
    within="two_lines_rounds",
)
@pytest.mark.mutation(
    "exponent", "printed = 1 - Fraction(2, 5)", "printed = 1 - Fraction(2, 5) ** 2"
)
def test_two_lines_are_slower_than_the_printed_rate():
    # α = μ = L = 1 gives κ = 1, and c = 2/sin 2φ = 5/2 at tan φ = 1/2: ρ² = 1 − 1/c = 15/25.
    c = sp.simplify(2 / sp.sin(2 * sp.atan(sp.Rational(1, 2))))
    assert c == sp.Rational(5, 2)
    printed = 1 - Fraction(2, 5)
    squares = two_lines_rounds(6)
    assert squares[1] == Fraction(16, 25) > printed == Fraction(15, 25)
    for n in range(1, 7):
        assert squares[n] == Fraction(16, 25) ** n > printed**n
    # the corrected rates hold: 1 − c⁻² = 21/25 and 1 − c₂⁻² = 1 − σ = 4/5
    assert Fraction(16, 25) <= Fraction(4, 5) <= 1 - Fraction(2, 5) ** 2 == Fraction(21, 25)


@pytest.mark.claim("thm3", kind="counterexample")
@pytest.mark.parametrize("T", [1, 2, 10, INFINITY])
def test_the_library_runs_the_counterexample(T):
    # The same with f_i = d(x, S_i)², L = μ = 2, η = 1/2.
    lines = [AffineSubspace([0.0, 0.0], [[2.0, sign]]) for sign in (1.0, -1.0)]
    rule = ToOptimum() if T == INFINITY else int(T)
    trace = run(SquaredDistance(lines), [1.0, 0.0], local_steps=rule, step_size=0.5, rounds=5)
    np.testing.assert_allclose(trace.dist, [0.8**n for n in range(6)], rtol=1e-12)
    assert contraction_factor(SquaredDistance(lines), T, 0.5) == pytest.approx(0.8, rel=1e-12)
    assert sigma_min(lines) == pytest.approx(0.2, rel=1e-12)


@pytest.mark.claim("thm3", kind="counterexample")
def test_it_fails_for_all_lines_below_59_degrees():
    # Exact rate cos⁴φ against 1 − sin φ cos φ: with u = tan φ the difference is
    # −u(u³ − u² + 2u − 1)/(1 + u²)², positive below the only real root of the cubic.
    u = sp.symbols("u", positive=True)
    cos_sq, sin_cos = 1 / (1 + u**2), u / (1 + u**2)
    cubic = u**3 - u**2 + 2 * u - 1
    gap = cos_sq**2 - (1 - sin_cos)
    assert sp.simplify(gap + u * cubic / (1 + u**2) ** 2) == 0
    assert sp.discriminant(cubic, u) < 0
    root = sp.CRootOf(cubic, 0)
    assert root.evalf(12) == pytest.approx(0.569840290998, abs=1e-12)
    assert math.degrees(2 * math.atan(float(root))) == pytest.approx(59.352, abs=5e-4)


@pytest.mark.claim("thm3", kind="symbolic")
def test_separation_and_rate_of_two_lines():
    # At ±φ to the x-axis: Q = diag(sin²φ, cos²φ), and the mean distance is
    # max(|x| sin φ, |y| cos φ), least over the unit circle on a line: c = 2/sin 2φ.
    phi, x, y = sp.symbols("phi x y", real=True)
    normals = [sp.Matrix([sp.sin(phi), -sp.cos(phi)]), sp.Matrix([sp.sin(phi), sp.cos(phi)])]
    Q = sum((n * n.T for n in normals), sp.zeros(2)) / 2
    assert sp.simplify(Q - sp.diag(sp.sin(phi) ** 2, sp.cos(phi) ** 2)) == sp.zeros(2)
    distances = [n.dot(sp.Matrix([x, y])) for n in normals]
    assert sp.expand(distances[0] + distances[1] - 2 * x * sp.sin(phi)) == 0
    assert sp.expand(distances[1] - distances[0] - 2 * y * sp.cos(phi)) == 0
    on_the_line = sp.sin(phi) * sp.cos(phi)
    assert sp.simplify(2 / sp.sin(2 * phi) - 1 / on_the_line) == 0


@pytest.mark.claim("thm3", kind="symbolic")
def test_growth_constant_is_never_below_the_gradient_one():
    # k − αμ² = ημ(1 − μ/L) for η ≤ 1/L, and ημ(2 − ηL)(1 − μ/L) beyond: both ≥ 0 as μ ≤ L.
    eta, mu, L = sp.symbols("eta mu L", positive=True)
    alpha = eta * (2 / L - eta)
    below = eta * mu * (1 + mu * (1 / L - eta))
    beyond = eta * mu * (2 - eta * L)
    assert sp.simplify(below - alpha * mu**2 - eta * mu * (1 - mu / L)) == 0
    assert sp.simplify(beyond - alpha * mu**2 - eta * mu * (2 - eta * L) * (1 - mu / L)) == 0
    assert sp.simplify(below.subs(eta, 1 / L) - mu / L) == 0
    assert sp.simplify((alpha * mu**2).subs(eta, 1 / L) - (mu / L) ** 2) == 0


# The corrected theorem over random families.


@pytest.mark.claim("thm3", kind="corrected")
@pytest.mark.mutation("constant", "(1 - share) * before", "(1 - 2 * share) * before")
@settings(max_examples=1000)
@given(federations(kinds=AFFINE))
def test_corrected_with_the_squared_separation_constant(case):
    before, after = squared_distances(case)
    sigma = smallest_angle_eigenvalue(case)  # c₂⁻²
    share = sigma * inverse_condition(case)
    assert 0 < share <= 1 + REL
    assert after <= (1 - share) * before + REL * before + 1e-15
    # c lies between c₂ and √m c₂, and a larger constant gives a weaker bound
    assert after <= (1 - share / len(case.nodes)) * before + REL * before + 1e-15
    # sharper, with the ordinary condition number
    sharper = sigma * inverse_condition_by_growth(case)
    assert sharper >= share * (1 - REL)
    assert after <= (1 - sharper) * before + REL * before + 1e-15


@pytest.mark.claim("thm3", kind="corrected")
@pytest.mark.mutation("exponent", "/ c**2", "/ c")
@settings(max_examples=1000)
@given(federations(kinds=AFFINE, max_nodes=2))
def test_corrected_with_the_exact_c_of_two_sets(case):
    sigma = smallest_angle_eigenvalue(case)
    c = separation.of_two_subspaces(sigma) if len(case.nodes) == 2 else 1.0
    before, after = squared_distances(case)
    assert after <= (1 - inverse_condition(case) / c**2) * before + REL * before + 1e-15


@pytest.mark.claim("thm3", kind="corrected")
@pytest.mark.mutation("hypothesis", "/ len(case.nodes)", "* len(case.nodes)")
@settings(max_examples=1000)
@given(federations(kinds=("box",)))
def test_corrected_for_boxes(case):
    # Half-spaces, slabs and boxes along the axes: d(x, S)² ≤ Σ d(x, S_i)², so that c₂ ≤ √m.
    before, after = squared_distances(case)
    share = inverse_condition(case) / len(case.nodes)
    assert after <= (1 - share) * before + REL * before + 1e-15


# Negative controls.


@pytest.mark.claim("thm3", kind="control")
@settings(max_examples=1000)
@given(
    st.integers(4, 60),
    st.integers(10, 20).map(lambda tick: tick / 20),
    st.sampled_from([1, 2, 3, 7, INFINITY]),
    st.integers(1, 90),
)
def test_the_printed_rate_fails_for_narrow_families(k, eta, T, turn):
    # Two planes in R⁴: slopes ±1/k in one coordinate plane, a wider angle in another; f_i = d²/2.
    q = 0.0 if T == INFINITY else (1 - eta) ** T
    phi = math.atan(1 / k)
    wide = max(phi, math.radians(turn / 2))
    normals = [
        np.array(
            [
                [math.sin(phi), sign * math.cos(phi), 0, 0],
                [0, 0, math.sin(wide), sign * math.cos(wide)],
            ]
        )
        for sign in (1, -1)
    ]
    start = np.array([1.0, 0, 0, 0])
    end = sum(start - (1 - q) * N.T @ (N @ start) for N in normals) / 2
    printed = 1 - eta * (2 - eta) * math.sin(2 * phi) / 2  # 1 − c⁻¹κ⁻¹ with c = 2/sin 2φ
    assert squared_norm(end) > printed + 0.2 / k


@pytest.mark.claim("thm3", kind="control")
def test_without_separation_no_linear_rate_exists():
    # The sets of Figure 1 touch: the distance ratio of successive rounds tends to 1.
    x, y = 0.7, 2.6
    for n in range(1, 3001):
        previous = math.hypot(x, y)
        x, y = touching_sets_round(x, y, 1.0, 1.0)
        if n in (300, 1000, 3000):
            assert math.hypot(x, y) / previous > 1 - 1 / n


@pytest.mark.claim("thm3", kind="control")
def test_without_restricted_strong_convexity_no_linear_rate_exists():
    # f = x⁴/4 on [−1, 1] (L = 3), η = 1/3: x ↦ x(1 − x²/3), whose factor tends to 1.
    x = 1.0
    for _ in range(2000):
        x = x - x**3 / 3
    assert 1 - x**2 / 3 > 1 - 1e-3
    assert x > 1e-2


@pytest.mark.claim("thm3", kind="control")
def test_the_constant_c2_cannot_be_improved_to_first_order():
    # T = 1, f_i = d²/2 on the two lines, from (1, 0): the exact factor is (1 − ησ)², the bound
    # 1 − η(2 − η)σ; any larger σ breaks it for small η.
    eta, sigma = Fraction(1, 1000), Fraction(1, 5)
    exact = (1 - eta * sigma) ** 2
    assert exact <= 1 - eta * (2 - eta) * sigma
    assert exact > 1 - eta * (2 - eta) * sigma * Fraction(101, 100)
