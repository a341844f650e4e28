"""The exact worst case of Algorithm 1 by performance estimation, and functions that attain it.

Over all L-smooth convex f_1 … f_m on R^d, d free, that share a minimiser x* with
‖x_0 − x*‖ ≤ 1, the largest loss, residual or distance after n rounds is the value of a
semidefinite program in the Gram matrix of x_0 − x* and the gradients along the run
(Drori & Teboulle 2014; exact by the interpolation theorem of Taylor, Hendrickx & Glineur
2017). PEPit states the program, CVXPY hands it to a solver. The dual variables are
multipliers of the interpolation inequalities; weighted with them, these add up to a proof of
the value.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from localgd.algorithm.servers import Server
    from localgd.problem import Problem

__all__ = ["Measure", "WorstCase", "worst_case"]

FloatArray = NDArray[np.float64]
Measure = Literal["loss", "grad_norm_sq", "distance", "best_grad_norm_sq"]

#: What the interior-point solver is asked for; PEPit's own default is 1e-5 with some solvers.
TOLERANCE = 1e-9
#: How far primal and dual may be apart, relative to values above 1.
GAP = 1e-5


@dataclass(frozen=True)
class Setting:
    """n rounds of T_i steps of size η_i over L-smooth, μ-strongly convex f_i, checked."""

    rounds: int
    local_steps: tuple[int, ...]  # (m,)
    step_sizes: tuple[float, ...]  # (m,)
    smoothness: float
    strong_convexity: float

    @classmethod
    def checked(
        cls,
        rounds: int,
        local_steps: int | Sequence[int],
        num_nodes: int,
        step_size: float | Sequence[float],
        smoothness: float = 1.0,
        strong_convexity: float = 0.0,
    ) -> Setting:
        """Return the setting, or raise ValueError with the value, the rule and the node."""
        whole("rounds", rounds)
        whole("num_nodes", num_nodes)
        if not (np.isfinite(smoothness) and smoothness > 0):
            raise ValueError(f"smoothness={smoothness!r} must be positive and finite")
        if not 0 <= strong_convexity < smoothness:
            raise ValueError(
                f"strong_convexity={strong_convexity!r} must lie in [0, L) with L = {smoothness!r}"
            )
        steps = _per_node("local_steps", local_steps, num_nodes)
        sizes = _per_node("step_size", step_size, num_nodes)
        for node, count in enumerate(steps):
            whole("local_steps", count, f" at node {node}")
        for node, size in enumerate(sizes):
            if not (np.isfinite(size) and size > 0):
                raise ValueError(f"step_size={size!r} at node {node} must be positive and finite")
        return cls(
            int(rounds),
            tuple(int(count) for count in steps),
            tuple(float(size) for size in sizes),
            float(smoothness),
            float(strong_convexity),
        )


def whole(name: str, value: Any, where: str = "") -> None:
    """Raise ValueError unless `value` is one of 1, 2, 3, …"""
    if isinstance(value, bool) or int(value) != value or value < 1:
        raise ValueError(f"{name}={value!r}{where} must be a whole number, 1 or more")


def check_measure(measure: str) -> None:
    """Raise ValueError for a measure that is not one."""
    if measure not in get_args(Measure):
        raise ValueError(f"measure={measure!r} is not one of {', '.join(get_args(Measure))}")


class Message(NamedTuple):
    """The input of a linear server's step, in whatever the points are written."""

    x: Any  # x_n
    mean: Any  # (1/m) Σ x^{i,T_i}
    mean_square_move: None = None

    @property
    def move(self) -> Any:
        """Δ̄ = (1/m) Σ x^{i,T_i} − x_n."""
        return self.mean - self.x


