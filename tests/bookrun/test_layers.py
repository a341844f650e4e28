"""The drawing of a graph: everything to the right of what it rests on, and nothing in the way."""

import itertools

import pytest

from bookrun.layers import Drawing, draw, layers, parts

#: The shape of the book's own graph, in small: a long line, a fan, two parts.
USES = {
    "asm1": [],
    "asm2": [],
    "lem1": ["asm1"],
    "thm2": ["lem1"],
    "thm3": ["lem1", "asm2"],
    "fig2b": ["thm3", "asm1"],
    "lem6": [],
    "thm7": ["lem6"],
}
SIZES = {name: (40.0 + 5 * len(name), 30.0 + 4 * (len(name) % 3)) for name in USES}


@pytest.fixture(scope="module")
def drawing() -> Drawing:
    return draw(USES, SIZES, gap=(40.0, 10.0))


def test_a_layer_is_the_longest_way_down() -> None:
    assert layers(USES) == {
        "asm1": 0, "asm2": 0, "lem1": 1, "thm2": 2, "thm3": 2, "fig2b": 3, "lem6": 0, "thm7": 1,
    }  # fmt: skip


def test_parts_keep_the_order_of_the_rows() -> None:
    assert parts(USES) == [
        ["asm1", "asm2", "lem1", "thm2", "thm3", "fig2b"],
        ["lem6", "thm7"],
    ]


def test_every_node_has_its_size_and_lies_in_the_drawing(drawing: Drawing) -> None:
    assert list(drawing.boxes) == list(USES)
    for name, box in drawing.boxes.items():
        assert (box.width, box.height) == SIZES[name]
        assert box.x >= 0
        assert box.y >= -1e-9
        assert box.x + box.width <= drawing.width + 1e-9
        assert box.y + box.height <= drawing.height + 1e-9


def test_nodes_keep_their_distance(drawing: Drawing) -> None:
    for a, b in itertools.combinations(drawing.boxes.values(), 2):
        beside = a.x + a.width < b.x or b.x + b.width < a.x
        below = a.y + a.height + 10 <= b.y + 1e-9 or b.y + b.height + 10 <= a.y + 1e-9
        assert beside or below


def test_lines_run_from_what_is_used_to_what_uses_it(drawing: Drawing) -> None:
    assert set(drawing.lines) == {(used, user) for user, below in USES.items() for used in below}
    for (used, user), points in drawing.lines.items():
        a, b = drawing.boxes[used], drawing.boxes[user]
        assert points[0] == (a.x + a.width, a.y + a.height / 2)
        assert points[-1] == (b.x, b.y + b.height / 2)
        assert all(p[0] <= q[0] for p, q in itertools.pairwise(points))


def test_no_line_runs_through_a_node(drawing: Drawing) -> None:
    for ends, points in drawing.lines.items():
        for (x0, y0), (x1, y1) in itertools.pairwise(points):
            for name, box in drawing.boxes.items():
                if name not in ends and x0 < box.x + box.width and box.x < x1:
                    low, high = min(y0, y1), max(y0, y1)
                    assert high < box.y or box.y + box.height < low, (ends, name)


def test_crossings_that_can_be_avoided_are() -> None:
    crossed = {"a": [], "b": [], "c": [], "z": ["c"], "y": ["b"], "x": ["a"]}
    boxes = draw(crossed, dict.fromkeys(crossed, (30.0, 20.0))).boxes
    assert boxes["x"].y == boxes["a"].y
    assert boxes["z"].y == boxes["c"].y
    joined = {"a": [], "b": [], "z": ["b"], "y": ["b", "a"], "x": ["a"]}
    boxes = draw(joined, dict.fromkeys(joined, (30.0, 20.0))).boxes
    rises = (boxes["x"].y - boxes["z"].y) * (boxes["a"].y - boxes["b"].y)
    assert rises > 0


def test_the_drawing_is_the_same_every_time(drawing: Drawing) -> None:
    assert draw(USES, SIZES, gap=(40.0, 10.0)) == drawing


def test_no_rows_make_an_empty_drawing() -> None:
    assert draw({}, {}) == Drawing({}, {}, 0.0, 0.0)
