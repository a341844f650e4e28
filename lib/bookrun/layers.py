"""Draws a graph without circles in layers, left to right: where its nodes and its lines go.

What rests on nothing stands in the first layer, everything else to the right of all that it rests
on. A line that passes a layer has a place there like a node. Parts of the graph that are not
connected lie one below the other, in the order of their first nodes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import NamedTuple

Point = tuple[float, float]
Uses = Mapping[str, Sequence[str]]

_SWEEPS = 30
_STRAIGHT = 4  # how much more the inside of a long line resists bending than its ends do


@dataclass(frozen=True)
class Box:
    """Where a node is drawn: its upper left corner and its size."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Drawing:
    """The box of each node, and the points on each line, from what is used to what uses it."""

    boxes: dict[str, Box]
    lines: dict[tuple[str, str], list[Point]]
    width: float
    height: float


class _Stop(NamedTuple):
    """A place in a layer: a node's, or that of a line to ``toward`` which passes there."""

    node: str
    layer: int
    toward: str = ""


def layers(uses: Uses) -> dict[str, int]:
    """The layer of each node: the length of the longest way down to what rests on nothing."""
    found: dict[str, int] = {}

    def depth(node: str) -> int:
        if node not in found:
            found[node] = 1 + max((depth(used) for used in uses[node]), default=-1)
        return found[node]

    for node in uses:
        depth(node)
    return found


def parts(uses: Uses) -> list[list[str]]:
    """The connected parts of the graph, each in the order of the nodes."""
    group = {node: {node} for node in uses}
    for node, below in uses.items():
        for used in below:
            merged = group[node] | group[used]
            group.update(dict.fromkeys(merged, merged))
    seen: dict[int, list[str]] = {}
    for node in uses:
        seen.setdefault(id(group[node]), []).append(node)
    return list(seen.values())


def draw(
    uses: Uses, sizes: Mapping[str, tuple[float, float]], gap: Point = (38.0, 12.0)
) -> Drawing:
    """Place nodes of the given sizes (width and height), at least ``gap`` apart.

    ``uses`` holds every node, with those that it rests on. The result is the same every time.
    """
    level = layers(uses)
    count = 1 + max(level.values(), default=-1)
    breadth = [max(sizes[node][0] for node in uses if level[node] == k) for k in range(count)]
    left = [sum(breadth[:k]) + k * gap[0] for k in range(count)]
    boxes: dict[str, Box] = {}
    lines: dict[tuple[str, str], list[Point]] = {}
    top = 0.0
    for members in parts(uses):
        chains = _chains({node: uses[node] for node in members}, level)
        start = [_Stop(node, level[node]) for node in members]
        columns = _ordered(start, chains)
        tall = {stop: 0.0 if stop.toward else sizes[stop.node][1] for c in columns for stop in c}
        middle = _heights(columns, chains, tall, gap[1])
        shift = top - min(y - tall[stop] / 2 for stop, y in middle.items())
        for stop in start:
            width, height = sizes[stop.node]
            y = middle[stop] + shift - height / 2
            boxes[stop.node] = Box(left[stop.layer], y, width, height)
        for used, *passing, user in chains:
            a, b = boxes[used.node], boxes[user.node]
            line = [(a.x + a.width, a.y + a.height / 2)]
            # level through a layer, past the broadest node of it, and on a slant between two
            line.append((left[used.layer] + breadth[used.layer], line[0][1]))
            for stop in passing:
                sides = left[stop.layer], left[stop.layer] + breadth[stop.layer]
                line += [(x, middle[stop] + shift) for x in sides]
            lines[used.node, user.node] = [*line, (b.x, b.y + b.height / 2)]
        top = max(y + tall[stop] / 2 for stop, y in middle.items()) + shift + 2 * gap[1]
    right = left[-1] + breadth[-1] if count else 0.0
    return Drawing(boxes, lines, right, max(top - 2 * gap[1], 0.0))


