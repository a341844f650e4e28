"""Exact proofs of worst cases: multipliers in fractions, checked without a solver.

Point n·T + t of a node's run is x_n^{i,t}, the last one x_N, and −1 is x* = 0; L = η = 1. The
inequality (a, b) is f_i(a) ≥ f_i(b) + ⟨g_i(b), a − b⟩ + ½‖g_i(a) − g_i(b)‖², averaged over the
nodes. Multipliers λ ≥ 0 prove f(x_N) ≤ v‖x_0 − x*‖² where Σλ·(right − left) leaves
v‖x_0‖² − f(x_N) + a sum of squares: the losses cancel but for f(x_N), and the quadratic forms
in the mean gradients (with x_0) and in the deviations from them are positive semidefinite.
"""

from collections.abc import Mapping
from fractions import Fraction

from localgd.theory.worst_case import whole

Multipliers = Mapping[tuple[int, int], Fraction]
Matrix = list[list[Fraction]]

#: Rounds ↦ (q, p): the shares p_n/q of the inequality (x_n, x_{n+1}) in the proof for T = 2. They
#: are the middle of those that give a proof, found by semidefinite programming and rounded.
_SHARES = {
    1: (20, [5]),
    2: (50, [5, 22]),
    3: (100, [6, 29, 51]),
    4: (500, [22, 100, 193, 279]),
    5: (50, [2, 8, 14, 22, 29]),
    6: (500, [16, 63, 116, 175, 248, 304]),
    7: (1000, [28, 108, 193, 286, 397, 533, 623]),
    8: (1000, [25, 95, 166, 242, 331, 436, 563, 635]),
    9: (2000, [47, 169, 290, 420, 568, 739, 938, 1174, 1290]),
    10: (2000, [45, 154, 258, 371, 497, 641, 805, 994, 1214, 1306]),
    11: (5000, [108, 355, 581, 830, 1106, 1415, 1761, 2154, 2603, 3121, 3299]),
}


def two_step_multipliers(rounds: int) -> dict[tuple[int, int], Fraction]:
    """Multipliers that prove f(x_n) − f* ≤ L‖x_0 − x*‖²/(8n + 2) for T = 2 and η = 1/L.

    rounds: n in 1, …, 11. The inequalities are those of consecutive points, of consecutive
    averages, and of x* with each point. Raises ValueError for another n.
    """
    if rounds not in _SHARES:
        raise ValueError(f"rounds={rounds!r}: proofs are known for n = 1, …, {max(_SHARES)}")
    whole_share, parts = _SHARES[rounds]
    shares = [Fraction(part, whole_share) for part in parts]
    last, crossing = 2 * rounds, Fraction(0)  # what has gone into the points so far
    found: dict[tuple[int, int], Fraction] = {}
    for k in range(last):
        n, odd = divmod(k, 2)
        before = shares[n - 1] if n else Fraction(0)
        # the row of the form in the mean gradients sums to zero, as it must where the worst
        # case has all gradients equal
        weight = (1 + crossing + (-shares[n] if odd else before)) / (2 * last - k)
        found[-1, k] = weight
        crossing += weight
        found[k, k + 1] = crossing - shares[n]
        if not odd:
            found[k, k + 2] = shares[n]
    found[-1, last] = 1 - crossing
    return found


def one_step_multipliers(rounds: int) -> dict[tuple[int, int], Fraction]:
    """Multipliers that prove f(x_n) − f* ≤ L‖x_0 − x*‖²/(4n + 2) for T = 1: k/(2n + 1 − k).

    Those of Drori & Teboulle (2014) for gradient descent. rounds: n ≥ 1.
    """
    whole("rounds", rounds)
    chain = [Fraction(k, 2 * rounds + 1 - k) for k in range(rounds + 1)] + [Fraction(1)]
    found = {(k - 1, k): chain[k] for k in range(1, rounds + 1)}
    return found | {(-1, k): chain[k + 1] - chain[k] for k in range(rounds + 1)}


def proves_loss(multipliers: Multipliers, rounds: int, local_steps: int, value: Fraction) -> bool:
    """Return whether `multipliers` prove f(x_n) − f* ≤ value · L‖x_0 − x*‖², in exact arithmetic.

    For any number of nodes with T = `local_steps` and η = 1/L. Nothing is rounded: the forms
    are factorised in fractions. Raises ValueError for a point that the run does not have.
    """
    whole("rounds", rounds)
    whole("local_steps", local_steps)
    count = rounds * local_steps + 1
    for pair in multipliers:
        if not all(-1 <= k < count for k in pair):
            raise ValueError(f"inequality {pair}: the points of this run are -1, …, {count - 1}")
    losses = [Fraction(0)] * count
    mean = _zeros(count + 1)
    split = _zeros(count)
    mean[0][0] += value
    for (a, b), weight in multipliers.items():
        if a >= 0:
            losses[a] -= weight
        if b >= 0:
            losses[b] += weight
        _add(mean, weight, *(_mean(k) for k in (a, b)))
        _add(split, weight, *(_split(k, local_steps) for k in (a, b)))
    return (
        all(weight >= 0 for weight in multipliers.values())
        and losses == [Fraction(int(k == count - 1)) for k in range(count)]
        and is_positive_semidefinite(mean)
        and is_positive_semidefinite(split)
    )


def is_positive_semidefinite(matrix: Matrix) -> bool:
    """Return whether a symmetric matrix of fractions is ⪰ 0, by LDLᵀ without rounding."""
    rest = [list(row) for row in matrix]
    while rest:
        pivot, *row = rest[0]
        if pivot < 0 or (pivot == 0 and any(row)):
            return False
        rest = [
            [x - (row[i] * row[j] / pivot if pivot else 0) for j, x in enumerate(line[1:])]
            for i, line in enumerate(rest[1:])
        ]
    return True


def _zeros(side: int) -> Matrix:
    return [[Fraction(0)] * side for _ in range(side)]


def _mean(k: int) -> tuple[dict[int, int], dict[int, int]]:
    """The averages of point k and of its gradient, over x_0 (number 0) and the mean gradients."""
    if k < 0:
        return {}, {}
    return {0: 1} | {1 + j: -1 for j in range(k)}, {1 + k: 1}


def _split(k: int, local_steps: int) -> tuple[dict[int, int], dict[int, int]]:
    """The deviations of point k and of its gradient from their averages."""
    if k < 0:
        return {}, {}
    return dict.fromkeys(range(k - k % local_steps, k), -1), {k: 1}


def _add(
    form: Matrix,
    weight: Fraction,
    a: tuple[dict[int, int], dict[int, int]],
    b: tuple[dict[int, int], dict[int, int]],
) -> None:
    """Add weight · (⟨g_b, x_a − x_b⟩ + ½‖g_a − g_b‖²) to the form."""
    move, change = _difference(a[0], b[0]), _difference(a[1], b[1])
    for one, other in ((b[1], move), (change, change)):
        for i, u in one.items():
            for j, v in other.items():
                form[i][j] += weight * u * v / 2
                if one is not other:
                    form[j][i] += weight * u * v / 2


def _difference(a: Mapping[int, int], b: Mapping[int, int]) -> dict[int, int]:
    return {k: a.get(k, 0) - b.get(k, 0) for k in {*a, *b}}
