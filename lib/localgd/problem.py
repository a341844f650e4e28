"""Define what the m nodes minimise: the interface between a loss and the averaging loop.

The loop holds one row of parameters per node, x of shape (m, d), and asks the problem for
all m local losses and gradients at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Evaluate = Callable[..., tuple[Tensor, Tensor]]
Gradients = Callable[..., Tensor]
#: (x, ∇f_i(x_i), T) ↦ x_i after T_i local steps, from x and gradients of shape (m, d), T (m,).
ClosedForm = Callable[[Tensor, Tensor, Tensor], Tensor]
#: (x, f_i(x_i), ∇f_i(x_i), T) ↦ f_i(x^{i,t}) and ‖∇f_i(x^{i,t})‖² for t < T, each (m, T).
ClosedPaths = Callable[[Tensor, Tensor, Tensor, int], tuple[Tensor, Tensor]]


class Spectrum(NamedTuple):
    """The non-zero part of a symmetric matrix H = VᵀΛV."""

    values: Tensor  # (r,) eigenvalues, all > 0
    vectors: Tensor  # (r, d) orthonormal rows


class Chunk(NamedTuple):
    """Some nodes of a problem that advance together, and how to evaluate them."""

    nodes: Tensor  # (c,) their numbers
    evaluate: Evaluate  # (x, *tensors) ↦ f_i(x_i), shape (c,), and ∇f_i(x_i), shape (c, d)
    gradients: Gradients  # (x, *tensors) ↦ ∇f_i(x_i) alone
    tensors: tuple[Tensor, ...] = ()  # their data, node by node along the first axis
    #: Whether `evaluate` is plain PyTorch that gains by being recorded once and replayed.
    traceable: bool = False

    @property
    def divisible(self) -> bool:
        """Return whether any of the nodes can be evaluated without the others."""
        return bool(self.tensors)

    def take(self, rows: Tensor) -> Chunk:
        """Return the chunk of the nodes in `rows`, with a copy of their data."""
        return self._replace(
            nodes=self.nodes[rows.to(self.nodes.device)],
            tensors=tuple(tensor[rows] for tensor in self.tensors),
        )


class Problem(ABC):
    """f = (1/m) Σ f_i over R^d, with what is known of the f_i.

    A subclass sets `num_nodes` m and `dim` d and evaluates all nodes in one call.  What it
    knows beyond that (smoothness constants, projections onto the optimal sets, the
    distance to their intersection) it offers through the methods below, each of which says
    "not known" by returning None.
    """

    num_nodes: int
    dim: int
    dtype: torch.dtype = torch.float64
    #: How many entries at the end of x are carried along with the parameters instead of being
    #: optimised (BatchNorm's statistics).  Their columns of `gradients` hold their next values.
    num_buffers: int = 0
    #: Whether `device="auto"` should pick a GPU where there is one.
    prefers_gpu: bool = False

    @abstractmethod
    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return f_i(x_i), shape (m,), and ∇f_i(x_i), shape (m, d), for `x` of shape (m, d)."""

    @abstractmethod
    def to(self, device: torch.device, dtype: torch.dtype) -> Self:
        """Return the same problem with its tensors on `device` in `dtype`."""

    def gradients(self, x: Tensor) -> Tensor:
        """∇f_i(x_i), shape (m, d); overridden where it is cheaper than `evaluate`."""
        return self.evaluate(x)[1]

    def chunks(self, size: int | None = None) -> list[Chunk]:
        """Return the nodes in groups that are evaluated together; all at once where not said.

        `size`: how many nodes a group may hold at most; None leaves it to the problem.
        """
        return [Chunk(torch.arange(self.num_nodes), self.evaluate, self.gradients)]

    def initial(self, generator: torch.Generator) -> Tensor:
        """Return the default start x_0, shape (d,); zeros unless the problem draws it."""
        return torch.zeros(self.dim, dtype=self.dtype)

    def smoothness(self) -> NDArray[np.float64] | None:
        """L_i, the Lipschitz constants of the ∇f_i, shape (m,)."""
        return None

    def projection(self) -> Callable[[Tensor], Tensor] | None:
        """Return the map x ↦ (P_{S_i}(x_i))_i on (m, d) arrays: T_i = ∞ in one step."""
        return None

    def closed_form(self, etas: NDArray[np.float64]) -> ClosedForm | None:
        """(x, ∇f_i(x_i), T) ↦ x_i after T_i local steps of size η_i, where there is a closed form.

        The gradients at x are known when a round begins.  A round then costs the same for T = 2
        and T = 10⁶.
        """
        return None

    def closed_paths(self, etas: NDArray[np.float64]) -> ClosedPaths | None:
        """Return losses and ‖∇f_i‖² along local steps of size η_i, where there is a closed form.

        Its work grows with T, but far more slowly than that of T steps.
        """
        return None

    def distance(self, x: Tensor) -> float | None:
        """d(x, S) to the common optimal set S = ⋂ S_i, for `x` of shape (d,)."""
        return None

    def hessian_spectra(self) -> list[Spectrum] | None:
        """Return the Hessians of the f_i where these are quadratic."""
        return None

    def contents(self) -> Mapping[str, Any]:
        """Return what the problem is made of, by name: what tells it from another.

        All attributes but private ones, unless overridden.
        """
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def provenance(self) -> Mapping[str, Any]:
        """Return what the problem is made of, for the record of a run."""
        return {"problem": type(self).__name__, "num_nodes": self.num_nodes, "dim": self.dim}

    def in_common(self) -> Mapping[str, str]:
        """Return what processes that hold different nodes of one problem have in common."""
        return {
            "problem": type(self).__qualname__,
            "dim": str(self.dim),
            "dtype": str(self.dtype).removeprefix("torch."),
            "buffers": str(self.num_buffers),
        }

    def check_step_size(self, step_size: float | Sequence[float]) -> NDArray[np.float64]:
        """Return η_i as an (m,) array, or raise `ValueError` with the value, rule and node.

        Each η_i is positive and finite, and below 2/L_i where L_i is known: at 2/L_i and
        above, local gradient descent does not converge on every L_i-smooth convex f_i.
        """
        if np.asarray(step_size).dtype.kind in "SUbcmM":
            raise TypeError(f"step_size={step_size!r} must be a number, or one a node")
        etas = np.asarray(step_size, float)
        if etas.ndim > 1 or (etas.ndim == 1 and etas.shape != (self.num_nodes,)):
            raise ValueError(
                f"step_size has shape {etas.shape}, expected one number or {self.num_nodes}"
            )
        etas = np.broadcast_to(etas, (self.num_nodes,)).copy()
        constants = self.smoothness()
        for node, eta in enumerate(etas):
            if not (np.isfinite(eta) and eta > 0):
                raise ValueError(f"step_size={eta} at node {node} must be positive and finite")
            if constants is not None and eta * constants[node] >= 2:
                raise ValueError(
                    f"step_size={eta:.6g} is not below 2/L = {2 / constants[node]:.6g} at node "
                    f"{node}: local GD need not converge there"
                )
        return etas


