"""An affine layer with softmax cross-entropy on several nodes, in NumPy, and its margins.

Weights are W (K, p), samples rows u_j (n, p), labels y_j in 0 … K − 1.  The margins of W are
⟨w_{y_j} − w_k, u_j⟩ for all j and all k ≠ y_j.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import linprog

from reference import Vector

Labels = NDArray[np.integer[Any]]


class Share(NamedTuple):
    """The samples of one node."""

    U: Vector  # (n, p)
    labels: Labels  # (n,)


def margins(W: Vector, U: Vector, labels: Labels) -> Vector:
    """All margins, (n, K − 1); exact where W and U are integers."""
    scores = U @ W.T
    own = scores[np.arange(len(labels)), labels]
    rivals = np.arange(len(W)) != np.asarray(labels)[:, None]
    gaps = own[:, None] - scores
    return gaps[rivals].reshape(len(labels), -1)


def loss(W: Vector, share: Share) -> float:
    """f_i(W) = (1/n) Σ_j log(1 + Σ_k exp(−margin_jk))."""
    return float(np.logaddexp.reduce(_exponents(W, share), axis=1).mean())


def gradient(W: Vector, share: Share) -> Vector:
    """∇f_i(W), (K, p)."""
    scores = share.U @ W.T
    softmax = np.exp(scores - np.logaddexp.reduce(scores, axis=1, keepdims=True))
    softmax[np.arange(len(share.labels)), share.labels] -= 1
    return softmax.T @ share.U / len(share.labels)


def smoothness(share: Share) -> float:
    """L_i = ½ λ_max of the mean of u uᵀ."""
    return float(np.linalg.norm(share.U, 2) ** 2) / (2 * len(share.labels))


class Round(NamedTuple):
    """What one round of Algorithm 1 from x_n does."""

    x: Vector  # x_{n+1}
    mean_local: float  # the mean of f_i(x_n^{i,t}) over i and t < T
    loss: float  # f(x_n)


def one_round(W: Vector, shares: Sequence[Share], eta: float, T: int, decay: float = 0.0) -> Round:
    """T local steps on f_i + ½·decay·‖x‖² at every node, then the average."""

    def value(V: Vector, share: Share) -> float:
        return loss(V, share) + decay / 2 * float((V**2).sum())

    ends, total = [], 0.0
    for share in shares:
        V = W
        for _ in range(T):
            total += value(V, share)
            V = V - eta * (gradient(V, share) + decay * V)
        ends.append(V)
    here = float(np.mean([value(W, share) for share in shares]))
    return Round(np.mean(ends, axis=0), total / (T * len(shares)), here)


class Margin(NamedTuple):
    """The largest least margin γ ≤ 1 of |W| ≤ 1, and what proves it."""

    gamma: float
    W: Vector
    bound: float  # no |W| ≤ 1 has a larger least margin, by weak duality from the multipliers


def best_margin(share: Share, classes: int) -> Margin:
    """Solve the linear program; γ > 0 if and only if the samples are separable."""
    rows = margin_rows(share, classes)
    count, dim = rows.shape
    program = linprog(
        np.r_[np.zeros(dim), -1.0],
        A_ub=sparse.hstack([-rows, np.ones((count, 1))], "csr"),
        b_ub=np.zeros(count),
        bounds=[(-1, 1)] * dim + [(None, 1)],
        method="highs-ipm",
    )
    weights = np.maximum(-program.ineqlin.marginals, 0)
    bound = 1.0
    if weights.sum() > 0:
        bound = min(1.0, float(np.abs(rows.T @ (weights / weights.sum())).sum()))
    return Margin(-program.fun, program.x[:-1].reshape(classes, -1), bound)


def margin_rows(share: Share, classes: int) -> sparse.csr_array:
    """The margins as linear functions of W: one row (e_y − e_k) ⊗ u_j for every j and k ≠ y."""
    sample, rival = np.nonzero(np.arange(classes) != np.asarray(share.labels)[:, None])
    sign = np.zeros((len(sample), classes))
    sign[np.arange(len(sample)), share.labels[sample]] = 1
    sign[np.arange(len(sample)), rival] = -1
    rows = sparse.csr_array(np.asarray(share.U, float)[sample])
    return sparse.hstack([sparse.diags_array(column) @ rows for column in sign.T], "csr")


def images(data: Any, pools: int = 0) -> Vector:
    """The images of a data set as integer rows (255 u_j, 255), after 2×2 max-poolings."""
    bytes_ = np.rint(255 * np.asarray(data.features, float)).astype(np.int64)[:, 0]
    for _ in range(pools):
        n, height, width = bytes_.shape
        bytes_ = bytes_.reshape(n, height // 2, 2, width // 2, 2).max((2, 4))
    flat = bytes_.reshape(len(bytes_), -1)
    return np.hstack([flat, np.full((len(flat), 1), 255)])


def _exponents(W: Vector, share: Share) -> Vector:
    gaps = margins(W, share.U, share.labels)
    return np.hstack([np.zeros((len(gaps), 1)), -gaps])