def fresh(server: Server | None) -> Callable[[Any, Any], Any]:
    """Return x_n and the mean ↦ x_{n+1}, from the beginning of a run; the mean without a server.

    Raises ValueError for a server that is not linear: its worst case is no semidefinite program.
    """
    if server is None:
        return lambda x, mean: mean
    if not server.linear:
        raise ValueError(
            f"server={server!r} is not linear in the points: Average(), Relaxed(ω) and "
            "Nesterov(restart=False) or with a condition are"
        )
    own: Any = copy.deepcopy(server)
    return lambda x, mean: own.step(Message(x, mean))


def need(module: str) -> Any:
    """Return the imported `module`, or raise ImportError with what to install."""
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(
            f"worst cases by performance estimation need {module}, which the library's core does "
            f"not install: pip install pepit clarabel"
        ) from error


@dataclass(frozen=True)
class WorstCase:
    """The worst value, its dual certificate, and the run that attains it.

    Points are numbered along a node's run: point n·T_i + t is x_n^{i,t}, the last one the final
    x_N, and −1 stands for x*. x* = 0 and f_i(x*) = 0.
    """

    value: float  # of the dual: an upper bound up to the solver's tolerance
    attained: float  # of the primal
    multipliers: dict[tuple[int, int, int], float]  # (node, a, b) ↦ λ of "f_i(a) ≥ … at b"
    start: FloatArray  # x_0, (d,)
    points: tuple[FloatArray, ...]  # per node (N·T_i + 1, d)
    gradients: tuple[FloatArray, ...]  # per node, ∇f_i at the points
    losses: tuple[FloatArray, ...]  # per node (N·T_i + 1,), f_i there
    smoothness: float
    strong_convexity: float
    quadratic: bool

    def problem(self) -> Problem:
        """Return losses f_i of the class with these values and gradients at these points.

        `run` on them from `start` goes through `points`. Smooth convex ones are interpolated,
        quadratics are H_i = G(XᵀG)⁺Gᵀ with the points and the gradients as columns of X and G.
        """
        from localgd.theory.interpolation import InterpolatedLosses, QuadraticLosses

        if self.quadratic:
            return QuadraticLosses(self.points, self.gradients)
        return InterpolatedLosses(
            self.points, self.gradients, self.losses, self.smoothness, self.strong_convexity
        )


