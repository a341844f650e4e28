"""The fewest rounds that any server step could take, from what the nodes can tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from localgd.problem import Problem, Spectrum

Replies = Literal["mean", "individual"]

#: A direction that is new by less than this share of its length is none: rounding.
_NEW = 1e-10


def round_map(problem: Problem, local_steps: float, step_size: float) -> Tensor:
    """A = (1/m) Σ (I − (I − ηH_i)^T), shape (d, d): a round is x ↦ x + b − Ax.

    For quadratic f_i with Hessians H_i; `local_steps` T ≥ 1 or `math.inf`.
    Raises `ValueError` for a problem that is not quadratic and for η or T out of range.
    """
    parts = _parts(problem, local_steps, step_size)
    columns = torch.eye(problem.dim, dtype=parts[0][1].vectors.dtype)
    return torch.stack([_apply(part, columns) for part in parts]).mean(0)


def fewest_rounds(
    problem: Problem,
    local_steps: float,
    step_size: float,
    tol: float,
    x0: ArrayLike | None = None,
    replies: Replies = "mean",
) -> int | None:
    """Return the smallest n for which some x that n rounds can reach has ‖∇f(x)‖² ≤ `tol`.

    With `replies` "mean", x ∈ x_0 + span{r, Ar, …, A^{n−1}r}, where a round is x ↦ x + b − Ax
    and r = b − Ax_0: the best polynomial in the round map from this start.  Every method whose
    iterates stay in x_0 and the span of the mean moves at them needs at least so many rounds.
    With "individual", x ∈ x_0 + W_n, W_0 = {0}, and W_{n+1} holds W_n and the moves of all nodes
    from all points of x_0 + W_n: a bound for methods that combine the m moves one by one, even if
    they could ask from everywhere at once.
    x_0 is zero unless given.  None where no number of rounds suffices.
    Raises `ValueError` for a problem that is not quadratic and for η or T out of range.
    """
    parts = _parts(problem, local_steps, step_size)
    x = torch.zeros(problem.dim, dtype=torch.float64)
    if x0 is not None:
        x = torch.as_tensor(np.asarray(x0, float))
    local = problem.gradients(x.expand(problem.num_nodes, -1))
    gradient = local.mean(0)
    spectra = [spectrum for _, spectrum in parts]
    if float(gradient @ gradient) <= tol:
        return 0
    moves = torch.stack(
        [_apply(part, g, of_gradient=True) for part, g in zip(parts, local, strict=True)]
    )
    mean: Callable[[Tensor], Tensor] = lambda V: torch.stack(  # noqa: E731
        [_apply(part, V.mT).mT for part in parts]
    ).mean(0)
    basis = torch.zeros(0, problem.dim, dtype=torch.float64)
    new = moves.mean(0)[None] if replies == "mean" else moves
    for n in range(1, problem.dim + 1):
        grown = _extended(basis, new)
        if len(grown) == len(basis):
            return None
        added, basis = grown[len(basis) :], grown
        slopes = torch.stack([_hessian(s, basis.mT) for s in spectra]).mean(0)  # (d, k)
        best = torch.linalg.lstsq(slopes, -gradient[:, None], driver="gelsd").solution
        left = gradient + (slopes @ best).squeeze(1)
        if float(left @ left) <= tol:
            return n
        if replies == "mean":
            new = mean(added)
        else:
            new = torch.cat([_apply(part, added.mT).mT for part in parts])
    return None


def _parts(problem: Problem, local_steps: float, step_size: float) -> list[tuple[Tensor, Spectrum]]:
    """Return 1 − (1 − ηλ)^T for the eigenvalues λ of every H_i, with its spectrum."""
    spectra = problem.hessian_spectra()
    if spectra is None:
        raise ValueError(f"{type(problem).__name__} is not quadratic: its round map is not affine")
    if not local_steps >= 1:
        raise ValueError(f"local_steps={local_steps} must be ≥ 1")
    etas = problem.check_step_size(step_size)
    return [
        (1.0 - (1.0 - eta * spectrum.values) ** local_steps, spectrum)
        for eta, spectrum in zip(etas, spectra, strict=True)
    ]


def _apply(part: tuple[Tensor, Spectrum], x: Tensor, *, of_gradient: bool = False) -> Tensor:
    """A_i x for x of shape (d,) or (d, k), or the node's move from where its gradient is x."""
    shares, spectrum = part
    weights = -shares / spectrum.values if of_gradient else shares
    inside = spectrum.vectors @ x
    scaled: Tensor = weights * inside if x.ndim == 1 else weights[:, None] * inside
    moved: Tensor = spectrum.vectors.mT @ scaled
    return moved


def _hessian(spectrum: Spectrum, x: Tensor) -> Tensor:
    product: Tensor = spectrum.vectors.mT @ (spectrum.values[:, None] * (spectrum.vectors @ x))
    return product


def _extended(basis: Tensor, vectors: Tensor) -> Tensor:
    """Return the orthonormal rows of `basis` and those that `vectors` add to their span."""
    for vector in vectors:
        size = vector.norm()
        if not size > 0:
            continue
        rest = vector / size
        for _ in range(2):  # twice is enough against rounding
            rest = rest - basis.mT @ (basis @ rest)
        if rest.norm() > _NEW:
            basis = torch.cat([basis, (rest / rest.norm())[None]])
    return basis
