"""The table and the page of a sweep, from points whose runs are written down here."""

import base64
import re
from pathlib import Path

import pandas as pd
import pytest
from bs4 import BeautifulSoup

import trial
from bookrun.project import Project
from bookrun.sweeps import grid, page, results
from bookrun.sweeps.plots import panels
from bookrun.sweeps.points import FAILED, OK, OUTSIDE, Found, Point, points_of, sweeps_directory
from bookrun.sweeps.results import Results

CHAPTER = trial.chapter_text("One", "1", parameters='steps = 10\neta = 0.5\nrate = 1.0\nkind = "a"')
GRID = """\
question: What does <T> buy?
chapter: one
fixed: {kind: b}
grid: {steps: [100, 1], eta: [0.1, 0.5]}
"""


def check(name: str, value: float, outcome: str) -> dict[str, object]:
    return {"name": name, "value": value, "outcome": outcome}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return trial.make_project(tmp_path, {"intro": "# A", "one": CHAPTER})


def swept(project: Project, text: str = GRID) -> tuple[list[Point], grid.Grid]:
    path = project.root / "sweeps" / "trial.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    found = grid.load(project, path)
    return points_of(project, found), found


@pytest.fixture
def found(project: Project) -> Results:
    """Three of four points: one as it should be, one outside its bounds, one that failed."""
    points, made = swept(project)
    numbers = {"rounds": 7, "rate": 0.25, "flat": "inf", "done": True}
    first = Found(OK, 1.0, numbers=numbers, checks=[check("slope", 2.0, "passed")])
    points[0].keep(first, {"one.ipynb": b"{}", "one.html": b"<p>", "run.npz": b""})
    second = Found(
        OUTSIDE, 2.0, attempts=2, numbers={"rounds": 700}, traces={"run": "run.npz"},
        checks=[check("slope", 3.0, "failed"), check("rounds", 1.0, "not checked")],
    )  # fmt: skip
    points[3].keep(second, {"one.ipynb": b"{}", "one.html": b"<p>", "run.npz": b""})
    points[2].keep(Found(FAILED, 0.5, error="ValueError: <no>"), {"one.ipynb": b"{}"})
    gathered = results.gather(made, points, sweeps_directory(project) / made.name)
    results.write(gathered)
    page.write(project, gathered, len(points))
    return gathered


def test_the_table_is_sorted_and_has_every_number(found: Results) -> None:
    frame = found.frame
    assert list(frame["steps"]) == [1, 1, 100]
    assert list(frame["eta"]) == [0.1, 0.5, 0.1]
    assert list(frame["kind"]) == ["b"] * 3
    assert list(frame["status"]) == [FAILED, OUTSIDE, OK]
    assert frame["rate (number)"].iloc[2] == 0.25  # rate is a parameter
    assert frame["rounds (check)"].iloc[1] == 1.0  # rounds is a reported number
    assert frame["flat"].iloc[2] == float("inf")
    assert list(frame["outside"]) == ["", "slope", ""]
    assert list(frame["attempts"]) == [1, 2, 1]
    assert found.numbers == ("rounds", "rate (number)", "flat", "done")
    assert "failed: steps=1, eta=0.1: ValueError: <no>" in found.summary


def test_both_files_hold_the_same_table_and_its_links_lead_somewhere(found: Results) -> None:
    parquet = pd.read_parquet(found.directory / "results.parquet")
    csv = pd.read_csv(
        found.directory / "results.csv", keep_default_na=False, na_values={"rounds": [""]}
    )
    assert list(parquet.columns) == list(csv.columns) == list(found.frame.columns)
    assert list(parquet["rounds"].dropna()) == list(csv["rounds"].dropna()) == [700.0, 7.0]
    pd.testing.assert_frame_equal(parquet, found.frame, check_dtype=False)
    links = [link for name in ("notebook", "page", "traces") for link in parquet[name] if link]
    assert len(links) == 3 + 2 + 1
    assert all((found.directory / link).is_file() for link in links)


