"""Local losses that are convex or quasi-convex, with their optimal sets."""

from localgd.convex.losses import LeastSquares, PowerLoss, SquaredDistance
from localgd.convex.quasiconvex import SaturatedDistance

__all__ = ["LeastSquares", "PowerLoss", "SaturatedDistance", "SquaredDistance"]
