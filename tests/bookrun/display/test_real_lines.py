"""Figures on stand-in data show the run on the real data beside their own."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import pyplot as plt

from bookrun import figure, real_run
from bookrun.display import figures, real_lines
from bookrun.display.style import GREY
from bookrun.errors import BookError
from bookrun.real_run import RealRun


@dataclass
class Source:
    kind: str
    name: str = "colon-cancer"
    sha256: dict[str, str] = field(default_factory=lambda: {"x.bz2": "ab" * 32})


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The records of the figures that were shown."""
    found: list[dict[str, Any]] = []

    def keep(data: Any, raw: bool = False, metadata: Any = None) -> None:
        found.append({**metadata["bookrun"]["figure"], "svg": data["image/svg+xml"]})

    monkeypatch.setattr("IPython.display.display", keep)
    monkeypatch.setenv(figures.PIPELINE, "1")
    return found


def drawing(scale: float = 1.0) -> Any:
    fig, (left, right) = plt.subplots(1, 2)
    n = np.arange(1000)
    left.plot(n, scale * np.exp(-n / 100), label="T=1")
    left.plot(n, scale * n)  # a guide, without a name
    left.axvline(3, label="where it bends")  # its heights are shares of the panel
    right.plot([1, 2], [scale / 3, 4], label="T=10")
    return fig


def show(path: Path, kind: str, label: str = "fig-2b") -> None:
    figure(drawing(), label=label, caption="C.", alt="a", sources=[Source(kind)], real=path)


def recorded(path: Path, lines: list[Any]) -> RealRun:
    found = RealRun("2026-11-26", "abc1234", {}, {"fig-2b": lines}, {"fig2b": "figure reproduced"})
    real_run.save(found, path)
    return found


def test_the_named_lines_are_kept_thinned_with_both_ends() -> None:
    first, second = real_lines.taken(drawing())
    assert (first["panel"], first["label"], second["panel"]) == (0, "T=1", 1)
    assert len(first["x"]) == real_lines.MOST_POINTS
    assert (first["x"][0], first["x"][-1]) == (0, 999)
    np.testing.assert_allclose(first["y"], np.exp(-np.array(first["x"]) / 100), rtol=1e-4)
    assert second["y"] == [0.33333, 4]
    plt.close("all")


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "real-run.json"
    assert real_run.load(path) is None
    found = recorded(path, real_lines.taken(drawing()))
    assert real_run.load(path) == found
    assert found.when == "26 November 2026, commit abc1234"
    plt.close("all")


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"format": "other"}', '{"format": "bookrun real-run 1"}']
)
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "real-run.json"
    path.write_text(text)
    with pytest.raises(BookError, match=r"real-run\.json: not what `make record-real` writes"):
        real_run.load(path)


def test_on_real_data_a_figure_keeps_its_lines_and_draws_no_others(
    shown: list[dict[str, Any]], tmp_path: Path
) -> None:
    path = tmp_path / "real-run.json"
    show(path, "real")
    recorded(path, real_lines.taken(drawing(5.0)))
    show(path, "real")
    assert shown[0]["svg"] == shown[1]["svg"]
    assert [line["label"] for line in shown[0]["lines"]] == ["T=1", "T=10"]
    assert shown[0]["data"] == Source("real").sha256
    assert shown[0]["caption"] == "C."


def test_on_a_stand_in_the_real_lines_are_drawn_and_the_caption_says_so(
    shown: list[dict[str, Any]], tmp_path: Path
) -> None:
    path = tmp_path / "real-run.json"
    show(path, "stand-in")  # nothing is recorded yet
    recorded(path, real_lines.taken(drawing(5.0)))
    show(path, "stand-in")
    show(path, "stand-in", label="fig-5")  # not among what is recorded
    without, beside, other = shown
    assert without["caption"].endswith(
        "**Drawn from stand-in data, not from the real colon-cancer.**"
    )
    assert beside["caption"] == without["caption"] + (
        " Grey, dotted: the same on the real data, recorded 26 November 2026, commit abc1234, "
        "not run again here."
    )
    assert beside["svg"].count(GREY) == 2 > without["svg"].count(GREY)
    assert other["caption"] == without["caption"]
    assert all("lines" not in record for record in shown)
    plt.close("all")
