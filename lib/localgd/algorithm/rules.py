"""T_i, the number of local steps that node i takes in a round: from 1 to ∞.

A rule turns what is known at the start of a round (`RoundInfo`) into a `Plan` that the
loop carries out, so a rule that adapts T to what it has seen is one more class.
"""

from __future__ import annotations

import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localgd.algorithm.paths import LocalPaths
from localgd.fingerprint import describe

_MOST_STEPS = 2**63  # a round's steps are counted in 64 bits


@dataclass(frozen=True, eq=False)
class RoundInfo:
    """The state of knowledge when round `round` begins, at x_n with n = round − 1."""

    round: int
    loss: float
    grad_norm_sq: float  # ‖∇f(x_n)‖²
    local_grad_norm_sq: NDArray[np.float64]  # (m,) ‖∇f_i(x_n)‖²
    last_steps: NDArray[np.float64] | None  # (m,) local steps of the round before


@dataclass(frozen=True, eq=False)
class Plan:
    """One round's local work: at most `max_steps` steps, while ‖∇f_i‖² > `grad_tol`.

    `max_steps` None asks for the exact optimum, P_{S_i}(x_n), instead of steps.
    """

    max_steps: NDArray[np.int64] | None  # (m,)
    grad_tol: float | None = None


def check_plan(plan: Any, num_nodes: int, rule: Rule) -> Plan:
    """Return the plan of a rule with whole numbers of steps.

    Raises `TypeError` for what is no `Plan`, and `ValueError` for steps that are not one whole
    number ≥ 0 a node, or a tolerance that is not positive and finite, each with the rule.
    """
    if not isinstance(plan, Plan):
        raise TypeError(f"{rule!r} planned {plan!r}: expected a Plan")
    if plan.grad_tol is not None and not 0 < plan.grad_tol < math.inf:
        raise ValueError(f"{rule!r} planned grad_tol={plan.grad_tol}: expected it positive, finite")
    if plan.max_steps is None:
        return plan
    steps = np.asarray(plan.max_steps)
    if steps.shape != (num_nodes,):
        raise ValueError(f"{rule!r} planned steps of shape {steps.shape} for {num_nodes} nodes")
    whole = steps.dtype.kind in "iu" or (np.isfinite(steps) & (steps == np.floor(steps))).all()
    if not whole or steps.min() < 0 or steps.max() >= _MOST_STEPS:
        raise ValueError(f"{rule!r} planned {steps.tolist()} steps: expected whole numbers ≥ 0")
    return plan if steps.dtype == np.int64 else Plan(steps.astype(np.int64), plan.grad_tol)


class Rule(ABC):
    """A rule that says how many local steps every node takes; see `plan`.

    A rule whose plans depend on more than `RoundInfo` keeps that in its state: for a run with
    a checkpoint it overrides `state_dict` and `load_state_dict`, and `run` works on a copy.
    """

    #: Whether the same x_n always gets the same plan, whatever the round.  Then a round in
    #: which no node moves is the last one.
    constant = False
    #: Whether `observe` is to be told each round's paths.  Local steps then also compute their
    #: losses.
    wants_paths = False

    @abstractmethod
    def plan(self, info: RoundInfo, num_nodes: int) -> Plan:
        """Return the local work of the coming round."""

    def observe(self, paths: LocalPaths) -> None:
        """Take note of the round that is over; only where `wants_paths`."""
        return

    def check(self, num_nodes: int) -> None:
        """Raise `ValueError` where the rule does not fit `num_nodes` nodes."""
        return

    def state_dict(self) -> Mapping[str, Any]:
        """Return what the coming plans depend on: numbers, texts, lists, dictionaries, tensors."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state_dict` returned."""
        if state:
            raise NotImplementedError(f"{type(self).__qualname__} has a state_dict and cannot load")

    def in_common(self) -> str:
        """Return in words what processes that hold different nodes have in common of this rule."""
        return repr(self)

    def __repr__(self) -> str:
        return describe(self)