def _chains(uses: Uses, level: Mapping[str, int]) -> list[list[_Stop]]:
    """Each line as the stops it makes, one in every layer from one end to the other."""
    return [
        [
            _Stop(used, level[used]),
            *(_Stop(used, layer, user) for layer in range(level[used] + 1, level[user])),
            _Stop(user, level[user]),
        ]
        for user, below in uses.items()
        for used in dict.fromkeys(below)
    ]


def _ordered(start: Sequence[_Stop], chains: Sequence[Sequence[_Stop]]) -> list[list[_Stop]]:
    """The stops of each layer from top to bottom, with few crossings of lines."""
    stops = list(dict.fromkeys([*start, *(stop for chain in chains for stop in chain)]))
    count = 1 + max(stop.layer for stop in stops)
    columns = [[stop for stop in stops if stop.layer == k] for k in range(count)]
    near = _neighbours(chains)
    best = [list(column) for column in columns]
    for sweep in range(_SWEEPS):
        rightward = sweep % 2 == 0
        for k in range(count) if rightward else reversed(range(count)):
            beside = k - 1 if rightward else k + 1
            place = {stop: i for column in columns for i, stop in enumerate(column)}
            columns[k].sort(
                key=lambda stop, beside=beside, place=place: fmean(  # type: ignore[misc]
                    [place[other] for other, _ in near[stop] if other.layer == beside]
                    or [place[stop]]
                )
            )
        if _crossings(columns, chains) < _crossings(best, chains):
            best = [list(column) for column in columns]
    return best


def _crossings(columns: Sequence[Sequence[_Stop]], chains: Sequence[Sequence[_Stop]]) -> int:
    """How many pairs of lines cross between neighbouring layers."""
    place = {stop: i for column in columns for i, stop in enumerate(column)}
    pieces = dict.fromkeys(step for chain in chains for step in pairwise(chain))
    found = 0
    for k in range(len(columns) - 1):
        ends = [(place[a], place[b]) for a, b in pieces if a.layer == k]
        found += sum((a - c) * (b - d) < 0 for a, b in ends for c, d in ends)
    return found // 2


def _neighbours(chains: Sequence[Sequence[_Stop]]) -> dict[_Stop, list[tuple[_Stop, int]]]:
    """What each stop is joined to, and how stiff the joint is."""
    found: dict[_Stop, list[tuple[_Stop, int]]] = {}
    for chain in chains:
        for a, b in pairwise(chain):
            weight = _STRAIGHT if a.toward and b.toward else 1
            found.setdefault(a, []).append((b, weight))
            found.setdefault(b, []).append((a, weight))
    return found


def _heights(
    columns: Sequence[Sequence[_Stop]],
    chains: Sequence[Sequence[_Stop]],
    tall: Mapping[_Stop, float],
    gap: float,
) -> dict[_Stop, float]:
    """The height of each stop's middle: near those it is joined to, in order, with room between."""
    near = _neighbours(chains)
    room = [[(tall[a] + tall[b]) / 2 + gap for a, b in pairwise(column)] for column in columns]
    middle = {
        stop: sum(between[:i])
        for column, between in zip(columns, room, strict=True)
        for i, stop in enumerate(column)
    }
    for _ in range(_SWEEPS):
        for column, between in zip(columns, room, strict=True):
            wanted = [
                sum(weight * middle[other] for other, weight in near[stop])
                / sum(weight for _, weight in near[stop])
                if stop in near
                else middle[stop]
                for stop in column
            ]
            middle.update(zip(column, _spaced(wanted, between), strict=True))
    return middle


def _spaced(wanted: Sequence[float], room: Sequence[float]) -> list[float]:
    """The increasing heights nearest to those wanted, in least squares, with this room between."""
    offsets = [sum(room[:k]) for k in range(len(wanted))]
    blocks: list[list[float]] = []
    for value, offset in zip(wanted, offsets, strict=True):
        blocks.append([value - offset])
        while len(blocks) > 1 and fmean(blocks[-2]) > fmean(blocks[-1]):
            last = blocks.pop()
            blocks[-1] += last
    levels: Iterator[float] = (fmean(block) for block in blocks for _ in block)
    return [level + offset for level, offset in zip(levels, offsets, strict=True)]
