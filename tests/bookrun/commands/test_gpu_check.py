"""`make gpu-check`: what it does where there is no GPU, and that no part takes the others along."""

import json

import pytest
import torch

from bookrun.commands import gpu_check


@pytest.fixture
def made(monkeypatch):
    monkeypatch.setattr(gpu_check, "_made", lambda: {"device": "none"})


def test_without_a_gpu_there_is_one_clear_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu_check.main(["--output", str(tmp_path)]) == 0
    assert capsys.readouterr().out == (
        "gpu-check: PyTorch sees no GPU here, so there is nothing to check.\n"
    )
    assert not list(tmp_path.iterdir())


def test_each_part_is_saved_as_it_ends_and_a_failure_is_kept(tmp_path, monkeypatch, made):
    path = tmp_path / "gpu-check.json"

    def fails():
        raise RuntimeError("no such kernel")

    def looks_back():
        return {"saved": sorted(json.loads(path.read_text())["parts"])}

    monkeypatch.setattr(
        gpu_check, "PARTS", {"one": lambda: {"passed": True}, "two": fails, "three": looks_back}
    )
    gpu_check.check(path, 1, [])
    parts = json.loads(path.read_text())["parts"]
    assert parts["one"]["passed"]
    assert "no such kernel" in parts["two"]["error"]
    assert "in fails" in parts["two"]["traceback"]
    assert parts["three"]["saved"] == ["one", "two"]


def test_parts_beyond_the_time_are_said_to_be_left_out(tmp_path, monkeypatch, capsys, made):
    monkeypatch.setattr(gpu_check, "PARTS", {"one": dict, "two": dict})
    found = gpu_check.check(tmp_path / "gpu-check.json", 0, ["two"])
    assert found["parts"] == {}
    assert capsys.readouterr().out == "two: left out, the 0 minutes are over\n"


def test_parts_of_the_same_machine_are_kept_and_of_another_are_not(tmp_path, monkeypatch):
    path = tmp_path / "gpu-check.json"
    for device, asked, left in (
        ("a", "one", ["one"]),
        ("a", "two", ["one", "two"]),
        ("b", "one", ["one"]),
    ):
        monkeypatch.setattr(gpu_check, "_made", lambda device=device: {"device": device})
        monkeypatch.setattr(gpu_check, "PARTS", {"one": dict, "two": dict})
        gpu_check.check(path, 1, [asked])
        assert sorted(json.loads(path.read_text())["parts"]) == left


@pytest.mark.parametrize(
    ("part", "status", "line"),
    [
        ({"passed": True}, 0, "all parts passed"),
        ({"passed": False}, 1, "failed: one"),
        ({"error": "RuntimeError()"}, 1, "failed: one"),
    ],
)
def test_the_status_says_whether_a_part_failed(
    tmp_path, monkeypatch, capsys, made, part, status, line
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(gpu_check, "PARTS", {"one": lambda: part})
    assert gpu_check.main(["--output", str(tmp_path)]) == status
    assert line in capsys.readouterr().out
