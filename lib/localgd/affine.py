"""Problems whose optimal sets are affine: what T_i = ∞, and any T_i of a quadratic, comes to."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from localgd.geometry import AffineSubspace, intersection
from localgd.problem import Problem


class AffineOptima(Problem):
    """A problem whose S_i are affine subspaces: projections and d(x, S) follow from them."""

    @abstractmethod
    def solution_sets(self) -> list[AffineSubspace] | None:
        """S_1, …, S_m as affine subspaces, or None where they are not."""

    def projection(self) -> Callable[[Tensor], Tensor] | None:
        """x_i ↦ P_{S_i}(x_i) = x_i − N_iᵀN_i(x_i − p_i) for all nodes at once."""
        return self._projection

    def closed_form(self, etas: NDArray[np.float64]) -> Callable[[Tensor, Tensor], Tensor] | None:
        """x_i − V_iᵀ(I − (I − η_iΛ_i)^{T_i})V_i(x_i − p_i) for quadratics, p_i in S_i.

        Works in the row spaces of the Hessians H_i = V_iᵀΛ_iV_i; no d×d matrix is formed.
        """
        spectra, sets = self.hessian_spectra(), self.solution_sets()
        if spectra is None or sets is None:
            return None
        rank = max(len(s.values) for s in spectra)
        vectors = spectra[0].vectors.new_zeros(self.num_nodes, rank, self.dim)
        factors = spectra[0].values.new_ones(self.num_nodes, rank)
        for node, spectrum in enumerate(spectra):
            vectors[node, : len(spectrum.values)] = spectrum.vectors
            factors[node, : len(spectrum.values)] = 1.0 - etas[node] * spectrum.values
        points = torch.stack([s.point for s in sets])

        def leap(x: Tensor, steps: Tensor) -> Tensor:
            shrink = 1.0 - factors ** steps[:, None]
            coordinates = torch.matmul(vectors, (x - points).unsqueeze(-1))
            return x - torch.matmul(vectors.mT, shrink.unsqueeze(-1) * coordinates).squeeze(-1)

        return leap

    def distance(self, x: Tensor) -> float | None:
        """d(x, S), or None where the S_i do not meet."""
        if self._intersection is None:
            return None
        return float(self._intersection.distance(x))

    @cached_property
    def _intersection(self) -> AffineSubspace | None:
        sets = self.solution_sets()
        return None if sets is None else intersection(sets)

    @cached_property
    def _projection(self) -> Callable[[Tensor], Tensor] | None:
        sets = self.solution_sets()
        if sets is None:
            return None
        rank = max(s.normals.shape[0] for s in sets)
        normals = sets[0].normals.new_zeros(self.num_nodes, rank, self.dim)
        for node, subspace in enumerate(sets):
            normals[node, : subspace.normals.shape[0]] = subspace.normals
        points = torch.stack([s.point for s in sets])

        def project(x: Tensor) -> Tensor:
            coordinates = torch.matmul(normals, (x - points).unsqueeze(-1))
            return x - torch.matmul(normals.mT, coordinates).squeeze(-1)

        return project
