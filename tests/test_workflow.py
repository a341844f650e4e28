"""The workflow for GitHub calls what there is: targets of the Makefile, the site's directory."""

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from bookrun.project import Project
from bookrun.sphinxext.repository import PAGES_BRANCH

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def jobs() -> dict[str, Any]:
    found = YAML(typ="safe").load(ROOT / ".github" / "workflows" / "book.yml")
    assert isinstance(found, dict)
    return dict(found["jobs"])


def test_it_does_what_a_change_has_to_pass(jobs: dict[str, Any]) -> None:
    typed = [step["run"] for step in jobs["book"]["steps"] if "run" in step]
    required = re.findall(r"^make \w+$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    assert typed == required
    targets = re.findall(r"^([\w-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {line.removeprefix("make ") for line in typed} <= set(targets)


def test_it_publishes_the_site_once_all_has_passed(jobs: dict[str, Any]) -> None:
    (upload,) = [step for step in jobs["book"]["steps"] if "upload" in step.get("uses", "")]
    assert ROOT / upload["with"]["path"] == Project(ROOT).html
    assert jobs["publish"]["needs"] == "book"
    download, publish = [step["with"] for step in jobs["publish"]["steps"]]
    assert download["name"] == upload["with"]["name"]
    assert download["path"] == publish["publish_dir"]
    assert publish["publish_branch"] == PAGES_BRANCH
    only = "github.ref == 'refs/heads/main'"
    assert upload["if"] == jobs["publish"]["if"] == only
