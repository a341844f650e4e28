"""A grid file: which chapter, which parameters stay, which vary and over what.

.. code-block:: yaml

    question: How many rounds does a residual of 1e-6 take?
    chapter: onerun
    fixed: {rounds: 400}
    grid: # every combination
      local_steps: [1, 10, 100]
      step_scale: {from: 1e-2, to: 1, count: 5, spacing: log}
      num_nodes, seed: [[2, 0], [4, 0], [4, 1]] # together, one axis
    list: # single points
      - {local_steps: 3, step_scale: 0.5}
    sample: # random points; equal seeds give equal ones
      count: 20
      seed: 0
      parameters:
        step_scale: {from: 1e-3, to: 1, spacing: log}
    plot: {x: local_steps, by: step_scale, y: [rounds needed, [measured, predicted]]}
"""

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bookrun.errors import BookError
from bookrun.files import digest
from bookrun.project import Project
from bookrun.source import yaml
from bookrun.source.chapters import Chapter, pick
from bookrun.source.parameters import Parameter, overrides

#: More points than this are a slip of the pen rather than a plan.
MOST_POINTS = 10_000
#: A range of whole numbers goes no further: beyond it not every one is a float.
MOST_WHOLE = 2**53
_WAYS = ("grid", "list", "sample")
_KEYS = ("question", "chapter", "fixed", *_WAYS, "plot")

#: The directory of points, which stands beside those of the grids.
POINTS = "points"

Values = dict[str, Any]


@dataclass(frozen=True)
class Plot:
    """The page's plots: ``y``, the numbers of each panel, against ``x``, a line for each ``by``.

    Whatever is left out is chosen from the points.
    """

    x: str = ""
    by: str = ""
    y: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Grid:
    """A grid file that was read and checked, its points in order and none of them twice."""

    path: Path
    name: str  # of the file, and of the sweep's directory
    chapter: Chapter
    question: str
    fixed: Values
    varied: tuple[str, ...]
    points: tuple[Values, ...]  # the varied parameters of each
    plot: Plot = field(default_factory=Plot)


def load(project: Project, path: Path) -> Grid:
    """Read a grid file and check every point against the chapter's ``parameters`` cell.

    Raises ``BookError`` with a sentence that names the file, the place and the value.
    """
    where = project.shown(path.resolve())
    found = _document(path, where)
    if not isinstance(found.get("chapter"), str):
        raise BookError(f"{where}: chapter is missing: the chapter to run, for example linear")
    try:
        chapter = pick(project, found["chapter"])
    except BookError as error:
        raise BookError(f"{where}: {error}") from None
    if not chapter.parameters:
        raise BookError(f"{where}: chapter {chapter.name} has no parameters cell: nothing to vary")
    fixed = _checked(chapter.parameters, _mapping(found, "fixed", where), f"{where}, fixed")
    given: list[Values] = []
    for way, expand in (("grid", _product), ("list", _listed), ("sample", _sampled)):
        if way in found:
            given += expand(found[way], chapter.parameters, f"{where}, {way}")
    if not given:
        raise BookError(f"{where}: it names no points: give one of {', '.join(_WAYS)}")
    varied = tuple(dict.fromkeys(name for values in given for name in values))
    twice = [name for name in varied if name in fixed]
    if twice:
        raise BookError(f"{where}: {', '.join(twice)} is both fixed and varied")
    points: list[Values] = []
    for number, values in enumerate(given, start=1):
        checked = _checked(chapter.parameters, values, f"{where}, point {number}")
        if checked not in points:
            points.append(checked)
    question = str(found.get("question") or f"Chapter {chapter.name} over {', '.join(varied)}")
    plot = _plot(_mapping(found, "plot", where), chapter, f"{where}, plot")
    name = _name(project, path, where)
    return Grid(path, name, chapter, " ".join(question.split()), fixed, varied, tuple(points), plot)


def _name(project: Project, path: Path, where: str) -> str:
    """Return the name of the directory of results, another one for every grid file.

    That of the file in ``sweeps/``; elsewhere a digest of the place is added.
    """
    name = path.stem
    if not re.fullmatch(r"\w[\w .+-]*", name):
        raise BookError(
            f"GRID={where}: a grid's name begins with a letter or a digit and goes on with these, "
            f"spaces and . + - alone, not {name!r}"
        )
    usual = path.resolve() == project.root.resolve() / "sweeps" / f"{name}.yaml"
    return name if usual and name != POINTS else f"{name}-{digest(str(path.resolve()))[:8]}"