def worst_case(
    rounds: int,
    local_steps: int | Sequence[int],
    num_nodes: int = 2,
    step_size: float | Sequence[float] = 1.0,
    measure: Measure = "loss",
    *,
    smoothness: float = 1.0,
    strong_convexity: float = 0.0,
    quadratic: bool = False,
    common_minimiser: bool = True,
    server: Server | None = None,
    margin: float = 0.0,
    solver: str = "CLARABEL",
) -> WorstCase:
    """max over f_1 … f_m and x_0 of the measure after n rounds, where ‖x_0 − x*‖ ≤ 1.

    The f_i are convex and L-smooth, μ-strongly convex where `strong_convexity` μ > 0, quadratic
    where `quadratic`, and x* minimises all of them. The dimension is free.

    rounds: n ≥ 1. local_steps: T_i ≥ 1, one number or m. step_size: η_i > 0, one number or m;
    at 2/L and beyond the worst case grows with n.
    measure: "loss" f(x_n) − f*, "grad_norm_sq" ‖∇f(x_n)‖², "distance" ‖x_n − x*‖²,
    "best_grad_norm_sq" min_{k≤n} ‖∇f(x_k)‖².
    common_minimiser: False asks only that x* minimises f, with ‖∇f_i(x*)‖² ≤ 1 on average (not
    for quadratics); the loss is then f(x_n) − f(x*).
    server: of `run`, a linear one; None is the average.
    margin: by how much each interpolation inequality is to hold more than it must. Some 1e-8
    costs about as much in value, and lets `WorstCase.problem` absorb the solver's rounding.
    solver: one of CVXPY's for semidefinite programs. CLARABEL is asked for a gap of 1e-9, SCS
    for 1e-7.

    The program has 1 + Σ(nT_i + 1) vectors and Σ(nT_i + 2)(nT_i + 1) inequalities: seconds for
    Σ nT_i up to 20. With equal T_i and η_i `any_nodes.worst_case_any_nodes` is much faster.
    Raises ValueError for bad input, ImportError without PEPit, RuntimeError where the solver
    fails. Source: the class of Theorem 2 of Zhang & Li 2019.
    """
    setting = Setting.checked(
        rounds, local_steps, num_nodes, step_size, smoothness, strong_convexity
    )
    check_measure(measure)
    if margin < 0:
        raise ValueError(f"margin={margin!r} must not be negative")
    if quadratic and not common_minimiser:
        raise ValueError("quadratic=True needs common_minimiser=True: here they all have x* = 0")
    pepit = need("PEPit")
    program = pepit.PEP()
    functions = [_declare(program, setting, quadratic, margin) for _ in setting.local_steps]
    star, optimum = _minimiser(program, functions, common_minimiser)
    start = program.set_initial_point()
    program.set_initial_condition((start - star) ** 2 <= 1)
    runs, averages = _run(setting, functions, start, fresh(server))
    _measure(program, measure, functions, averages, star, optimum)
    value, attained = _solve(program, solver, quadratic)
    origin = star.eval()
    return WorstCase(
        value=value,
        attained=attained,
        multipliers=_multipliers(functions, runs, star) if not quadratic else {},
        start=start.eval() - origin,
        points=tuple(np.array([x.eval() - origin for x, _, _ in path]) for path in runs),
        gradients=tuple(np.array([g.eval() for _, g, _ in path]) for path in runs),
        losses=tuple(
            np.array([(loss - f(star)).eval() for _, _, loss in path])
            for f, path in zip(functions, runs, strict=True)
        ),
        smoothness=setting.smoothness,
        strong_convexity=setting.strong_convexity,
        quadratic=quadratic,
    )


def _per_node(name: str, value: Any, num_nodes: int) -> list[Any]:
    values = list(value) if isinstance(value, Sequence | np.ndarray) else [value] * num_nodes
    if len(values) != num_nodes:
        raise ValueError(f"{name} holds {len(values)} numbers, expected one or {num_nodes}")
    return values


def _solve(program: Any, solver: str, quadratic: bool) -> tuple[float, float]:
    """Return the values of the dual and of the primal; RuntimeError where they stay apart."""
    with warnings.catch_warnings():
        # CVXPY warns where a solver stops short of what it was asked for; the gap is what counts
        warnings.filterwarnings("ignore", "Solution may be inaccurate", UserWarning)
        try:
            value = program.solve(
                wrapper="cvxpy",
                solver=solver,
                verbose=0,
                return_primal_or_dual="dual",
                **_accuracy(solver, quadratic),
            )
            attained = program.objective.eval()
        except (need("cvxpy").error.SolverError, ValueError) as error:
            raise RuntimeError(f"{solver} found no worst case; try another solver") from error
    if not abs(value - attained) <= GAP * max(1.0, abs(attained)):
        raise RuntimeError(f"{solver} left the primal {attained} and the dual {value} apart")
    return float(value), float(attained)


def _accuracy(solver: str, quadratic: bool) -> dict[str, float]:
    """Return what a solver is asked for, in its own words."""
    if solver == "CLARABEL":
        # a quadratic's symmetry is a set of equations, which leave the interior point less room
        wanted = 1e-7 if quadratic else TOLERANCE
        return dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), wanted)
    return {"eps": 1e-7, "max_iters": 200_000} if solver == "SCS" else {}


