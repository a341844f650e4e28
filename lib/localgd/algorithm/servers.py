"""The server step: x_{n+1} from x_n and the nodes' mean move Δ̄ = (1/m) Σ (x^{i,T_i} − x_n).

`Average` takes x_n + Δ̄, which is Algorithm 1.  The others take the same message, or one number
a node more, and go another way from x_n; where Δ̄ = 0 they stay, so that all have the fixed
points of Algorithm 1.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor

from localgd.algorithm.rules import Rule
from localgd.fingerprint import describe
from localgd.problem import Problem


class Received(NamedTuple):
    """The input of a server step; p entries a vector, the parameters without buffers."""

    x: Tensor  # (p,) x_n
    mean: Tensor  # (p,) (1/m) Σ x^{i,T_i}
    mean_square_move: Tensor | None  # () (1/m) Σ ‖x^{i,T_i} − x_n‖², where the server asks for it

    @property
    def move(self) -> Tensor:
        """Δ̄ = (1/m) Σ x^{i,T_i} − x_n, shape (p,)."""
        return self.mean - self.x


class Server(ABC):
    """x_{n+1} from a round's message; see `step`.

    `run` works on a copy, so that one object serves any number of runs.  A server whose step
    depends on rounds before the last keeps that in its state: it overrides `state_dict` and
    `load_state_dict`.  Tensors are never changed in place once they are part of a state.
    """

    #: Whether the nodes' mean square move is sent along: one number a node.
    needs_square_move = False
    #: Whether a step after which f(x_{n+1}) > f(x_n) is undone, and the average taken instead.
    safeguard = False

    @property
    def linear(self) -> bool:
        """Return whether x_{n+1} is a combination of x_n and the means, with weights known before.

        The worst case of such a server can be computed, see `theory.worst_case`.
        """
        return False

    @abstractmethod
    def step(self, received: Received) -> Tensor:
        """Return x_{n+1}, shape (p,)."""

    def undo(self) -> None:
        """Forget what led to the last step, which raised the loss and was undone."""
        return

    def shown(self, x: Tensor) -> Tensor:
        """Return the model that the run hands out when the nodes start from x, shape (p,).

        It is x itself unless the method ends with another point; rows of the trace, `stop` and
        `Trace.x` are about it.
        """
        return x

    def check(self, problem: Problem, rule: Rule) -> None:
        """Raise `ValueError` where the server does not fit the problem or the rule."""
        return

    def state_dict(self) -> Mapping[str, Any]:
        """Return what the coming steps depend on: numbers, texts, lists, dictionaries, tensors."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state_dict` returned."""
        if state:
            raise NotImplementedError(f"{type(self).__qualname__} has a state_dict and cannot load")

    def __repr__(self) -> str:
        return describe(self)


class Average(Server):
    """x_{n+1} = (1/m) Σ x^{i,T_i} = x_n + Δ̄: the average of Algorithm 1 of Zhang & Li (2019)."""

    linear = True

    def step(self, received: Received) -> Tensor:
        """Return the mean."""
        return received.mean

    def __repr__(self) -> str:
        return "Average()"


class Relaxed(Server):
    """x_{n+1} = x_n + ωΔ̄, with ω > 1 beyond the average and ω < 1 short of it.

    Where a round is affine, x ↦ x + b − Ax with the eigenvalues of A in [λ, Λ] on its range,
    it converges for 0 < ω < 2/Λ, and fastest for ω = 2/(λ + Λ), at the rate (κ − 1)/(κ + 1) with
    κ = Λ/λ.  `safeguard`: undo steps that raise the loss.
    Raises `ValueError` for an ω that is not positive and finite.
    """

    def __init__(self, omega: float, safeguard: bool = False) -> None:
        if not (math.isfinite(omega) and omega > 0):
            raise ValueError(f"omega={omega} must be positive and finite")
        self.omega, self.safeguard = float(omega), check_flag(safeguard, "safeguard")

    @property
    def linear(self) -> bool:
        """Return whether no step is undone."""
        return not self.safeguard

    def step(self, received: Received) -> Tensor:
        """Return x_n + ωΔ̄."""
        return received.x + self.omega * received.move

    def __repr__(self) -> str:
        return f"Relaxed(omega={self.omega:g}{', safeguard=True' if self.safeguard else ''})"


Kind = Literal["pierra", "fedexp"]


