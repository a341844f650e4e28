"""The problems on which rules for T are compared: data, split, step size, goal."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from bookrun.experiments import softmax_layers
from bookrun.experiments.softmax_layers import CROSS_ENTROPY
from localgd import (
    Anderson,
    Average,
    Ball,
    HalfSpace,
    LeastSquares,
    NetworkProblem,
    PowerLoss,
    Problem,
    Server,
    SquaredDistance,
    datasets,
)
from localgd.networks import LeNet, seeded


@dataclass(frozen=True)
class Setting:
    """One problem and when it counts as solved.

    `loss_share`, `residual_share`: f(x_n) ≤ so much of f(x_0), and the same of ‖∇f(x_n)‖²; to be
    chosen so that the loss's goal is met by when ‖∇f‖² is a tenth of its goal.  `most_steps`: the
    largest fixed T that is tried; `servers`: for each, the best fixed T is sought anew.
    """

    name: str
    kind: str  # of the loss
    loss_share: float
    residual_share: float
    nodes: int = 2
    seed: int | None = None  # of the split; None is file order
    step: float = 1.0  # η in units of 1/max L_i, or of 1/L at the start, or itself
    start: Any = None
    most_steps: int = 3000
    ratios: tuple[float, ...] = (1.0, 0.1, 0.01, 0.001)
    images: int = 200
    servers: tuple[Server, ...] = (Average(),)
    convex: bool = field(default=True)

    def problem(self) -> Problem:
        """Return the problem."""
        return _posed(self)[0]

    def step_size(self) -> float:
        """Return η."""
        return self.step / _posed(self)[1]

    def curvature(self) -> float:
        """Return the constant that η is measured by."""
        return _posed(self)[1]


@cache
def _posed(setting: Setting) -> tuple[Problem, float]:
    """Return the problem, and the curvature in whose reciprocals η is given."""
    if setting.kind == "disc":
        sets = [Ball([0.0, 1.0], 1.0), HalfSpace([0.0, 1.0], 0.0)]
        return SquaredDistance(sets, common=Ball([0.0, 0.0], 0.0)), 2.0
    if setting.kind in ("quadratic", "quartic"):
        colon = datasets.colon_cancer().with_intercept()
        blocks = colon.split(setting.nodes, seed=setting.seed)
        if setting.kind == "quadratic":
            quadratic = LeastSquares(*blocks, data=colon.source).reduced()[0]
            return quadratic, float(quadratic.smoothness().max())
        quartic = PowerLoss(*blocks, data=colon.source).reduced()[0]
        rows = zip(quartic.A.numpy(), quartic.samples.tolist(), strict=True)
        return quartic, max(12 * float(np.linalg.norm(A, 2)) ** 2 / n for A, n in rows)
    images = datasets.mnist("train", first=setting.images)
    if setting.kind == "lenet":
        net, nodes = seeded(LeNet, setting.seed or 0), images.split(setting.nodes, setting.seed)
        return NetworkProblem(net, *nodes, CROSS_ENTROPY, data=images.source), 1.0
    posed = softmax_layers.network(images, setting.nodes, setting.seed or 0)
    return posed, softmax_layers.smoothness(images, setting.nodes, setting.seed)


#: The same comparison, with the average and on top of an accelerated server.
_BOTH = (Average(), Anderson(10))
_LENET: Mapping[str, Any] = {
    "nodes": 5,
    "step": 0.2,
    "most_steps": 400,
    "convex": False,
}
#: By name, cheap ones first.
SETTINGS: Mapping[str, Setting] = {
    each.name: each
    for each in (
        Setting("disc and half-plane", "disc", 3e-4, 1e-6, step=0.5, start=(2.0, 1.0)),
        Setting("quadratic, m = 2", "quadratic", 1e-3, 1e-5, servers=_BOTH),
        Setting("quadratic, m = 2, shuffled", "quadratic", 1e-3, 1e-5, seed=1),
        Setting("quadratic, m = 5", "quadratic", 1e-2, 1e-4, nodes=5, servers=_BOTH),
        Setting("quartic, m = 2", "quartic", 3e-3, 4e-6, step=4.0, servers=_BOTH),
        Setting("quartic, m = 2, shuffled", "quartic", 3e-3, 4e-6, seed=1, step=4.0),
        Setting("quartic, m = 5", "quartic", 1e-2, 2e-5, nodes=5, step=4.0),
        Setting("softmax, m = 5", "softmax", 0.1, 1e-2, nodes=5, most_steps=1000),
        Setting("LeNet, m = 5", "lenet", 0.2, 1e-2, ratios=(0.1, 0.01), **_LENET),
    )
}
