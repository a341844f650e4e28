"""Versions stand in one place: pyproject.toml names, requirements.lock pins, the rest refers."""

import importlib.metadata
import re
import sysconfig
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from bookrun.commands.lock import HEADER, pins
from bookrun.source import yaml

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "requirements.lock").read_text().splitlines()
PINS = {
    canonicalize_name(name): Version(version)
    for name, version in (line.split("==") for line in LOCK if not line.startswith("#"))
}
NAMED = [
    Requirement(text)
    for group in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    for text in group
]


@pytest.mark.parametrize("requirement", NAMED, ids=lambda requirement: requirement.name)
def test_every_name_in_pyproject_is_pinned_within_its_bound(requirement: Requirement) -> None:
    assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)])


def test_what_builds_the_project_is_pinned() -> None:
    assert "setuptools" in PINS


def test_the_lock_file_holds_plain_pins_only() -> None:
    assert LOCK[0] == HEADER
    assert LOCK[1:] == list(pins(LOCK[1:]))


def test_the_environment_file_refers_to_the_lock_file_and_pins_nothing_but_python() -> None:
    environment = yaml.read(ROOT / "environment.yml", "environment.yml")
    *conda, last = environment["dependencies"]
    python = next(entry for entry in conda if entry.startswith("python="))
    assert environment["name"] == "localgd"
    assert [entry for entry in conda if re.search(r"[=<>~]", entry)] == [python]
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(
        python.removeprefix("python=")
    )
    assert last == {"pip": ["-r requirements.lock", "-e ."]}


def test_every_pin_can_be_installed_on_the_oldest_python_that_is_promised() -> None:
    oldest = PROJECT["requires-python"].removeprefix(">=") + ".0"
    wanted = {name: importlib.metadata.metadata(name).get("Requires-Python") for name in PINS}
    too_new = {
        name: text
        for name, text in wanted.items()
        if text and not SpecifierSet(text).contains(oldest)
    }
    assert too_new == {}


def test_what_is_installed_is_what_is_pinned() -> None:
    installed = {
        canonicalize_name(found.metadata["Name"]): Version(found.version)
        for found in importlib.metadata.distributions(path=[sysconfig.get_path("purelib")])
    }
    differing = {
        name: (str(pin), str(installed.get(name, "absent")))
        for name, pin in PINS.items()
        if name not in installed or Version(installed[name].public) != pin
    }
    assert differing == {}


def test_freezing_leaves_out_what_belongs_to_one_machine() -> None:
    frozen = ["torch==2.13.0+cpu", "pip==25", "nvidia-cublas==1", "triton==3", "-e git+x", "b==1"]
    assert list(pins(["Abc==1.0", "# note", "", *frozen])) == ["Abc==1.0", "b==1", "torch==2.13.0"]


@pytest.mark.parametrize("line", ["a @ file:///tmp/a.whl", "--index-url https://x", "a>=1", "a"])
def test_freezing_refuses_what_is_not_a_pin(line: str) -> None:
    with pytest.raises(ValueError, match="is not NAME==VERSION"):
        list(pins([line]))


def test_the_citation_names_the_version_of_the_package() -> None:
    citation = yaml.read(ROOT / "CITATION.cff", "CITATION.cff")
    assert (citation["version"], citation["license"]) == (PROJECT["version"], PROJECT["license"])
