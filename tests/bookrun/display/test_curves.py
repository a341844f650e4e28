"""The band of several runs is their range, as far as all of them go."""

from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pytest

from bookrun.display.curves import band, columns, work

RUNS = [
    SimpleNamespace(loss=np.array([4.0, 2.0, 1.0]), local_steps=np.array([[0, 0], [3, 5], [2, 1]])),
    SimpleNamespace(loss=np.array([4.0, 3.0]), local_steps=np.array([[0, 0], [1, 1]])),
    SimpleNamespace(loss=np.array([4.0, 8.0, 0.0]), local_steps=np.array([[0, 0], [1, 1], [1, 1]])),
]


def test_columns_end_where_the_shortest_run_ends() -> None:
    np.testing.assert_array_equal(columns(RUNS, "loss"), [[4, 2], [4, 3], [4, 8]])


def test_work_counts_the_slowest_node_of_every_round() -> None:
    np.testing.assert_array_equal(work(RUNS[0]), [0, 5, 7])
    np.testing.assert_array_equal(columns(RUNS, work), [[0, 5], [0, 1], [0, 1]])


def test_a_band_is_the_median_within_the_range() -> None:
    mpl.use("agg")
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    band(ax, RUNS, color="red", label="three")
    (line,) = ax.lines
    np.testing.assert_array_equal(line.get_ydata(), [4, 3])
    (area,) = ax.collections
    bottom, top = area.get_paths()[0].get_extents().get_points()[:, 1]
    assert (bottom, top) == (pytest.approx(2), pytest.approx(8))
