"""What local steps are worth, from losses and gradient norms along the nodes' paths.

For convex f_i with a common minimiser x*, ⟨∇f_i(x), x − x*⟩ ≥ f_i(x) − f_i*, and a local step
takes at least 2η_i(f_i − f_i*) − η_i²‖∇f_i‖² off ‖x^{i,t} − x*‖².  `local_gains` is that.

What a round takes off ‖x_n − x*‖² is 2⟨x_n − x_{n+1}, x_n − x*⟩ − ‖x_n − x_{n+1}‖²; averaging
adds what the nodes' moves have across each other.  `round_gains` is the first term, step by step,
from the losses half-way.  For quadratic f_i it is exact: with e = x_n − x* and step t,
⟨H(I − ηH)^t e, e⟩ = ⟨∇f(x^s), x^{t−s} − x*⟩ for every s ≤ t, and with s = ⌊t/2⌋ that is
2(f(x^s) − f*) for even t and 2(f(x^s) − f*) − η‖∇f(x^s)‖² for odd t.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from localgd.algorithm.paths import LocalPaths

FloatArray = NDArray[np.float64]


def local_gains(paths: LocalPaths, optimum: ArrayLike = 0.0) -> FloatArray:
    """q_t = (1/m) Σ_i 2η_i(f_i(x^{i,t}) − f_i*) − η_i²‖∇f_i(x^{i,t})‖², shape (T,).

    A lower bound on what step t takes off (1/m) Σ_i ‖x^{i,t} − x*‖² where the f_i are convex and
    x* minimises all of them.  `optimum`: f_i*, one number or m.  Nodes that took no step t add 0.
    Raises `ValueError` for a loss below its optimum.
    """
    eta = paths.step_size[:, None]
    excess = excess_loss(paths, optimum)
    return _mean(2 * eta * excess - eta**2 * paths.grad_norm_sq)


def round_gains(paths: LocalPaths, optimum: ArrayLike | None = 0.0) -> FloatArray:
    """⟨x^{i,t} − x^{i,t+1}, x_n − x*⟩ averaged over the nodes, t = 0, 1, …; exact for quadratics.

    The losses of T steps tell it for 2T steps, shape (2T,); the gradient norms, which are all
    that is used where `optimum` is None, for 2T − 1.  The latter, η_i‖∇f_i‖² half-way, is up to
    the factor L_i a lower bound on each node's term for the quadratics, as in Lemma 1 of Zhang &
    Li 2019.  `optimum`: f_i*, one number or m.
    Raises `ValueError` for a loss below its optimum.
    """
    eta, squares = paths.step_size[:, None], paths.grad_norm_sq
    if optimum is None:
        both = np.empty((len(squares), 2 * squares.shape[1] - 1))
        both[:, ::2] = eta * squares
        both[:, 1::2] = eta * np.sqrt(squares[:, :-1] * squares[:, 1:])
        return _mean(both)
    excess = excess_loss(paths, optimum)
    both = np.empty((len(squares), 2 * squares.shape[1]))
    both[:, ::2] = 2 * eta * excess
    both[:, 1::2] = 2 * eta * excess - eta**2 * squares
    return _mean(both)


def excess_loss(paths: LocalPaths, optimum: ArrayLike) -> FloatArray:
    """f_i(x^{i,t}) − f_i*, shape (m, T).  Raises `ValueError` where it is negative."""
    least = np.broadcast_to(np.asarray(optimum, float), (len(paths.loss),))
    excess = paths.loss - least[:, None]
    rounding = 1e-12 * (np.abs(least) + np.abs(paths.loss[:, 0]))
    low = excess < -rounding[:, None]
    if low.any():
        node, step = (int(k) for k in np.argwhere(low)[0])
        raise ValueError(
            f"the loss {paths.loss[node, step]:.6g} of node {node} after {step} local steps is "
            f"below optimum={least[node]:.6g}: give the least value of f_i, or None if unknown"
        )
    return np.asarray(np.maximum(excess, 0.0))


def steps_of_least_cost(gains: FloatArray, cost_ratio: float) -> int:
    """T that maximises Σ_{t<T} gains[t] / (1 + rT): what a round is worth over what it costs.

    The least such T among 1 … len(gains); 1 where no sum is positive.
    """
    worth = np.cumsum(gains)
    best = int(np.argmax(worth / (1 + cost_ratio * np.arange(1, len(gains) + 1))))
    return best + 1 if worth[best] > 0 else 1


def _mean(values: FloatArray) -> FloatArray:
    """(1/m) Σ_i over the nodes that took the step."""
    return np.asarray(np.nan_to_num(values).mean(0))
