"""The recorded figures: the cases that each consists of, at the scales ``cpu`` and ``paper``.

``paper`` is the paper's scale; where a CPU cannot do that in an hour or so, ``cpu`` is less of it.
The paper states neither step sizes nor numbers of rounds: they are chosen here. Besides the paper's
figures, ``fig4a-choices`` and ``fig4b-choices`` are Figures 4(a) and 4(b) with other choices,
``fig4a-work`` is Figure 4(a) with as many gradients for every T, ``fig4b-seeds`` is the beginning
of Figure 4(b) with two more seeds and ``fig4b-threshold`` with a smaller threshold, and
``fig4b-narrow`` and ``fig8-part`` are Figures 4(b) and 8 at the scale ``cpu``, with more seeds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from bookrun.errors import BookError
from bookrun.experiments.case import Case

SCALES = ("cpu", "paper")

#: Figures that are drawn from the records of others.
DRAWN_FROM: Mapping[str, tuple[str, ...]] = {"fig7": ("fig4a", "fig6")}


@dataclass(frozen=True)
class Series:
    """Every T at every number of nodes for every seed, then the threshold rule in the same way.

    The seeds are those from ``first_seed`` to ``seeds`` − 1.
    """

    base: Case  # its local_steps, nodes and seed are replaced
    nodes: tuple[int, ...]
    steps: tuple[int, ...]
    seeds: int
    first_seed: int = 0
    grad_tol: float | None = None
    max_steps: int | None = None
    variants: tuple[Mapping[str, Any], ...] = ({},)  # settings that depart from `base`

    def cases(self) -> list[Case]:
        """Return the cases, in the order in which they are run: the cheap ones first."""
        rules: list[dict[str, Any]] = [{"local_steps": T} for T in self.steps]
        if self.grad_tol is not None:
            limits = {"grad_tol": self.grad_tol, "max_steps": self.max_steps}
            rules.append({"local_steps": None, **limits})
        return [
            replace(self.base, nodes=m, seed=seed, **rule, **variant)
            for rule, variant, m, seed in product(
                rules, self.variants, self.nodes, range(self.first_seed, self.seeds)
            )
        ]


_LENET = Case("lenet", samples=1000, nodes=10, step_size=0.2, rounds=60, local_steps=1)
_RESNET = Case(
    "resnet18", samples=1000, nodes=10, step_size=0.1, rounds=60, local_steps=1, tf32=True
)
_NARROW = replace(_RESNET, samples=200, width=4, rounds=16, tf32=False)
_ALL_MNIST = replace(_LENET, samples=60_000, test_samples=10_000)
_SOME_MNIST = replace(_ALL_MNIST, samples=3000, rounds=12)
_LENET_CHOICES = ({"step_size": 0.1}, {"step_size": 0.4}, {"activation": "tanh"})
_RESNET_STEP_SIZES = ({"step_size": 0.05}, {"step_size": 0.2})  # half and twice the figure's
_LENET_TOL = {"grad_tol": 1e-4, "max_steps": 5000}


def _of_lenet(nodes: tuple[int, ...], rounds: int) -> tuple[Series, ...]:
    """T = 1 and 10 for long enough to leave the plateau, T = 100 and the threshold, and 50 steps.

    ``rounds`` are those of T = 100 and of the threshold. The run of 50 steps is what a replay
    compares of a round that is longer.
    """
    few = Series(replace(_LENET, rounds=200), nodes, (1, 10), seeds=3)
    many = replace(_LENET, rounds=rounds)
    beginning = Series(replace(_LENET, rounds=1), nodes, (50,), seeds=3)
    return few, Series(many, nodes, (100,), seeds=3, grad_tol=1e-4, max_steps=5000), beginning


_STEPS = (1, 10, 100)
_CHOICES = Series(replace(_LENET, rounds=20), (2, 5, 10), _STEPS, seeds=1, variants=_LENET_CHOICES)
_EQUAL_WORK = tuple(
    Series(replace(_LENET, rounds=3000 // T), (10,), (T,), seeds=1) for T in (1, 10)
)


_FULL = (
    Series(_RESNET, (10,), (1, 10), seeds=1, grad_tol=1e-2, max_steps=5000),
    Series(replace(_RESNET, rounds=29), (10,), (100,), seeds=1),
)
_MORE_SEEDS = Series(
    replace(_RESNET, rounds=10),
    (10,),
    _STEPS,
    seeds=3,
    first_seed=1,
    grad_tol=1e-2,
    max_steps=5000,
)
_SMALLER_THRESHOLD = Series(
    replace(_RESNET, rounds=1), (10,), (), seeds=1, grad_tol=1e-6, max_steps=5000
)
_SMALL = (Series(_NARROW, (10,), _STEPS, seeds=3, grad_tol=1e-2, max_steps=2000),)
_SMALL_CHOICES = replace(_NARROW, rounds=6)
_ALL = tuple(
    Series(replace(_ALL_MNIST, rounds=rounds), (5, 10), (T,), seeds=1)
    for T, rounds in ((1, 200), (10, 60), (100, 20))
)
_PART = (Series(_SOME_MNIST, (5, 10), _STEPS, seeds=3),)

_SERIES: Mapping[str, Mapping[str, tuple[Series, ...]]] = {
    "fig4a": dict.fromkeys(SCALES, _of_lenet((10,), 60)),
    "fig4a-choices": dict.fromkeys(SCALES, (_CHOICES,)),
    "fig4a-work": dict.fromkeys(SCALES, _EQUAL_WORK),
    "fig4b": {"cpu": _SMALL, "paper": _FULL},
    "fig4b-seeds": dict.fromkeys(SCALES, (_MORE_SEEDS,)),
    "fig4b-threshold": dict.fromkeys(SCALES, (_SMALLER_THRESHOLD,)),
    "fig4b-narrow": dict.fromkeys(SCALES, _SMALL),
    "fig4b-choices": dict.fromkeys(
        SCALES, (Series(_SMALL_CHOICES, (10,), _STEPS, seeds=1, variants=_RESNET_STEP_SIZES),)
    ),
    "fig6": dict.fromkeys(SCALES, _of_lenet((2, 5), 40)),
    "fig8": {"cpu": _PART, "paper": _ALL},
    "fig8-part": dict.fromkeys(SCALES, _PART),
}


def names() -> list[str]:
    """Return the figures that can be recorded."""
    return list(_SERIES)


def cases(figure: str, scale: str) -> list[Case]:
    """Return the cases of a figure, cheap ones first.

    Raises ``BookError`` for a figure or scale that there is not, and for a figure that is drawn
    from the records of others, naming those.
    """
    if figure in DRAWN_FROM:
        raise BookError(
            f"{figure} is drawn from the records of {' and '.join(DRAWN_FROM[figure])}: make those"
        )
    if figure not in _SERIES:
        raise BookError(f"FIGURE={figure} is none of {', '.join(_SERIES)}")
    if scale not in SCALES:
        raise BookError(f"SCALE={scale} is none of {', '.join(SCALES)}")
    return [case for each in _SERIES[figure][scale] for case in each.cases()]


def beginning(case: Case, steps: int) -> Case:
    """Return the case cut to its first rounds, one at least, that cost ``steps`` local steps.

    A round of the threshold rule counts as one of a hundred steps.
    """
    rounds = max(1, steps // (case.local_steps or 100))
    return replace(case, rounds=min(case.rounds, rounds))