class FixedSteps(Rule):
    """T_i = T for every node, or T_i = T[i]: Algorithm 1 as written.

    `T`: an integer ≥ 1, or one per node.  Raises `TypeError` for a T that is not an
    integer and `ValueError` for T < 1; T = ∞ is `ToOptimum()`.
    """

    constant = True

    def __init__(self, T: int | Sequence[int]) -> None:
        self._per_node = np.ndim(T) > 0
        values: Sequence[Any] = T if isinstance(T, Sequence | np.ndarray) and np.ndim(T) else [T]
        self.steps = tuple(check_step_count(value) for value in values)
        if not self.steps:
            raise ValueError("local_steps is empty: expected one integer, or one per node")

    def check(self, num_nodes: int) -> None:
        """Raise `ValueError` where T is a sequence of another length than m."""
        if self._per_node and len(self.steps) != num_nodes:
            raise ValueError(f"local_steps holds {len(self.steps)} values for {num_nodes} nodes")

    def plan(self, info: RoundInfo, num_nodes: int) -> Plan:
        """Return T_i steps for node i, whatever the round."""
        return Plan(np.broadcast_to(np.asarray(self.steps, np.int64), (num_nodes,)))

    def in_common(self) -> str:
        """Return T, or nothing where every node has its own."""
        return "FixedSteps" if self._per_node else repr(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self.steps) if self._per_node else self.steps[0]})"


class UntilStationary(Rule):
    """Local GD while ‖∇f_i‖² > `grad_tol`: the paper's simulation of T_i = ∞.

    A node that starts a round at or below the tolerance takes no step.  `max_steps` bounds
    the steps of one round; a node that runs into it is reported as not having met the
    tolerance (`Trace.met`).  When no node takes a step, x_n can never change again: the
    run ends there with the reason "frozen".
    Raises `ValueError` for a tolerance that is not positive and finite, and what
    `FixedSteps` raises for `max_steps`.
    """

    constant = True

    def __init__(self, grad_tol: float, max_steps: int = 1_000_000) -> None:
        if not (math.isfinite(grad_tol) and grad_tol > 0):
            raise ValueError(f"grad_tol={grad_tol} must be positive and finite")
        self.grad_tol = float(grad_tol)
        self.max_steps = check_step_count(max_steps, "max_steps")

    def plan(self, info: RoundInfo, num_nodes: int) -> Plan:
        """Return the same tolerance and bound for every node and round."""
        return Plan(np.full(num_nodes, self.max_steps, np.int64), self.grad_tol)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(grad_tol={self.grad_tol:g}, max_steps={self.max_steps})"


class ToOptimum(Rule):
    """T_i = ∞ exactly: every node moves to P_{S_i}(x_n), by the problem's own projection.

    For a convex f_i with affine S_i this is the limit of local GD (Lemma 5); for a squared
    distance it is the limit for every S_i.  `run` raises `ValueError` for a problem that
    has no projection.
    """

    constant = True

    def plan(self, info: RoundInfo, num_nodes: int) -> Plan:
        """Ask for the exact optimum."""
        return Plan(None)

    def __repr__(self) -> str:
        return "ToOptimum()"


def as_rule(local_steps: int | Sequence[int] | Rule) -> Rule:
    """Return `local_steps` as a rule: an integer or a sequence of them is `FixedSteps`."""
    return local_steps if isinstance(local_steps, Rule) else FixedSteps(local_steps)


def check_step_count(value: Any, name: str = "local_steps") -> int:
    """Return `value` as an integer ≥ 1, or say what is wrong with it."""
    if isinstance(value, float) and math.isinf(value):
        raise TypeError(f"{name}={value}: use ToOptimum() for T = ∞")
    if isinstance(value, bool | np.bool_):
        raise TypeError(f"{name}={value} must be an integer, not a truth value")
    try:
        count = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}={value!r} must be an integer") from None
    if not 1 <= count < _MOST_STEPS:
        raise ValueError(f"{name}={count} must be ≥ 1" + " and below 2⁶³" * (count > 0))
    return count