class Extrapolated(Server):
    """x_{n+1} = x_n + ω_nΔ̄ with an ω_n from the ratio q_n = (1/m) Σ ‖Δ_i‖² / ‖Δ̄‖² ≥ 1.

    `kind` "pierra": ω_n = q_n, the extrapolated parallel projections of Pierra (1984); for
    T_i = ∞ it never goes past the point that is nearest to a common minimiser.
    "fedexp": ω_n = max(1, q_n/2), and the run hands out the average of the last two iterates
    (FedExP of Jhunjhunwala, Wang & Joshi 2023, with ε = 0).
    `safeguard`: undo steps that raise the loss.
    Needs the nodes' mean square move.  Raises `ValueError` for another kind.
    """

    needs_square_move = True

    def __init__(self, kind: Kind = "pierra", safeguard: bool = False) -> None:
        if kind not in get_args(Kind):
            raise ValueError(f"kind={kind!r} must be one of {', '.join(get_args(Kind))}")
        self.kind, self.safeguard = kind, check_flag(safeguard, "safeguard")
        self._before: Tensor | None = None  # x_{n−1}

    def step(self, received: Received) -> Tensor:
        """Return x_n + ω_nΔ̄."""
        assert received.mean_square_move is not None
        move = received.move
        ratio = received.mean_square_move / move.dot(move)
        omega = ratio if self.kind == "pierra" else (ratio / 2).clamp(min=1)
        self._before = received.x
        # Where Δ̄ = 0, or underflows, there is no direction to go on in.
        return torch.where(torch.isfinite(omega), received.x + omega * move, received.mean)

    def shown(self, x: Tensor) -> Tensor:
        """Return x_n, or for "fedexp" (x_n + x_{n−1})/2."""
        if self.kind == "pierra" or self._before is None:
            return x
        return (x + self._before) / 2

    def state_dict(self) -> Mapping[str, Any]:
        """Return the iterate before."""
        return {"before": self._before}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self._before = state["before"]

    def __repr__(self) -> str:
        return f"Extrapolated({self.kind!r}{', safeguard=True' if self.safeguard else ''})"


class Nesterov(Server):
    """x_{n+1} = y_{n+1} + β_n(y_{n+1} − y_n) with y_{n+1} = x_n + Δ̄: the average, with momentum.

    Where a round is x ↦ x + b − Ax with a symmetric A whose eigenvalues on its range are in
    [λ, 1], this is Nesterov's method for ½⟨x, Ax⟩ − ⟨b, x⟩ with step 1.  `condition` κ = 1/λ:
    β = (√κ − 1)/(√κ + 1).  `condition` None: not known, β_n = (t_n − 1)/t_{n+1} with t_0 = 1 and
    t_{n+1} = (1 + √(1 + 4t_n²))/2 (Beck & Teboulle 2009, FISTA), and `restart` begins the momentum
    anew where it points against the mean move, ⟨Δ̄, y_{n+1} − y_n⟩ < 0 (the gradient scheme of
    O'Donoghue & Candès 2015), by which it finds the pace of the unknown κ.
    The nodes start from x_n, and rows of the trace are about it.
    Raises `ValueError` for a condition below 1 or not finite, `TypeError` for a `restart` that is
    not a truth value.
    """

    def __init__(self, condition: float | None = None, restart: bool = True) -> None:
        if condition is not None and not (math.isfinite(condition) and condition >= 1):
            raise ValueError(f"condition={condition} must be finite and ≥ 1, or None")
        self.condition = None if condition is None else float(condition)
        self.restart = check_flag(restart, "restart")
        self._mean: Tensor | None = None  # y_n
        self._t = 1.0

    @property
    def linear(self) -> bool:
        """Return whether the momentum does not depend on the moves."""
        return self.condition is not None or not self.restart

    def step(self, received: Received) -> Tensor:
        """Return y_{n+1} + β_n(y_{n+1} − y_n)."""
        before, self._mean = self._mean, received.mean
        direction = received.mean - (received.x if before is None else before)
        if self.condition is not None:
            root = math.sqrt(self.condition)
            beta = 0.0 if before is None else (root - 1) / (root + 1)
        else:
            if self.restart and before is not None and float(direction.dot(received.move)) < 0:
                self._t = 1.0
            later = (1 + math.sqrt(1 + 4 * self._t**2)) / 2
            beta, self._t = (self._t - 1) / later, later
        return received.mean + beta * direction if beta else received.mean

    def state_dict(self) -> Mapping[str, Any]:
        """Return y_n and t_n."""
        return {"mean": self._mean, "t": self._t}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self._mean, self._t = state["mean"], state["t"]

    def __repr__(self) -> str:
        if self.condition is not None:
            return f"Nesterov(condition={self.condition:g})"
        return f"Nesterov({'' if self.restart else 'restart=False'})"


def check_flag(value: Any, name: str) -> bool:
    """Return `value`, or raise `TypeError` where it is not a truth value."""
    if not isinstance(value, bool):
        raise TypeError(f"{name}={value!r} must be True or False")
    return value