def check_finite(array: NDArray[Any], name: str, node: int) -> None:
    """Raise `ValueError` naming node and array where `array` holds a NaN or an infinity."""
    bad = np.argwhere(~np.isfinite(array))
    if bad.size:
        where = tuple(int(k) for k in bad[0])
        raise ValueError(
            f"{name} of node {node} holds {array[where]} at index {where}: data must be finite"
        )


def dense_array(value: Any, name: str, node: int) -> NDArray[np.float64]:
    """Return a node's array in float64.

    Raises `ValueError` for a sparse one, one with masked entries, and what holds no real numbers.
    """
    torch_sparse = isinstance(value, Tensor) and value.layout != torch.strided
    if torch_sparse or (hasattr(value, "toarray") and not isinstance(value, np.ndarray)):
        method = "to_dense" if torch_sparse else "toarray"
        raise ValueError(f"{name} of node {node} is sparse: give it dense (.{method}())")
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        value = value.double() if value.is_floating_point() else value
    return np.ascontiguousarray(real_array(value, f"{name} of node {node}"), float)


def real_array(value: Any, name: str) -> NDArray[Any]:
    """Return an array of real numbers in this machine's byte order.

    Raises `ValueError` for masked entries, whose values would be used, and what holds no numbers.
    """
    if np.ma.is_masked(value):
        raise ValueError(f"{name} has masked entries: fill them in, or leave their rows out")
    array = np.asarray(value)
    if array.dtype.kind not in "biufO":
        raise ValueError(f"{name} holds {array.dtype}, expected real numbers")
    return array.astype(array.dtype.newbyteorder("="), copy=False)
