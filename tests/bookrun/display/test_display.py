"""What a chapter shows: checks that are recorded and can fail, figures, banners, tables."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib import pyplot as plt

from bookrun import CheckFailed, FigureError, banner, check, figure, report, table
from bookrun.display import figures
from bookrun.display.reports import TRACES
from bookrun.ledger.evidence import collect
from bookrun.outputs import NUMBER, SWEEP, TRACE
from bookrun.outputs import outputs as carried


@dataclass
class Source:
    kind: str
    name: str = "colon-cancer"
    description: str = "62 samples"
    origin: str = "https://example.org/x"
    sha256: dict[str, str] = field(default_factory=lambda: {"x.bz2": "ab" * 32})


REAL, STAND_IN = Source("real"), Source("stand-in", description="noise <62×2000>", sha256={})


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """The outputs of one cell, as a notebook would keep them."""
    outputs: list[dict[str, Any]] = []

    def keep(data: Any, raw: bool = False, metadata: Any = None) -> None:
        data = data if raw else {"text/markdown": data.data}
        outputs.append({"output_type": "display_data", "data": data, "metadata": metadata or {}})

    monkeypatch.setattr("IPython.display.display", keep)
    monkeypatch.setenv(figures.PIPELINE, "1")
    yield outputs
    plt.close("all")


def notebook(outputs: list[dict[str, Any]]) -> dict[str, Any]:
    return {"cells": [{"cell_type": "code", "outputs": outputs}]}


@pytest.mark.parametrize(
    ("value", "bounds"),
    [
        (0.5, {"low": 0.5}),
        (0.5, {"high": 0.5}),
        (np.float64(0.5), {"low": 0, "high": 1}),
        (3, {"low": 3, "high": 3}),
        (float("inf"), {"low": 0}),
        (True, {}),
        (np.bool_(True), {}),
    ],
)
def test_check_inside_its_bounds_is_shown_and_recorded(
    shown: list[dict[str, Any]], value: float, bounds: dict[str, float]
) -> None:
    check("thm3", "the rate $\\rho$", value, **bounds, kind="corrected", cases=5)
    (found,) = collect(notebook(shown), "linear")
    assert (found.claim, found.kind, found.outcome, found.cases) == (
        "thm3",
        "corrected",
        "passed",
        5,
    )
    assert found.where == "chapter linear"
    assert r"\(\rho\)" in shown[0]["data"]["text/html"]
    assert "✓ the rate" in repr(shown[0]["data"]["text/plain"])


@pytest.mark.parametrize(
    ("value", "bounds", "rule"),
    [
        (0.4, {"low": 0.5}, "0.4 is not ≥ 0.5"),
        (0.6, {"high": 0.5}, "0.6 is not ≤ 0.5"),
        (-2, {"low": 0, "high": 1}, r"−2 is not in \[0, 1\]"),
        (float("nan"), {"low": 0}, "nan is not ≥ 0"),
        (float("nan"), {"high": 0, "low": 0}, "nan is not in"),
        (False, {}, "it does not hold"),
        (np.bool_(False), {}, "it does not hold"),
    ],
)
def test_check_outside_its_bounds_fails_and_is_shown(
    shown: list[dict[str, Any]], value: float, bounds: dict[str, float], rule: str
) -> None:
    with pytest.raises(CheckFailed, match=f"claim thm3, rate: {rule}"):
        check("thm3", "rate", value, **bounds)
    assert [item.outcome for item in collect(notebook(shown))] == ["failed"]


@pytest.mark.parametrize("value", [0.4, True, False, float("nan")])
def test_check_on_a_stand_in_neither_passes_nor_fails(
    shown: list[dict[str, Any]], value: float
) -> None:
    bounds = {} if isinstance(value, bool) else {"low": 0.5}
    check("fig2b", "rate", value, **bounds, source=STAND_IN)
    assert [item.outcome for item in collect(notebook(shown))] == ["not checked"]
    assert "not checked on stand-in data" in shown[0]["data"]["text/html"]


def test_check_on_real_data_is_a_check(shown: list[dict[str, Any]]) -> None:
    with pytest.raises(CheckFailed):
        check("fig2b", "rate", 0.4, low=0.5, source=REAL)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"value": 1.0}, ValueError),
        ({"value": True, "low": 0}, ValueError),
        ({"value": 1.0, "low": float("nan")}, ValueError),
        ({"value": 1.0, "low": 0, "kind": "hope"}, ValueError),
        ({"value": 1.0, "low": 0, "cases": 0}, ValueError),
        ({"value": "1", "low": 0}, TypeError),
        ({"value": np.array([1.0, 2.0]), "low": 0}, ValueError),
    ],
)
def test_a_check_that_could_not_fail_is_refused(
    shown: list[dict[str, Any]], arguments: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        check("thm3", "rate", **arguments)
    assert shown == []


def drawing() -> Any:
    fig, axes = plt.subplots()
    axes.plot([1, 2], [3, 4])
    return fig


def test_figure_is_sharp_the_same_every_time_and_closed(shown: list[dict[str, Any]]) -> None:
    for _ in range(2):
        figure(drawing(), label="fig", caption="A\n  line.", alt="one line", sources=[REAL])
    first, second = (output["data"]["image/svg+xml"] for output in shown)
    assert first == second
    assert "<dc:date>" not in first
    assert "<text" not in first
    assert plt.get_fignums() == []
    record = shown[0]["metadata"]["bookrun"]["figure"]
    assert record == {"label": "fig", "caption": "A line.", "alt": "one line"}


def test_figure_on_stand_in_data_says_so_in_its_caption(shown: list[dict[str, Any]]) -> None:
    figure(drawing(), label="fig", caption="A line.", alt="a", sources=[REAL, STAND_IN])
    caption = shown[0]["metadata"]["bookrun"]["figure"]["caption"]
    assert caption.endswith("**Drawn from stand-in data, not from the real colon-cancer.**")


def test_a_second_figure_in_a_cell_is_refused(
    shown: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = SimpleNamespace(execution_count=7)
    monkeypatch.setattr("IPython.core.getipython.get_ipython", lambda: shell)
    figure(drawing(), label="a", caption="A line.", alt="a line")
    with pytest.raises(FigureError, match="figure 'b' is the second one in its cell"):
        figure(drawing(), label="b", caption="A line.", alt="a line")
    shell.execution_count = 8
    figure(drawing(), label="b", caption="A line.", alt="a line")


@pytest.mark.parametrize("empty", ["label", "caption", "alt"])
def test_figure_without_a_text_is_refused(shown: list[dict[str, Any]], empty: str) -> None:
    texts = {"label": "fig", "caption": "A line.", "alt": "a line", empty: " "}
    with pytest.raises(FigureError, match=f"its {empty} is empty"):
        figure(drawing(), **texts)


def test_figure_shows_its_caption_to_a_person(
    shown: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(figures.PIPELINE)
    figure(drawing(), label="fig", caption="A line.", alt="a")
    assert "A line." in shown[1]["data"]["text/markdown"]


def test_banner_is_loud_on_a_stand_in_and_quiet_on_real_data(shown: list[dict[str, Any]]) -> None:
    banner(STAND_IN)
    banner(REAL)
    loud, quiet = (output["data"]["text/html"] for output in shown)
    assert "This page ran on stand-in data" in loud
    assert "Noise &lt;62×2000&gt;." in loud
    assert "stand-in" not in quiet
    assert "ab" * 32 in quiet
    assert "https://example.org/x" in quiet


def test_table_formats_numbers_and_sets_mathematics(shown: list[dict[str, Any]]) -> None:
    rows = [
        {"T": 1, "rate": np.float64(-0.25), "ok": np.bool_(True), "why": "$x^2$ & <b>"},
        {"T": 10, "rate": 1 / 3, "ok": False, "why": None},
    ]
    table(rows, caption="Rates", headings={"rate": r"$\rho$"}, formats={"rate": ".2e"})
    page = shown[0]["data"]["text/html"]
    cells = re.findall(r"<td[^>]*>(.*?)</td>", page)
    assert cells[:3] == ["1", "−2.50e−01", "yes"]
    assert r"\(x^2\)" in cells[3]
    assert "&amp; &lt;b&gt;" in cells[3]
    assert cells[4:] == ["10", "3.33e−01", "no", "–"]
    assert r"\(\rho\)" in page
    assert "<caption>Rates</caption>" in page
    with pytest.raises(ValueError, match="formats names nothing"):
        table(rows, formats={"nothing": "d"})
    with pytest.raises(ValueError, match="at least one row"):
        table([])


def test_in_a_sweep_a_check_outside_its_bounds_is_recorded_and_the_chapter_goes_on(
    shown: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CheckFailed):
        check("lem1", "slope", 3.0, high=2.0)
    monkeypatch.setenv(SWEEP, "1")
    check("lem1", "slope", 3.0, high=2.0)
    check("lem1", "slope", float("nan"), high=2.0)
    assert [item.outcome for item in collect(notebook(shown))] == ["failed"] * 3
    with pytest.raises(ValueError, match="needs a bound"):
        check("lem1", "slope", 3.0)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (0.25, 0.25),
        (3, 3),
        (np.float64(0.5), 0.5),
        (np.array(2), 2),
        (np.bool_(True), True),
        (float("inf"), "inf"),
        (float("nan"), "nan"),
    ],
)
def test_a_reported_number_is_shown_and_recorded(
    shown: list[dict[str, Any]], value: Any, kept: Any
) -> None:
    report("rate $\\rho$", value)
    records = [record for _, record in carried(notebook(shown), NUMBER)]
    assert records == [{"name": "rate $\\rho$", "value": kept}]
    assert "mathjax_process" in shown[0]["data"]["text/html"]
    assert collect(notebook(shown)) == []  # it speaks for no claim


class Saved:
    """A trace of two rows."""

    def __len__(self) -> int:
        return 2

    def save(self, path: Path) -> None:
        path.write_text("two rows")


def test_a_reported_trace_is_kept_where_a_sweep_wants_it(
    shown: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    report("T = 10 / run", Saved())
    assert shown == []
    monkeypatch.setenv(TRACES, str(tmp_path))
    report("T = 10 / run", Saved())
    records = [record for _, record in carried(notebook(shown), TRACE)]
    assert records == [{"name": "T = 10 / run", "file": "T-10-run.npz"}]
    assert (tmp_path / "T-10-run.npz").read_text() == "two rows"


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [("rate", "fast", TypeError), ("rate", np.ones(2), TypeError), (" ", 1.0, ValueError)],
)
def test_what_is_no_number_cannot_be_reported(name: str, value: Any, error: type) -> None:
    with pytest.raises(error, match="report"):
        report(name, value)
