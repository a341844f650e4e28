"""Optimal sets and how they meet: projections, σ, the separation constant, exact rates."""

from localgd.geometry.rates import contraction_factor
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
    "contraction_factor",
    "intersection",
    "separation_constant",
    "sigma_min",
]
