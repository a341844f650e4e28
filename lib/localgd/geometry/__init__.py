"""Optimal sets and how they meet: projections, σ, the separation constant."""

from localgd.geometry.separation import Separation, separation_constant
from localgd.geometry.sets import (
    RANK_TOL,
    AffineSubspace,
    Ball,
    ConvexSet,
    HalfSpace,
    intersection,
    sigma_min,
)

__all__ = [
    "RANK_TOL",
    "AffineSubspace",
    "Ball",
    "ConvexSet",
    "HalfSpace",
    "Separation",
    "intersection",
    "separation_constant",
    "sigma_min",
]