def _document(path: Path, where: str) -> Mapping[str, Any]:
    if not path.is_file():
        raise BookError(f"GRID={where} does not exist")
    found = yaml.read(path, where)
    if not isinstance(found, dict):
        raise BookError(f"{where} is not a grid: it must be a mapping with {', '.join(_KEYS)}")
    unknown = sorted(str(key) for key in found if key not in _KEYS)
    if unknown:
        raise BookError(f"{where} has {', '.join(unknown)}; it takes {', '.join(_KEYS)}")
    return found


def _mapping(found: Mapping[str, Any], key: str, where: str) -> Values:
    entry = found.get(key)
    if entry is None:
        return {}
    if not isinstance(entry, dict):
        raise BookError(f"{where}: {key} must be a mapping, not {entry!r}")
    return dict(entry)


def _product(entry: Any, parameters: Mapping[str, Parameter], where: str) -> list[Values]:
    """Return every combination, the last parameter fastest; those that share a key go together."""
    if not isinstance(entry, dict) or not entry:
        raise BookError(f"{where}: it must be a mapping from parameters to values, not {entry!r}")
    names = [name.strip() for key in entry for name in str(key).split(",")]
    for name in names:
        if names.count(name) > 1:
            raise BookError(f"{where}: {name} stands on two axes")
    axes = [
        _together(key.split(","), values, parameters, f"{where}, {key}")
        if isinstance(key, str) and "," in key
        else [
            {key: one} for one in _axis(values, _known(parameters, key, where), f"{where}, {key}")
        ]
        for key, values in entry.items()
    ]
    count = math.prod(len(axis) for axis in axes)
    if count > MOST_POINTS:
        raise BookError(f"{where}: {count} points; at most {MOST_POINTS} can be run in one sweep")
    return [
        {name: value for part in point for name, value in part.items()}
        for point in itertools.product(*axes)
    ]


def _together(
    keys: Sequence[str], entry: Any, parameters: Mapping[str, Parameter], where: str
) -> list[Values]:
    """Return several parameters as one axis: a list of lists, with a value for each of them."""
    names = [key.strip() for key in keys]
    for name in names:
        _known(parameters, name, where)
    if not isinstance(entry, list) or not all(
        isinstance(values, list) and len(values) == len(names) for values in entry
    ):
        raise BookError(f"{where}: it must be a list of lists of {len(names)} values each")
    return [dict(zip(names, values, strict=True)) for values in entry]


def _axis(entry: Any, parameter: Parameter, where: str) -> Sequence[Any]:
    """Return the values of one parameter: a list as it stands, or a range."""
    if isinstance(entry, list) and entry:
        return entry
    if not isinstance(entry, dict):
        raise BookError(
            f"{where}: {entry!r} is neither a list of values nor a range "
            "{from: …, to: …, count: …, spacing: linear or log}"
        )
    low, high, log = _range(entry, parameter, where, {"count"})
    count = entry.get("count")
    if not isinstance(count, int) or isinstance(count, bool) or not 2 <= count <= MOST_POINTS:
        raise BookError(f"{where}: count={count!r} is not a whole number from 2 to {MOST_POINTS}")
    spaced = np.geomspace(low, high, count) if log else np.linspace(low, high, count)
    return list(dict.fromkeys(_rounded(value, parameter) for value in spaced))


def _listed(entry: Any, parameters: Mapping[str, Parameter], where: str) -> list[Values]:
    if not isinstance(entry, list) or not all(isinstance(point, dict) and point for point in entry):
        raise BookError(f"{where}: it must be a list of mappings from parameters to values")
    for point in entry:
        for name in point:
            _known(parameters, name, where)
    return [dict(point) for point in entry]


def _sampled(entry: Any, parameters: Mapping[str, Parameter], where: str) -> list[Values]:
    """Independent random points; a larger count keeps those of a smaller one."""
    if not isinstance(entry, dict) or set(entry) - {"count", "seed", "parameters"}:
        raise BookError(f"{where}: it takes count, seed and parameters")
    count, seed = entry.get("count"), entry.get("seed", 0)
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MOST_POINTS:
        raise BookError(f"{where}: count={count!r} is not a whole number from 1 to {MOST_POINTS}")
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise BookError(f"{where}: seed={seed!r} is not a whole number from 0 on")
    spread = entry.get("parameters")
    if not isinstance(spread, dict) or not spread:
        raise BookError(f"{where}: parameters must be a mapping from parameters to ranges or lists")
    rng = np.random.default_rng(seed)
    for name in spread:
        _known(parameters, name, where)
    return [
        {
            name: _drawn(rng, values, parameters[name], f"{where}, {name}")
            for name, values in spread.items()
        }
        for _ in range(count)
    ]