def _declare(program: Any, setting: Setting, quadratic: bool, margin: float) -> Any:
    """Return a function of the class, its inequalities tightened by `margin`."""
    classes = need("PEPit.functions")
    L, mu = setting.smoothness, setting.strong_convexity
    if quadratic:
        function = program.declare_function(
            classes.SmoothStronglyConvexQuadraticFunction, mu=mu, L=L
        )
        constrain = function.add_class_constraints

        def away_from_minimiser() -> None:
            """Leave out the rows of x*: all zero, they would leave the program no interior."""
            everything = function.list_of_points
            function.list_of_points = everything[1:]
            constrain()
            function.list_of_points = everything

        function.add_class_constraints = away_from_minimiser
        return function
    function = program.declare_function(classes.SmoothStronglyConvexFunction, mu=mu, L=L)
    plain = function.set_smoothness_strong_convexity_constraint_i_j

    def tightened(xi: Any, gi: Any, fi: Any, xj: Any, gj: Any, fj: Any) -> Any:
        return plain(xi, gi, fi - margin, xj, gj, fj)

    function.set_smoothness_strong_convexity_constraint_i_j = tightened
    return function


def _minimiser(program: Any, functions: Sequence[Any], common: bool) -> tuple[Any, Any]:
    """Return x* and f(x*)."""
    first, *others = functions
    mean = sum(others, first) / len(functions)
    if not common:
        star = mean.stationary_point()
        spread = sum(f.gradient(star) ** 2 for f in functions) / len(functions)
        program.add_constraint(spread <= 1)
        return star, mean(star)
    star = first.stationary_point()
    for function in others:
        triplet = (star, need("PEPit.point").null_point, need("PEPit").Expression())
        function.list_of_points[:] = [triplet]  # a quadratic comes with a minimiser of its own
        function.list_of_stationary_points[:] = [triplet]
    return star, mean(star)


def _run(
    setting: Setting, functions: Sequence[Any], start: Any, step: Callable[[Any, Any], Any]
) -> tuple[list[list[tuple[Any, Any, Any]]], list[Any]]:
    """Return each node's points, gradients and losses along the run, and x_0 … x_N."""
    runs: list[list[tuple[Any, Any, Any]]] = [[] for _ in functions]
    averages = [start]
    for _ in range(setting.rounds):
        ends = []
        for function, path, steps, size in zip(
            functions, runs, setting.local_steps, setting.step_sizes, strict=True
        ):
            x = averages[-1]
            for _ in range(steps):
                path.append((x, *function.oracle(x)))
                x = x - size * path[-1][1]
            ends.append(x)
        averages.append(step(averages[-1], sum(ends[1:], ends[0]) / len(ends)))
    for function, path in zip(functions, runs, strict=True):
        path.append((averages[-1], *function.oracle(averages[-1])))
    return runs, averages


def _measure(
    program: Any,
    measure: str,
    functions: Sequence[Any],
    averages: Sequence[Any],
    star: Any,
    optimum: Any,
) -> None:
    """Set what is maximised; PEPit maximises the least of several."""
    mean = sum(functions[1:], functions[0]) / len(functions)
    if measure == "loss":
        program.set_performance_metric(mean(averages[-1]) - optimum)
    elif measure == "distance":
        program.set_performance_metric((averages[-1] - star) ** 2)
    else:
        for x in averages if measure == "best_grad_norm_sq" else averages[-1:]:
            program.set_performance_metric(mean.gradient(x) ** 2)


def _multipliers(
    functions: Sequence[Any], runs: Sequence[Sequence[tuple[Any, Any, Any]]], star: Any
) -> dict[tuple[int, int, int], float]:
    """Return the positive multipliers by (node, a, b), a and b numbers of points."""
    found = {}
    for node, (function, path) in enumerate(zip(functions, runs, strict=True)):
        number = {id(x): k for k, (x, _, _) in enumerate(path)} | {id(star): -1}
        names = [number[id(point)] for point, _, _ in function.list_of_points]
        for table in function.tables_of_constraints.values():
            for a, row in zip(names, table.to_numpy(), strict=True):
                for b, constraint in zip(names, row, strict=True):
                    if a != b and constraint.eval_dual() > TOLERANCE:
                        found[node, a, b] = float(constraint.eval_dual())
    return found