def test_the_page_says_what_was_asked_and_how_it_went(found: Results) -> None:
    text = found.page.read_text()
    soup = BeautifulSoup(text, "html.parser")
    assert soup.h1.get_text() == "What does <T> buy?"
    lead = soup.select_one(".lead").get_text()
    assert "1 of 4 points" in lead
    assert "1 with a check outside" in lead
    assert "1 failed; 1 not run yet." in lead
    assert "stand-in data" in lead
    assert "kind = b" in lead
    assert "ValueError: <no>" in soup.select_one("section.failed").get_text()
    rows = [row.get_text(" ", strip=True) for row in soup.select("tbody tr")]
    assert len(rows) == 3
    assert "run 2 times" in rows[1]
    for link in soup.select("a[href]"):
        assert (found.directory / link["href"]).is_file(), link["href"]
    assert not re.search(r'(?:src|href)="?https?:', text)
    assert "make sweep GRID=sweeps/trial.yaml" in soup.footer.get_text()


def test_each_number_has_a_plot_that_is_described(found: Results) -> None:
    drawn = panels(found)
    assert [panel.heading.partition(" against")[0] for panel in drawn] == list(found.numbers)
    assert "rounds from 7 at " in drawn[0].alt
    assert "to 700 at " in drawn[0].alt
    for panel in drawn:
        picture = base64.b64decode(panel.picture.partition(",")[2])
        assert picture.startswith(b"<?xml")
    images = BeautifulSoup(found.page.read_text(), "html.parser").select("figure img")
    assert [image["alt"] for image in images] == [panel.alt for panel in drawn]


def test_the_grid_file_says_what_is_drawn(project: Project) -> None:
    text = GRID + "plot: {x: eta, by: steps, y: [[rounds, bound], gone, slope]}\n"
    points, made = swept(project, text)
    for k, point in enumerate(points):
        numbers = {"rounds": 10 * k + 1, "bound": 2 * k + 1}
        point.keep(Found(OK, 1.0, numbers=numbers, checks=[check("slope", k, "passed")]), {})
    gathered = results.gather(made, points, sweeps_directory(project) / "trial")
    headings = [panel.heading for panel in panels(gathered)]
    assert headings == ["rounds and bound against eta", "slope against eta"]


def test_a_sample_is_drawn_against_each_of_its_parameters(project: Project) -> None:
    text = (
        "chapter: one\nsample: {count: 8, parameters: {eta: {from: 0, to: 1},"
        " rate: {from: 0, to: 1}}}"
    )
    points, made = swept(project, text)
    for k, point in enumerate(points):
        point.keep(Found(OK, 1.0, numbers={"rounds": k}), {})
    gathered = results.gather(made, points, sweeps_directory(project) / "trial")
    assert [panel.heading for panel in panels(gathered)] == [
        "rounds against eta",
        "rounds against rate",
    ]


def test_a_sweep_without_a_run_has_a_page_as_well(project: Project) -> None:
    points, made = swept(project)
    gathered = results.gather(made, points, sweeps_directory(project) / "trial")
    results.write(gathered)
    page.write(project, gathered, len(points))
    assert "4 not run yet" in gathered.page.read_text()
    assert gathered.summary == "0 points: none"


def test_whatever_a_grid_may_hold_survives_to_every_table(project: Project) -> None:
    large = 10**30
    text = "chapter: one\ngrid: {steps: [%d, 1, -%d], kind: ['=1+1', '<b>\\u2028', 'ä;,']}\n"
    text += "plot: {x: steps}\n"
    points, made = swept(project, text % (large, large))
    numbers = {"huge": 10**400, "seconds": 1, "seconds (number)": 2}
    for point in points:
        point.keep(Found(OK, 1.0, numbers=numbers), {})
    gathered = results.gather(made, points, sweeps_directory(project) / made.name)
    results.write(gathered)
    shown = page.page(project, gathered, len(points))
    stored = pd.read_parquet(gathered.directory / "results.parquet")
    assert list(stored["steps"]) == [str(v) for v in (-large, 1, large) for _ in range(3)]
    assert set(stored["kind"]) == {"=1+1", "<b>\\u2028", "ä;,"}
    assert set(stored["huge"]) == {float("inf")}
    assert sorted(gathered.numbers) == ["huge", "seconds (number)", "seconds (number)′"]
    written = pd.read_csv(gathered.directory / "results.csv", dtype=str)
    assert list(written["steps"]) == list(stored["steps"])
    assert str(large) in shown
    assert "<b>" not in BeautifulSoup(shown, "html.parser").find("table").decode_contents()
    assert panels(gathered) == []
