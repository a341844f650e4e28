"""Servers that combine the mean moves of several rounds: Anderson's mixing, conjugate gradients.

Where a round is affine, both move within the span of the mean moves so far, as the best
polynomial in the round map does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from localgd.algorithm.rules import FixedSteps, Rule, ToOptimum
from localgd.algorithm.servers import Received, Server, check_flag
from localgd.problem import Problem

#: Anderson's columns are used as far as their triangular factor is conditioned better than this
#: share of what the floating-point type resolves.
_RESOLVED = 1e-2


class Anderson(Server):
    """x_{n+1} = x_n + Δ̄_n − Σ_j γ_j(δx_j + δΔ̄_j) with the γ that minimises ‖Δ̄_n − Σ_j γ_jδΔ̄_j‖.

    Anderson's acceleration of the fixed-point iteration x ↦ x + Δ̄(x), type II, without mixing
    (Walker & Ni 2011): δx_j and δΔ̄_j are the differences of consecutive iterates and of their
    mean moves in the last `memory` rounds.  The least-squares problem is solved by QR, the newest
    difference first; the oldest are left out as far as they depend on the others to rounding.
    `safeguard`: a step after which the loss is higher is undone, the average taken instead, and
    the memory dropped; that takes one more evaluation of the losses in that round.
    Raises `ValueError` for a `memory` that is not an integer ≥ 1, and `TypeError` for a
    `safeguard` that is not a truth value.
    """

    def __init__(self, memory: int = 10, safeguard: bool = True) -> None:
        whole = isinstance(memory, int | np.integer) and not isinstance(memory, bool)
        if not whole or memory < 1:
            raise ValueError(f"memory={memory!r} must be an integer ≥ 1")
        self.memory, self.safeguard = int(memory), check_flag(safeguard, "safeguard")
        self._last: Tensor | None = None  # Δ̄_{n−1} and x_{n−1} + Δ̄_{n−1}, (2, p)
        self._differences: list[Tensor] = []  # of what `_last` has held, the newest first

    def step(self, received: Received) -> Tensor:
        """Return x_{n+1}."""
        from scipy.linalg.blas import dtrsv

        before, self._last = self._last, torch.stack([received.move, received.mean])
        if before is None:
            return received.mean
        self._differences = [self._last - before, *self._differences[: self.memory - 1]]
        moves, ends = torch.stack([*self._differences, self._last]).unbind(1)  # each (k + 1, p)
        # With the QR factorisation of [δΔ̄_1, …, δΔ̄_k, Δ̄_n], its last column is QᵀΔ̄_n.
        R = torch.geqrf(moves.mT).a[: len(moves) - 1].double().cpu().numpy()
        used = _resolved(R.diagonal().tolist(), torch.finfo(moves.dtype).eps / _RESOLVED)
        if not used:  # nothing is known of the map beyond this move
            return received.mean
        weights = np.zeros(len(moves))
        weights[:used], weights[-1] = -dtrsv(R[:used, :used], R[:used, -1]), 1.0
        return torch.mv(ends.mT, torch.as_tensor(weights).to(ends))

    def undo(self) -> None:
        """Drop the memory."""
        self._last, self._differences = None, []

    def state_dict(self) -> Mapping[str, Any]:
        """Return the last move and mean, and their differences in memory."""
        return {"last": self._last, "differences": list(self._differences)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self._last, self._differences = state["last"], list(state["differences"])

    def __repr__(self) -> str:
        return f"Anderson(memory={self.memory}{'' if self.safeguard else ', safeguard=False'})"


def _resolved(diagonal: list[float], share: float) -> int:
    """Return how many columns of a QR factorisation with this diagonal are independent.

    One is not where its entry is below `share` of the largest before it.
    """
    largest = 0.0
    for column, entry in enumerate(map(abs, diagonal)):
        if not (math.isfinite(entry) and entry > 0 and entry >= share * largest):
            return column
        largest = max(largest, entry)
    return len(diagonal)


class ConjugateGradient(Server):
    """Conjugate gradients for Ax = b, where a round is the affine map x ↦ x + b − Ax.

    Δ̄ = b − Ax is the residual.  A round at z_n = u_n + s_np_n, with u_n the iterate of conjugate
    gradients (Hestenes & Stiefel 1952) and p_n its direction, tells Ap_n = (r_n − Δ̄(z_n))/s_n;
    with it come u_{n+1}, its residual and p_{n+1}, so that every round is one step of the method.
    The length of the direction is known one round later, so that the nodes start from z_n with
    s_n the length before; rows of the trace are about z_n.
    Residuals are orthogonal in exact arithmetic.  Rounding ends that after a dozen rounds and
    costs rounds, a number that differs between processors; so r_{n+1} is made orthogonal to all
    residuals before it, n vectors that the server keeps.
    A is symmetric and positive semidefinite: A = (1/m) Σ (I − (I − η_iH_i)^{T_i}).
    `check` raises `ValueError` where the round map is not affine.
    """

    def __init__(self) -> None:
        self._state: tuple[Tensor, Tensor, Tensor, float] | None = None  # u_n, r_n, p_n, s_n
        self._residuals: list[Tensor] = []  # r_0, …, r_n, of length 1

    def check(self, problem: Problem, rule: Rule) -> None:
        """Raise `ValueError` unless the f_i are quadratic and T_i the same in every round."""
        if problem.hessian_spectra() is None:
            raise ValueError(
                f"ConjugateGradient needs a round map that is affine, and {type(problem).__name__} "
                "has no constant Hessians: take Anderson()"
            )
        if type(rule) not in (FixedSteps, ToOptimum):
            raise ValueError(
                f"ConjugateGradient needs a round map that is affine, and with {rule!r} the steps "
                "of a round depend on x: take fixed steps, ToOptimum(), or Anderson()"
            )

    def step(self, received: Received) -> Tensor:
        """Return z_{n+1}."""
        if self._state is None:
            move = received.move
            self._state = received.x, move, move, 1.0
            self._residuals = _kept([], move)
            return received.mean
        u, r, p, s = self._state
        image = (r - received.move) / s  # Ap_n
        curvature, size = float(p.dot(image)), float(r.dot(r))
        if not curvature > 0:  # nothing is left of the residual but rounding: begin anew
            self._state = None
            return self.step(received)
        alpha = size / curvature
        u, r = u + alpha * p, r - alpha * image
        before = torch.stack(self._residuals)
        r = r - (before @ r) @ before
        self._residuals = _kept(self._residuals, r)
        p = r + float(r.dot(r)) / size * p
        self._state = u, r, p, alpha
        return u + alpha * p

    def state_dict(self) -> Mapping[str, Any]:
        """Return u_n, r_n, p_n and s_n, and the residuals so far, of length 1."""
        return {
            "state": None if self._state is None else list(self._state),
            "residuals": self._residuals,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        u_r_p_s = state["state"]
        self._state = None if u_r_p_s is None else (u_r_p_s[0], *u_r_p_s[1:])
        self._residuals = list(state["residuals"])

    def __repr__(self) -> str:
        return "ConjugateGradient()"


def _kept(residuals: list[Tensor], new: Tensor) -> list[Tensor]:
    """Return the residuals with a new one, unless nothing is left of it."""
    size = new.norm()
    return [*residuals, new / size] if float(size) > 0 else residuals
