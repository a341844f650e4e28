"""The worst case for any number of nodes, m ≥ 2, in one small semidefinite program.

With equal T_i and η_i, permuting the nodes changes neither the constraints nor the value, and
the Gram matrices form a convex set; so some worst case is symmetric. Write ∇f_i = ḡ + δ_i
with Σδ_i = 0. A symmetric Gram matrix holds the inner products of x_0 and the ḡ, a matrix A,
and the averages over the nodes of those of the δ_i, a matrix D. The inequalities of a node
contain A and D alone, and every D ⪰ 0 occurs already with m = 2, as δ_1 = −δ_2. So the value
is the same for all m ≥ 2; with m = 1 it is that of gradient descent, D = 0.

Two blocks of size nT + 2 and nT + 1 and one node's inequalities take the place of a Gram
matrix of size m(nT + 1) + 1 and m nodes' inequalities.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from localgd.theory.worst_case import (
    GAP,
    TOLERANCE,
    FloatArray,
    Measure,
    Setting,
    WorstCase,
    check_measure,
    fresh,
    need,
)

if TYPE_CHECKING:
    from localgd.algorithm.servers import Server

__all__ = ["worst_case_any_nodes"]


class Point(NamedTuple):
    """x and ∇f_i(x) of a node as combinations of x_0 and the gradients."""

    mean_x: FloatArray  # (1 + K,) over x_0, ḡ_1 … ḡ_K
    mean_g: FloatArray
    split_x: FloatArray  # (K,) over δ_1 … δ_K
    split_g: FloatArray
    loss: FloatArray  # (K,) which of the f_k is f_i there


def run_points(
    rounds: int,
    local_steps: int,
    step_size: float,
    step: Callable[[FloatArray, FloatArray], FloatArray],
) -> list[Point]:
    """Return the nT + 1 points of a node's run, then x*; `step`: the server's, see `fresh`."""
    count = rounds * local_steps + 1
    unit, mean_unit = np.eye(count), np.eye(1 + count)
    points = []
    start = mean_unit[0]  # x_n of the round
    for k in range(count):
        first = k - k % local_steps  # where the round began
        if first == k > 0:
            moved = step_size * mean_unit[1 + k - local_steps : 1 + k].sum(0)
            start = step(start, start - moved)
        mean_x = start - step_size * mean_unit[1 + first : 1 + k].sum(0)
        split_x = -step_size * unit[first:k].sum(0)
        points.append(Point(mean_x, mean_unit[1 + k], split_x, unit[k], unit[k]))
    nothing, none = np.zeros(count), np.zeros(1 + count)
    return [*points, Point(none, none, nothing, nothing, nothing)]


def inequality(a: Point, b: Point, L: float, mu: float) -> tuple[FloatArray, FloatArray]:
    """Symmetric (A, D) parts Q of f_b − f_a + ⟨Q, Gram⟩ ≤ 0, the inequality that a and b obey."""

    def part(xa: FloatArray, ga: FloatArray, xb: FloatArray, gb: FloatArray) -> FloatArray:
        x, g = xa - xb, ga - gb
        rest = x - g / L
        return (
            _product(gb, x)
            + _product(g, g) / (2 * L)
            + _product(rest, rest) * mu * L / (L - mu) / 2
        )

    return (
        part(a.mean_x, a.mean_g, b.mean_x, b.mean_g),
        part(a.split_x, a.split_g, b.split_x, b.split_g),
    )


def worst_case_any_nodes(
    rounds: int,
    local_steps: int,
    step_size: float = 1.0,
    measure: Measure = "loss",
    *,
    smoothness: float = 1.0,
    strong_convexity: float = 0.0,
    single_node: bool = False,
    server: Server | None = None,
    margin: float = 0.0,
) -> WorstCase:
    """max of the measure after n rounds over m ≥ 2 nodes, x_0 and L-smooth convex f_i.

    As `worst_case`, for one T and one η for all nodes and every m ≥ 2 at once. The functions
    that come with it are those of two nodes. The multipliers are those of the inequalities
    averaged over the nodes, under node 0. Solved by Clarabel to a gap of 1e-9.

    single_node: True is m = 1; without a server, gradient descent with nT steps of size η.
    server: of `run`, a linear one; None is the average.

    Raises ValueError for bad input, ImportError without Clarabel, RuntimeError where it fails.
    """
    setting = Setting.checked(rounds, local_steps, 1, step_size, smoothness, strong_convexity)
    check_measure(measure)
    if margin < 0:
        raise ValueError(f"margin={margin!r} must not be negative")
    T, eta = setting.local_steps[0], setting.step_sizes[0]
    L, mu = setting.smoothness, setting.strong_convexity
    points = run_points(setting.rounds, T, eta, fresh(server))
    program = _Program(len(points) - 1, single_node)
    pairs = [(a, b) for a in range(len(points)) for b in range(len(points)) if a != b]
    for a, b in pairs:
        mean, split = inequality(points[a], points[b], L, mu)
        program.require(mean, split, points[b].loss - points[a].loss, at_most=-margin)
    program.require(_product(points[0].mean_x, points[0].mean_x), None, None, at_most=1.0)
    _set_measure(program, measure, points, T)
    solved = program.solve()
    last = len(points) - 1
    return WorstCase(
        value=solved.dual,
        attained=solved.primal,
        multipliers={
            (0, a if a < last else -1, b if b < last else -1): float(weight)
            for (a, b), weight in zip(pairs, solved.multipliers, strict=False)
            if weight > TOLERANCE
        },
        **_two_nodes(points[:-1], solved),
        smoothness=L,
        strong_convexity=mu,
        quadratic=False,
    )


def _product(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return the symmetric matrix Q with ⟨Q, Gram⟩ = ⟨a, b⟩."""
    return (np.outer(a, b) + np.outer(b, a)) / 2


