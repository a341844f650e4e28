"""`make record-real`: what it keeps of the executed chapters, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest

import trial
from bookrun import real_run
from bookrun.cli import main
from bookrun.commands import record_real
from bookrun.project import Project

LEDGER = """\
- id: fig2b
  place: Figure 2(b)
  statement: It falls.
  label: fig-2b
  kind: figure
  checks: [one]
- id: lem1
  place: Lemma 1
  statement: It holds.
  label: lem-1
  checks: [two]
"""
LINE = {"panel": 0, "label": "T=1", "x": [0.0, 1.0], "y": [1.0, 0.5]}


def check(claim: str, outcome: str) -> dict[str, Any]:
    return {"claim": claim, "kind": "numeric", "name": "a", "outcome": outcome, "cases": 1}


def figure(**more: Any) -> dict[str, Any]:
    return {"label": "fig-2b", "caption": "C.", "alt": "a", **more}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A chapter that uses data and one that uses none; both count as executed as they are."""
    data = "bookrun:\n  data: [colon-cancer]\n"
    made = trial.make_project(
        tmp_path,
        {
            "intro": "# A",
            "one": trial.chapter_text("One", "1", extra=data),
            "two": trial.chapter_text("Two", "1"),
        },
        LEDGER,
    )
    monkeypatch.setattr(record_real, "inputs_of", lambda *given: given)
    monkeypatch.setattr(record_real, "reasons", lambda project, now: [])
    monkeypatch.chdir(tmp_path)
    return made


def executed(project: Project, chapter: str, **carried: dict[str, Any]) -> None:
    outputs = [{"metadata": {"bookrun": {key: record}}} for key, record in carried.items()]
    path = project.executed("quick", chapter)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"cells": [{"outputs": outputs}], "metadata": {}}))


def test_lines_and_verdicts_of_what_needs_data_are_kept(project: Project) -> None:
    executed(
        project,
        "one",
        check=check("fig2b", "passed"),
        figure=figure(lines=[LINE], data={"x.bz2": "ab"}),
    )
    executed(project, "two", check=check("lem1", "passed"))
    assert main(["record-real"]) == 0
    found = real_run.load(project.recorded("real-run"))
    assert found is not None
    assert (found.figures, found.data) == ({"fig-2b": [LINE]}, {"x.bz2": "ab"})
    assert found.verdicts == {"fig2b": "figure reproduced"}


def test_a_chapter_on_stand_in_data_is_refused(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    executed(project, "one", check=check("fig2b", "not checked"), figure=figure())
    assert main(["record-real"]) == 1
    assert capsys.readouterr().err == "one was executed on stand-in data\n"
    assert not project.recorded("real-run").exists()


def test_a_chapter_that_has_changed_is_refused(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(record_real, "reasons", lambda project, now: ["its code changed"])
    assert main(["record-real"]) == 1
    assert "one has changed since it was executed: make book comes first" in capsys.readouterr().err
