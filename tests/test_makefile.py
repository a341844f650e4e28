"""What is typed after make reaches the command as it was typed."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from trial import ROOT

SHOW = """\
#!/bin/sh
exec python3 -c 'import json, sys; print(json.dumps(sys.argv[1:]))' "$@"
"""


def typed(tmp_path: Path, *words: str) -> list[str]:
    """What `make` with these words calls Python with."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "sweeps").mkdir()
    for name in ("requirements.lock", "pyproject.toml", ".venv/bin/python", ".venv/.complete"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SHOW)
    (tmp_path / ".venv/bin/python").chmod(0o755)
    outside = {"PATH": os.environ["PATH"]}  # without what a make that runs these tests exports
    result = subprocess.run(
        ["make", *words], cwd=tmp_path, capture_output=True, text=True, check=False, env=outside
    )
    assert result.returncode == 0, result.stderr
    found: list[str] = json.loads(result.stdout)
    return found


@pytest.mark.parametrize(
    "value", ["problem=it's", 'problem="it\'s"', "a=1 b='two words'", "a=`id`;b=*", "", "x=\\"]
)
def test_parameters_reach_the_chapter_as_they_are(tmp_path: Path, value: str) -> None:
    found = typed(tmp_path, "chapter", "CHAPTER=one", f"PARAMS={value}")
    assert found == ["-m", "bookrun", "chapter", "one", "--profile", "quick", "--params", value]


@pytest.mark.parametrize("name", ["sweeps/my grid.yaml", "sweeps/it's.yaml", 'a "b".yaml', "$$x"])
def test_a_grid_may_have_any_name(tmp_path: Path, name: str) -> None:
    found = typed(tmp_path, "sweep", f"GRID={name}", "JOBS=2", "ARGS=--dry-run --every 5")
    grid = name.replace("$$", "$")
    assert found == ["-m", "bookrun", "sweep", grid, "--jobs", "2", "--dry-run", "--every", "5"]


def test_what_is_not_typed_is_not_handed_over(tmp_path: Path) -> None:
    assert typed(tmp_path, "record-check") == ["-m", "bookrun", "record-check"]