def _set_measure(program: _Program, measure: str, points: list[Point], T: int) -> None:
    final = points[-2]
    if measure == "loss":
        program.maximise(None, final.loss)
    elif measure == "distance":
        program.maximise(_product(final.mean_x, final.mean_x), None)
    elif measure == "grad_norm_sq":
        program.maximise(_product(final.mean_g, final.mean_g), None)
    else:
        program.maximise_least([_product(p.mean_g, p.mean_g) for p in points[:-1:T]])


class Solved(NamedTuple):
    """The solution that Clarabel found."""

    primal: float
    dual: float
    multipliers: FloatArray
    mean: FloatArray  # A
    split: FloatArray  # D
    losses: FloatArray


class _Program:
    """A linear program over A ⪰ 0, D ⪰ 0, the losses and one free number."""

    def __init__(self, count: int, single_node: bool) -> None:
        self.count, self.single = count, single_node
        self.sizes = [_triangle(1 + count), 0 if single_node else _triangle(count), count, 1]
        self.rows: list[FloatArray] = []
        self.bounds: list[float] = []
        self.goal = np.zeros(sum(self.sizes))

    def _row(
        self,
        mean: FloatArray | None,
        split: FloatArray | None,
        losses: FloatArray | None,
        least: float = 0.0,
    ) -> FloatArray:
        blocks = [
            np.zeros(self.sizes[0]) if mean is None else _flatten(mean),
            np.zeros(self.sizes[1]) if split is None or self.single else _flatten(split),
            np.zeros(self.count) if losses is None else losses,
            np.array([least]),
        ]
        return np.concatenate(blocks)

    def require(
        self,
        mean: FloatArray | None,
        split: FloatArray | None,
        losses: FloatArray | None,
        *,
        at_most: float,
        least: float = 0.0,
    ) -> None:
        """Add ⟨mean, A⟩ + ⟨split, D⟩ + ⟨losses, f⟩ + least·t ≤ at_most."""
        self.rows.append(self._row(mean, split, losses, least))
        self.bounds.append(at_most)

    def maximise(self, mean: FloatArray | None, losses: FloatArray | None) -> None:
        """Set the objective; the free number is nailed to 0."""
        self.goal = -self._row(mean, None, losses)
        self.require(None, None, None, least=1.0, at_most=0.0)
        self.require(None, None, None, least=-1.0, at_most=0.0)

    def maximise_least(self, means: list[FloatArray]) -> None:
        """Set the objective t with t ≤ ⟨mean, A⟩ for each of the means."""
        self.goal = -self._row(None, None, None, 1.0)
        for mean in means:
            self.require(-mean, None, None, least=1.0, at_most=0.0)

    def solve(self) -> Solved:
        """Run Clarabel; RuntimeError where primal and dual end apart."""
        clarabel, sparse = need("clarabel"), need("scipy.sparse")
        settings = clarabel.DefaultSettings()
        settings.verbose = False
        settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = TOLERANCE
        columns = len(self.goal)
        parts: list[Any] = [sparse.csc_matrix(np.array(self.rows))]
        cones = [clarabel.NonnegativeConeT(len(self.rows))]
        at = 0
        for size, side in ((self.sizes[0], 1 + self.count), (self.sizes[1], self.count)):
            if size:
                block = sparse.eye(size, columns, k=at, format="csc")
                parts.append(-block)
                cones.append(clarabel.PSDTriangleConeT(side))
            at += size
        bounds = np.concatenate([self.bounds, np.zeros(sum(self.sizes[:2]))])
        found = clarabel.DefaultSolver(
            sparse.csc_matrix((columns, columns)),
            self.goal,
            sparse.vstack(parts, format="csc"),
            bounds,
            cones,
            settings,
        ).solve()
        primal, dual = -found.obj_val, -found.obj_val_dual
        if not abs(primal - dual) <= GAP * max(1.0, abs(primal)):
            raise RuntimeError(f"Clarabel left primal {primal} and dual {dual} apart")
        mean, split, losses, _ = np.split(np.array(found.x), np.cumsum(self.sizes)[:-1])
        return Solved(
            primal=float(primal),
            dual=float(dual),
            multipliers=np.array(found.z)[: len(self.rows)],
            mean=_unflatten(mean, 1 + self.count),
            split=np.zeros((self.count,) * 2) if self.single else _unflatten(split, self.count),
            losses=losses,
        )


