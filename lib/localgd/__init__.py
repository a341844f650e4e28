"""Local gradient descent with model averaging: Algorithm 1 of Zhang & Li (2019).

Every node i takes T_i gradient steps of its own, T_i up to infinity, and the nodes'
models are then averaged.  `run` executes it; the rules say how many local steps a node
takes; the servers say how the next model follows from the average; the problems say what is
minimised; `Trace` is what came out.

Names are loaded on first use, so that `localgd.datasets` can be asked what data there
are without paying for the import of PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from localgd.algorithm.adaptive import BalancedSteps
    from localgd.algorithm.checkpoint import Checkpoint
    from localgd.algorithm.fitted import FittedSteps
    from localgd.algorithm.krylov_servers import Anderson, ConjugateGradient
    from localgd.algorithm.paths import LocalPaths
    from localgd.algorithm.processes import Processes, ProcessLostError
    from localgd.algorithm.rules import (
        FixedSteps,
        Plan,
        RoundInfo,
        Rule,
        ToOptimum,
        UntilStationary,
    )
    from localgd.algorithm.run import run
    from localgd.algorithm.schedule import ScheduledSteps
    from localgd.algorithm.servers import (
        Average,
        Extrapolated,
        Nesterov,
        Received,
        Relaxed,
        Server,
    )
    from localgd.algorithm.trace import DivergenceError, Trace
    from localgd.convex.losses import LeastSquares, PowerLoss, SquaredDistance
    from localgd.convex.quasiconvex import SaturatedDistance
    from localgd.geometry import AffineSubspace, Ball, HalfSpace
    from localgd.networks.problem import NetworkProblem
    from localgd.problem import Problem

_HOMES = {
    "AffineSubspace": "geometry",
    "Anderson": "algorithm.krylov_servers",
    "Average": "algorithm.servers",
    "BalancedSteps": "algorithm.adaptive",
    "Ball": "geometry",
    "Checkpoint": "algorithm.checkpoint",
    "ConjugateGradient": "algorithm.krylov_servers",
    "DivergenceError": "algorithm.trace",
    "Extrapolated": "algorithm.servers",
    "FittedSteps": "algorithm.fitted",
    "FixedSteps": "algorithm.rules",
    "HalfSpace": "geometry",
    "LeastSquares": "convex",
    "Nesterov": "algorithm.servers",
    "LocalPaths": "algorithm.paths",
    "NetworkProblem": "networks",
    "Plan": "algorithm.rules",
    "PowerLoss": "convex",
    "Problem": "problem",
    "ProcessLostError": "algorithm.processes",
    "Processes": "algorithm.processes",
    "Received": "algorithm.servers",
    "Relaxed": "algorithm.servers",
    "RoundInfo": "algorithm.rules",
    "Rule": "algorithm.rules",
    "SaturatedDistance": "convex",
    "ScheduledSteps": "algorithm.schedule",
    "Server": "algorithm.servers",
    "SquaredDistance": "convex",
    "ToOptimum": "algorithm.rules",
    "Trace": "algorithm.trace",
    "UntilStationary": "algorithm.rules",
    "run": "algorithm.run",
}

__version__ = "0.1.0"
__all__ = [
    "AffineSubspace",
    "Anderson",
    "Average",
    "BalancedSteps",
    "Ball",
    "Checkpoint",
    "ConjugateGradient",
    "DivergenceError",
    "Extrapolated",
    "FittedSteps",
    "FixedSteps",
    "HalfSpace",
    "LeastSquares",
    "LocalPaths",
    "Nesterov",
    "NetworkProblem",
    "Plan",
    "PowerLoss",
    "Problem",
    "ProcessLostError",
    "Processes",
    "Received",
    "Relaxed",
    "RoundInfo",
    "Rule",
    "SaturatedDistance",
    "ScheduledSteps",
    "Server",
    "SquaredDistance",
    "ToOptimum",
    "Trace",
    "UntilStationary",
    "__version__",
    "run",
]


def __getattr__(name: str) -> Any:
    """Load a public name from the module that defines it."""
    if name not in _HOMES:
        raise AttributeError(f"module 'localgd' has no attribute {name!r}")
    value = getattr(import_module(f"localgd.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *__all__})
