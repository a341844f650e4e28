"""The separation constant of affine subspaces: how badly they can be told from their meet.

Assumption 3 and Lemma 6 of Zhang & Li (2019) ask for a c with d(x, S) ≤ c·(1/m) Σ d(x, S_i).
The best one is found as

    1/c = min { g(x) : x ∈ S^⊥, ‖x‖ = 1 },    g(x) = (1/m) Σ ‖Π_i x‖,

where S^⊥ is the complement of the direction space of S and Π_i projects onto that of S_i.
The problem is not convex.  A point gives a lower bound of c, and the sibling module
`separation_bound` an upper bound; both are reported.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, combinations, islice
from math import comb, inf, isfinite, sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from localgd.geometry.separation_bound import branch_and_bound
from localgd.geometry.sets import RANK_TOL, AffineSubspace, intersection, sigma_min

Array = NDArray[np.float64]

#: How many flats ⋂_{i∈Z} S_i the search visits at most, small index sets Z first.
_MAX_FLATS = 1024
#: Random starts of the search in the whole space and in every smaller flat.
_STARTS, _STARTS_IN_FLAT = 12, 3
_MAX_DESCENT_STEPS = 200


@dataclass(frozen=True, eq=False)
class Separation:
    """c ≤ best constant ≤ upper: a value that `point` attains, and a proven bound.

    The best constant is the least one for which d(x, S) ≤ c·(1/m) Σ d(x, S_i) for all x.
    """

    c: float  # 1/g(point)
    point: Tensor  # (d,) unit vector u ⊥ S: at x = p + su with p ∈ S the bound is an equality
    upper: float  # proven: d(x, S) ≤ upper·(1/m) Σ d(x, S_i) for all x

    @property
    def gap(self) -> float:
        """upper/c − 1: how far from best c can be, relative to c."""
        return self.upper / self.c - 1.0


def separation_constant(
    sets: Sequence[AffineSubspace], *, rtol: float = 1e-6, max_boxes: int = 4000
) -> Separation:
    """Best c in d(x, S) ≤ (c/m) Σ d(x, S_i) over all x (Assumption 3, Lemma 6).

    `sets`: S_1, …, S_m, affine subspaces of the same R^d with a point in common.  Exact in
    closed form for m = 2 (c = 2/sin θ, θ the smallest non-zero angle between S_1 and S_2 or
    π/2, and c = 1 where they are equal), where S has codimension 1, and for hyperplanes with
    few vertices; otherwise the best of many local searches, with an upper bound by branch and
    bound on about `max_boxes` boxes, a fraction of a millisecond each.  It stops once `upper`
    ≤ c(1 + rtol); where the boxes do not suffice for that, `upper` says what was proved.  Up
    to m = 5 they nearly always do.

    `upper` allows for the rounding of eigenvalues, so that for very small angles and m ≥ 3 an
    `rtol` near 1e-9 is out of reach.  Angles under `geometry.RANK_TOL` count as zero.

    Raises `ValueError` for no sets, sets of different dimension, sets that do not meet, for
    the whole space m times (every c will do), and for `rtol` or `max_boxes` out of range.
    """
    if not (isfinite(rtol) and 0 < rtol < 1):
        raise ValueError(f"rtol={rtol} must lie between 0 and 1")
    if isinstance(max_boxes, bool) or not isinstance(max_boxes, int) or max_boxes < 0:
        raise ValueError(f"max_boxes={max_boxes!r} must be an integer ≥ 0")
    basis = _common_complement(sets)
    maps = [s.normals.cpu().double().numpy() @ basis.T for s in sets]  # isometric images of Π_i
    x, low = _least_mean_length(maps, sets, rtol, max_boxes)
    value = _value(maps, x)
    return Separation(
        c=1.0 / value,
        point=torch.as_tensor(x @ basis, dtype=sets[0].point.dtype),
        upper=1.0 / min(value, low),
    )


def _common_complement(sets: Sequence[AffineSubspace]) -> Array:
    """Orthonormal rows (k, d) that span S^⊥, or `ValueError` where there is nothing to span."""
    if len(sets) == 0:
        raise ValueError("sets is empty: expected one affine subspace at least")
    dim = sets[0].dim
    for node, subspace in enumerate(sets):
        if subspace.dim != dim:
            raise ValueError(f"the set of node {node} is in R^{subspace.dim}, expected R^{dim}")
    common = intersection(sets)
    if common is None:
        raise ValueError("the sets have no point in common: S is empty, and d(x, S) has no meaning")
    if common.normals.shape[0] == 0:
        raise ValueError("every set is the whole space: d(x, S) = 0, and every c will do")
    basis: Array = common.normals.cpu().double().numpy()
    return basis


def _least_mean_length(
    maps: list[Array], sets: Sequence[AffineSubspace], rtol: float, max_boxes: int
) -> tuple[Array, float]:
    """Return x and a lower bound of min g, for g(x) = (1/m) Σ ‖P_i x‖ on the unit sphere.

    The bound is ∞ where x is known to be a minimiser.
    """
    m, k = len(maps), maps[0].shape[1]
    if k == 1:
        return np.ones(1), inf
    if m == 2:
        return _closest_direction(*maps), inf
    active = [p for p in maps if len(p)]
    if all(len(p) in (1, k) for p in active):
        normals = [p for p in active if len(p) == 1]
        if comb(len(normals), k - 1) <= max(max_boxes, 1):
            return min(_vertices(normals, k), key=lambda v: _value(active, v)), inf
    share = len(active) / m
    sigma = sigma_min([s for s in sets if len(s.normals)])
    low = max(sigma, sqrt(sigma / len(active)))
    x = _search(active)
    value = _value(active, x)
    if low < value / (1 + rtol):
        grams = np.stack([p.T @ p for p in active])
        bound = branch_and_bound(grams, value, rtol, max_boxes)
        low = max(low, bound.low)
        if bound.witness is not None:
            x = bound.witness
    return x, low * share


def _value(maps: list[Array], x: Array) -> float:
    """g(x) = (1/m) Σ ‖P_i x‖."""
    return sum(float(np.linalg.norm(p @ x)) for p in maps) / len(maps)


def _closest_direction(first: Array, second: Array) -> Array:
    """Minimiser of g for m = 2: where one set's direction is nearest to the other set.

    S^⊥ is an orthogonal sum of planes and lines that both projectors leave invariant, and g
    is concave in the squared lengths of the parts, so one plane or line holds a minimiser.
    In a plane that is one of the two lines there, since g is concave between them.
    """
    inside, other = _kernel(first), second
    if inside.shape[1] == 0:
        inside, other = _kernel(second), first
    nearest: Array = np.eye(first.shape[1])[0]  # of S_1 = S_2 = S, where g = 1
    if inside.shape[1]:
        nearest = inside @ np.linalg.svd(other @ inside)[2][-1]
    return nearest


def _vertices(normals: list[Array], k: int) -> Iterator[Array]:
    """Directions on which k − 1 of the hyperplanes meet; for hyperplanes they hold a minimiser.

    With the signs of the ⟨n_i, x⟩ fixed, g is linear on a cone; x = Σ t_j r_j over its
    extreme unit rays has Σ t_j ≥ 1 by the triangle inequality, so g(x) ≥ min g(r_j).
    """
    flat = _kernel(np.vstack([np.zeros((0, k)), *normals]))
    if flat.shape[1]:  # no hyperplane tells these directions from S, the points in S_i do
        yield flat[:, 0]
        return
    for chosen in combinations(normals, k - 1):
        line = _kernel(np.vstack(chosen))
        if line.shape[1] == 1:
            yield line[:, 0]


def _kernel(rows: Array) -> Array:
    """Orthonormal columns that span {x : rows·x = 0}."""
    if len(rows) == 0:
        return np.eye(rows.shape[1])
    _, values, vectors = np.linalg.svd(rows, full_matrices=True)
    rank = int((values > RANK_TOL * values[0]).sum())
    kernel: Array = vectors[rank:].T
    return kernel


def _search(maps: list[Array]) -> Array:
    """Best local minimiser of g from many starts, in S^⊥ and in every flat S^⊥ ∩ ⋂_{i∈Z} S_i.

    g has a kink where a ‖P_i x‖ vanishes, and its minimisers like kinks; within the flat the
    vanished terms are gone and g is smooth again.
    """
    m, k = len(maps), maps[0].shape[1]
    stack = np.zeros((m, max(len(p) for p in maps), k))
    for i, p in enumerate(maps):
        stack[i, : len(p)] = p
    rng = np.random.default_rng(0)
    found: list[Array] = []
    seen: set[tuple[int, ...]] = set()
    families = chain.from_iterable(combinations(range(m), size) for size in range(m))
    for family in islice(families, _MAX_FLATS):
        flat = _kernel(np.vstack([np.zeros((0, k)), *(maps[i] for i in family)]))
        inside = stack @ flat
        lengths = np.linalg.norm(inside, axis=(1, 2)) if flat.shape[1] else np.zeros(m)
        present = tuple(np.flatnonzero(lengths > RANK_TOL).tolist())
        if present and present not in seen:
            seen.add(present)
            starts = _starts(inside, rng, _STARTS_IN_FLAT if family else _STARTS)
            found.append(_descend(inside[list(present)], starts) @ flat.T)
    points = np.concatenate(found)
    best: Array = points[_mean_length(stack, points).argmin()]
    return best


def _starts(stack: Array, rng: np.random.Generator, count: int) -> Array:
    """Return the lowest eigenvectors of Q and `count` random directions, (B, k)."""
    k = stack.shape[2]
    if k == 1:
        return np.ones((1, 1))
    rows = stack.reshape(-1, k)
    eigenvectors = np.linalg.eigh(rows.T @ rows)[1].T
    return np.concatenate([eigenvectors[:4], rng.standard_normal((count, k))])


def _descend(stack: Array, x: Array) -> Array:
    """Descend from the rows of x, (B, k), to local minimisers of g.

    ‖a‖ = min_w (‖a‖²/w + w)/2, so g is the least of a family of quadratics: alternate
    w_i = ‖P_i x‖ with the bottom eigenvector of Σ P_iᵀP_i/w_i.  Both are global minimisations
    and g never rises.
    """
    grams = stack.mT @ stack
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    value = _mean_length(stack, x)
    active = np.arange(len(x))
    for _ in range(_MAX_DESCENT_STEPS):
        weights = np.maximum(_lengths(stack, x[active]), 1e-9)
        moved = np.linalg.eigh(np.tensordot(1 / weights, grams, 1))[1][:, :, 0]
        lower = _mean_length(stack, moved)
        better = lower < value[active] * (1 - 1e-14)
        active = active[better]
        if len(active) == 0:
            break
        x[active], value[active] = moved[better], lower[better]
    return x


def _lengths(stack: Array, x: Array) -> Array:
    """‖P_i x‖, (…, m), for padded maps (m, r, k) and x of shape (…, k)."""
    lengths: Array = np.linalg.norm(np.einsum("irk,...k->...ir", stack, x), axis=-1)
    return lengths


def _mean_length(stack: Array, x: Array) -> Array:
    """g(x) = (1/m) Σ ‖P_i x‖, shape (…)."""
    mean: Array = _lengths(stack, x).mean(-1)
    return mean