def _drawn(rng: np.random.Generator, entry: Any, parameter: Parameter, where: str) -> Any:
    if isinstance(entry, list) and entry:
        return entry[int(rng.integers(len(entry)))]
    if not isinstance(entry, dict):
        raise BookError(f"{where}: {entry!r} is neither a list of values nor a range")
    low, high, log = _range(entry, parameter, where, set())
    if parameter.kind is int and not log:
        return int(rng.integers(int(low), int(high) + 1))
    value = rng.uniform(math.log(low), math.log(high)) if log else rng.uniform(low, high)
    return _rounded(math.exp(value) if log else value, parameter)


def _range(
    entry: Mapping[str, Any], parameter: Parameter, where: str, more: set[str]
) -> tuple[float, float, bool]:
    """Return the ends of a range, and whether it is logarithmic."""
    takes = ["from", "to", *sorted(more), "spacing"]
    if set(entry) - set(takes) or not {"from", "to"} <= set(entry):
        raise BookError(
            f"{where}: a range takes {', '.join(takes)}, not {', '.join(map(str, entry))}"
        )
    if parameter.kind not in (int, float):
        raise BookError(f"{where}: {parameter.name} is {parameter.described}, which has no range")
    spacing = entry.get("spacing", "linear")
    if spacing not in ("linear", "log"):
        raise BookError(f"{where}: spacing={spacing!r} is not linear or log")
    ends = {end: entry[end] for end in ("from", "to")}
    checked = _checked({"from": parameter, "to": parameter}, ends, where)
    for end, value in checked.items():
        if parameter.kind is int and abs(value) > MOST_WHOLE:
            raise BookError(f"{where}: {end}={value} is beyond 2^53, where whole numbers end")
    low, high = float(checked["from"]), float(checked["to"])
    if not math.isfinite(high - low):
        raise BookError(f"{where}: from={low:g} to={high:g} is wider than numbers go")
    if not low < high:
        raise BookError(f"{where}: from={low:g} must be below to={high:g}")
    if spacing == "log" and low <= 0:
        raise BookError(f"{where}: from={low:g} must be positive in a logarithmic range")
    return low, high, spacing == "log"


def _rounded(value: float, parameter: Parameter) -> int | float:
    """Twelve digits, so that 0.1 is the same point in every grid; whole where it must be."""
    return round(value) if parameter.kind is int else float(f"{value:.12g}")


def _known(parameters: Mapping[str, Parameter], name: Any, where: str) -> Parameter:
    if not isinstance(name, str) or name not in parameters:
        overrides(parameters, {str(name): None}, where)  # says which there are
    return parameters[name]


def _checked(parameters: Mapping[str, Parameter], values: Values, where: str) -> Values:
    """Return the values by name and type, all finite; ``1e4`` does for a whole number."""
    whole = {
        name: int(value)
        if isinstance(value, float)
        and value.is_integer()
        and name in parameters
        and parameters[name].kind is int
        else value
        for name, value in values.items()
    }
    found = overrides(parameters, whole, where)
    for name, value in found.items():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, float) and not math.isfinite(item):
                raise BookError(f"{where}: {name}={item} is not a finite number")
    return found


def _plot(entry: Values, chapter: Chapter, where: str) -> Plot:
    unknown = sorted(set(entry) - {"x", "by", "y"})
    if unknown:
        raise BookError(f"{where}: it has {', '.join(unknown)}; it takes x, by, y")
    for axis in ("x", "by"):
        if axis in entry:
            parameter = _known(chapter.parameters, entry[axis], f"{where}, {axis}")
            if axis == "x" and parameter.kind not in (int, float):
                raise BookError(
                    f"{where}, x: {parameter.name} is {parameter.described}; an axis needs numbers"
                )
    panels = entry.get("y") or []
    if not isinstance(panels, list):
        panels = [panels]
    groups = tuple(
        tuple(str(name) for name in (panel if isinstance(panel, list) else [panel]))
        for panel in panels
    )
    return Plot(str(entry.get("x", "")), str(entry.get("by", "")), groups)
