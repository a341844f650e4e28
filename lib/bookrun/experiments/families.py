"""Draw families of subspaces on which statements about their separation are tried."""

import numpy as np

from localgd import AffineSubspace


def tilted_subspaces(num_nodes: int, rng: np.random.Generator) -> list[AffineSubspace]:
    """Draw m subspaces of one rank in R², …, R⁵, tilted from a common one by 0.03 to 3.

    Their directions across are the rows of B + τG_i with Gaussian B and G_i and one τ for all,
    log-uniform, so that families from nearly equal to well separated come up alike.
    """
    dim = int(rng.integers(2, 6))
    rank, tilt = int(rng.integers(1, dim)), 10 ** rng.uniform(-1.5, 0.5)
    base = rng.standard_normal((rank, dim))
    normals = [base + tilt * rng.standard_normal((rank, dim)) for _ in range(num_nodes)]
    return [AffineSubspace.from_normals(np.zeros(dim), rows) for rows in normals]
