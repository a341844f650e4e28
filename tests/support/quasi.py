"""The saturated distance in NumPy, and the quasi-convex losses that stop short of S_i."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from reference import Vector
from smooth import SmoothNode


def saturated_loss(node: SmoothNode, x: Vector) -> float:
    """φ(d(x, S_i)), φ(s) = s²/(1 + s²), for the optimal set of `node`."""
    square = node.distance(x) ** 2
    return square / (1 + square)


def saturated_slope(node: SmoothNode, x: Vector) -> Vector:
    """∇φ(d(x, S_i)) = 2(x − P(x))/(1 + d²)²."""
    gap = x - node.project(x)
    return 2 * gap / (1 + float(gap @ gap)) ** 2


def saturated_descent(node: SmoothNode, x: Vector, eta: float, steps: float) -> Vector:
    """x^T of local gradient descent on φ(d(x, S_i)); T = ∞ projects."""
    if np.isinf(steps):
        return node.project(x)
    for _ in range(int(steps)):
        x = x - eta * saturated_slope(node, x)
    return x


def inflection(x: Fraction | float) -> Fraction | float:
    """Return p'(x) = 12x(x − 1)² of p = 3x⁴ − 8x³ + 6x²: S = {0}, and stationary at 1."""
    return 12 * x * (x - 1) ** 2


def plateau(x: Fraction) -> Fraction:
    """x up to 1, 2 − x up to 2, 0 up to 3, x − 3 beyond: S = {0}, flat on [2, 3], L = 1."""
    if x <= 1:
        return x
    if x <= 2:
        return 2 - x
    return max(x - 3, Fraction(0))
