"""A lower bound of min (1/m) Σ √(xᵀG_i x) over unit x that can be driven to the minimum.

F(X) = (1/m) Σ √⟨G_i, X⟩ is concave on {X ⪰ 0, tr X = 1}, whose extreme points are the xxᵀ,
so the minimum over all X is the minimum over unit vectors.  With t_i = ⟨G_i, X⟩ confined to
[l_i, u_i] the chord (√(l_i u_i) + t_i)/(√l_i + √u_i) lies under √t_i, and the least value
of a sum of chords is an eigenvalue.  Branch and bound splits the box of the t, whose
dimension m does not depend on that of x, best bound first, a batch of boxes at a time.
"""

from __future__ import annotations

import heapq
from itertools import count
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_BATCH = 32
_MULTIPLIER_STEPS = 25
#: An eigenvalue is trusted to this many units of rounding of the largest one.
_EIGENVALUE_ULPS = 8.0


class LowerBound(NamedTuple):
    """The outcome of branch and bound: what it proved, and what it came across."""

    low: float  # ≤ min over unit x
    witness: Array | None  # (k,) unit x with a smaller value than was known, if one was met


class _Box(NamedTuple):
    """lower ≤ t ≤ upper with a bound that holds there."""

    bound: float
    order: int  # decides between equal bounds
    lower: Array  # (m,)
    upper: Array  # (m,)
    t: Array  # (m,) where the bound was found, and so where to split


def branch_and_bound(grams: Array, value: float, rtol: float, max_boxes: int) -> LowerBound:
    """Prove min ≥ value/(1 + rtol) over unit x, or as much as about `max_boxes` boxes allow.

    `grams`: G_i ⪰ 0, shape (m, k, k), none zero; `value`: (1/m) Σ √(xᵀG_i x) at some unit x.
    """
    edges = np.linalg.eigvalsh(grams)
    lower: Array = np.where(edges[:, 0] > 1e-14, edges[:, 0], 0.0)
    upper: Array = edges[:, -1].astype(np.float64)
    search, order, boxes = _Search(grams, value, rtol), count(), 0
    heap: list[_Box] = []
    children, floor = [(lower, upper)], -np.inf
    while children:
        bounds, points = search.bounds(*map(np.stack, zip(*children, strict=True)))
        boxes += len(children)
        for (low, up), bound, t in zip(children, bounds, points, strict=True):
            if bound < search.cut:
                heapq.heappush(heap, _Box(max(float(bound), floor), next(order), low, up, t))
        if not heap or heap[0].bound >= search.cut or boxes >= max_boxes:
            break
        floor = heap[0].bound  # it bounds every box that is still open
        batch = [heapq.heappop(heap) for _ in range(min(_BATCH, len(heap)))]
        children = [half for box in batch if box.bound < search.cut for half in _halves(box)]
    return LowerBound(min(heap[0].bound, search.cut) if heap else search.cut, search.witness)


def _halves(box: _Box) -> list[tuple[Array, Array]]:
    """Cut the box where its chords are worst, at the point t if that is well inside."""
    low, up = np.sqrt(box.lower), np.sqrt(box.upper)
    roots = np.sqrt(np.clip(box.t, 0.0, None))
    inside = (roots > low) & (roots < up)
    at_t = roots - (box.t + low * up) / (low + up)
    worst = (up - low) ** 2 / (low + up) / 4
    j = int(np.argmax(np.where(inside, at_t, worst)))
    margin = 0.1 * (up[j] - low[j])
    middle = (low[j] + up[j]) / 2
    if low[j] + margin < roots[j] < up[j] - margin:
        middle = roots[j]
    elif low[j] == 0 and roots[j] <= margin:
        middle = margin
    left_upper, right_lower = box.upper.copy(), box.lower.copy()
    left_upper[j] = right_lower[j] = middle**2
    return [(box.lower, left_upper), (right_lower, box.upper)]


class _Search:
    """The bounds on boxes, and the best unit vector met while computing them."""

    def __init__(self, grams: Array, value: float, rtol: float) -> None:
        self.grams, self.value, self.rtol = grams, value, rtol
        self.witness: Array | None = None

    @property
    def cut(self) -> float:
        """The bound that suffices."""
        return self.value / (1 + self.rtol)

    def bounds(self, lower: Array, upper: Array) -> tuple[Array, Array]:
        """Least sum of chords over {X : lower ≤ t ≤ upper}, from below, for (B, m) boxes.

        The Lagrange dual with multipliers for the constraints on t: whatever they are the
        bound is valid, so a few Polyak steps towards the cut will do.  Returned with it, (B,
        m): the t of the last step, near where the least sum is.
        """
        m = len(self.grams)
        slopes = 1.0 / (np.sqrt(lower) + np.sqrt(upper)) / m
        constant = (np.sqrt(lower * upper) * slopes).sum(1)
        multipliers = np.zeros_like(lower)
        best, points = np.full(len(lower), -np.inf), upper.copy()
        active = np.arange(len(lower))  # boxes whose bound may still improve
        for _ in range(_MULTIPLIER_STEPS):
            l, u, held = lower[active], upper[active], multipliers[active]  # noqa: E741
            values, vectors = np.linalg.eigh(np.tensordot(slopes[active] + held, self.grams, 1))
            rounding = _EIGENVALUE_ULPS * np.finfo(float).eps * np.abs(values).max(1)
            price = (np.maximum(held, 0) * u + np.minimum(held, 0) * l).sum(1)
            dual = values[:, 0] - rounding - price + constant[active]
            best[active] = np.maximum(best[active], dual)
            t = self._squared_lengths(vectors[:, :, 0])
            points[active] = t
            beyond = np.where(t > u, t - u, np.where(t < l, t - l, 0.0))
            ascent = np.where(held > 0, t - u, np.where(held < 0, t - l, beyond))
            length = (ascent**2).sum(1)
            go_on = (best[active] < self.cut) & (length > 1e-30)
            step = (self.cut - dual[go_on]) / length[go_on]
            active = active[go_on]
            if len(active) == 0:
                break
            multipliers[active] += step[:, None] * ascent[go_on]
        return best, points

    def _squared_lengths(self, x: Array) -> Array:
        """t_i = xᵀG_i x, (B, m); a unit vector that beats the known value is kept."""
        t: Array = np.einsum("ijk,bj,bk->bi", self.grams, x, x)
        values = np.sqrt(np.clip(t, 0.0, None)).mean(1)
        b = int(values.argmin())
        if values[b] < self.value * (1 - 1e-12):
            self.value, self.witness = float(values[b]), x[b]
        return t
