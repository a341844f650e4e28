"""A built wheel holds all that it needs: the README's example and a sweep's page come out of it."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

import trial

README = (trial.ROOT / "README.md").read_text(encoding="utf-8")
GRID = "chapter: one\nfixed: {n: 2}\ngrid: {k: [1, 3]}\nplot: {x: k, y: [product]}\n"
CHAPTER = trial.chapter_text(
    "One", "from bookrun import report\nreport('product', n * k)", parameters="n = 1\nk = 1"
)


def run(command: list[str], cwd: Path, **environment: str) -> str:
    """Return what the command prints on both streams; it has to succeed."""
    result = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment: the wheel, and what this one has besides."""
    root = tmp_path_factory.mktemp("wheel")
    source = root / "source"
    shutil.copytree(
        trial.ROOT / "lib",
        source / "lib",
        ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"),
    )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(trial.ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    plain = ["--no-deps", "--no-index"]
    run([*pip, "wheel", *plain, "--no-build-isolation", "--wheel-dir", str(root), "."], source)
    (wheel,) = root.glob("localgd-*.whl")
    home = root / "environment"
    venv.create(home, with_pip=False)
    found = home / "bin" / "python"
    run([*pip, "--python", str(found), "install", *plain, str(wheel)], root)
    packages = Path(run([str(found), "-c", PURELIB], root).strip())
    here = dict.fromkeys([sysconfig.get_path("purelib"), *map(str, _site_packages())])
    (packages / "others.pth").write_text("\n".join(here))
    return found


PURELIB = "import sysconfig; print(sysconfig.get_path('purelib'))"


def _site_packages() -> list[Path]:
    """The directories of installed packages that this interpreter searches."""
    return [Path(each) for each in sys.path if each.endswith("site-packages")]


def test_the_readmes_example_runs_from_the_wheel(python: Path, tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(from localgd import LeastSquares.*?)```", README, re.S)
    told = run([str(python), "-c", f"{code}\nimport localgd; print(localgd.__file__)"], tmp_path)
    assert told.splitlines()[-1].startswith(str(python.parents[1]))
    assert re.search(r"\brounds$", told.splitlines()[-2])


def test_a_sweeps_page_comes_out_of_the_wheel(python: Path, tmp_path: Path) -> None:
    project = trial.make_project(tmp_path, {"intro": "# A", "one": CHAPTER})
    (project.root / "one.yaml").write_text(GRID)
    jupyter = os.pathsep.join(str(each.parents[2] / "share/jupyter") for each in _site_packages())
    command = [str(python), "-m", "bookrun", "sweep", "one.yaml", "--jobs", "1"]
    told = run(command, project.root, JUPYTER_PATH=jupyter)
    page = Path(told.splitlines()[-1]).read_text(encoding="utf-8")
    assert "2 points" in page or "2 of 2" in page
    assert "<style>" in page
    assert "addEventListener" in page
    where = run([str(python), "-c", "import bookrun; print(bookrun.__file__)"], tmp_path)
    assert where.startswith(str(python.parents[1]))