def _triangle(side: int) -> int:
    return side * (side + 1) // 2


def _flatten(matrix: FloatArray) -> FloatArray:
    """Return the upper triangle by columns, off the diagonal times √2: ⟨Q, M⟩ is a dot product."""
    rows, columns = np.tril_indices(len(matrix))  # of the transpose
    return np.asarray(matrix[columns, rows] * np.where(rows == columns, 1.0, np.sqrt(2.0)))


def _unflatten(values: FloatArray, side: int) -> FloatArray:
    """Return the symmetric matrix that `_flatten` makes `values` of."""
    rows, columns = np.tril_indices(side)
    matrix = np.zeros((side, side))
    matrix[columns, rows] = values / np.where(rows == columns, 1.0, np.sqrt(2.0))
    return np.asarray(matrix + matrix.T - np.diag(np.diag(matrix)))


def _two_nodes(points: list[Point], solved: Solved) -> dict[str, Any]:
    """Start, points, gradients and losses of two nodes with these Gram matrices."""
    mean, split = _factor(solved.mean), _factor(solved.split)
    nothing = np.zeros((len(points), split.shape[1]))
    both = []
    for sign in (1.0, -1.0):
        x = np.array([p.mean_x @ mean for p in points])
        y = np.array([sign * (p.split_x @ split) for p in points])
        gradients = np.hstack([mean[1:], sign * split + nothing])
        both.append((np.hstack([x, y]), gradients))
    return {
        "start": both[0][0][0],
        "points": tuple(x for x, _ in both),
        "gradients": tuple(g for _, g in both),
        "losses": (solved.losses, solved.losses),
    }


def _factor(gram: FloatArray) -> FloatArray:
    """V with VVᵀ = gram, as many columns as it has eigenvalues above rounding."""
    values, vectors = np.linalg.eigh(gram)
    kept = values > 1e-14
    return np.asarray(vectors[:, kept] * np.sqrt(values[kept]))
