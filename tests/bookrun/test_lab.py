"""``make lab``: the chapters as JupyterLab meets them, through the server's contents API."""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from jupyter_client import BlockingKernelClient

import trial
from bookrun.project import Project

BOOK = trial.ROOT / "book"
CHAPTERS = Project(trial.ROOT).toc


@dataclass(frozen=True)
class Lab:
    """A running server on a copy of the book."""

    root: Path
    runtime: Path
    url: str
    token: str

    def ask(self, method: str, path: str, content: Any = None) -> Any:
        """One request to the server's API."""
        request = urllib.request.Request(
            f"{self.url}api/{path}",
            data=None if content is None else json.dumps(content).encode(),
            headers={"Authorization": f"token {self.token}", "Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            text = response.read()
        return json.loads(text) if text else None

    def open(self, chapter: str) -> dict[str, Any]:
        """A chapter as a double click gets it."""
        return dict(self.ask("GET", f"contents/book/{chapter}.md?type=notebook&content=1"))

    def save(self, chapter: str, notebook: Any) -> None:
        """A chapter as Ctrl-S leaves it."""
        model = {"type": "notebook", "format": "json", "content": notebook}
        self.ask("PUT", f"contents/book/{chapter}.md", model)

    def file(self, chapter: str) -> Path:
        """The chapter on disk."""
        return self.root / "book" / f"{chapter}.md"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """``bookrun lab`` on a copy of the book."""
    root, home = tmp_path_factory.mktemp("repository"), tmp_path_factory.mktemp("home")
    shutil.copytree(BOOK, root / "book", ignore=shutil.ignore_patterns(".*"))
    for name in ("jupytext.toml", "_toc.yml", "_config.yml"):
        shutil.copy(trial.ROOT / name, root)
    runtime = home / "runtime"
    environment = {
        **os.environ,
        "HOME": str(home),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(runtime),
        "IPYTHONDIR": str(home / "ipython"),
    }
    flags = ["--no-browser", "--ServerApp.port=0", "--ServerApp.ip=127.0.0.1", "--allow-root"]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "bookrun", "lab", "--", *flags],
            cwd=root, env=environment, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        found = _address(runtime, process, home / "log")
        yield Lab(root, runtime, found["url"], found["token"])
    finally:
        process.terminate()
        process.wait(30)


def _address(runtime: Path, process: "subprocess.Popen[bytes]", log: Path) -> dict[str, Any]:
    """Where the server listens, once it does."""
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        for path in runtime.glob(f"jpserver-{process.pid}.json"):
            try:
                found: dict[str, Any] = json.loads(path.read_text())
                urllib.request.urlopen(f"{found['url']}api", timeout=10).close()
            except (ValueError, OSError):
                continue
            return found
        time.sleep(0.1)
    raise AssertionError(f"no server: {log.read_text()[-2000:]}")


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_save_without_an_edit_leaves_the_file_as_it_was(lab: Lab, chapter: str) -> None:
    before = lab.file(chapter).read_bytes()
    model = lab.open(chapter)
    assert model["type"] == "notebook"
    cells = [cell for cell in model["content"]["cells"] if cell["cell_type"] == "code"]
    assert bool(cells) == (b"```{code-cell}" in before)
    lab.save(chapter, model["content"])
    assert lab.file(chapter).read_bytes() == before


def test_a_save_with_an_edit_changes_that_cell_alone(lab: Lab) -> None:
    before = lab.file("convex").read_text()
    content = lab.open("convex")["content"]
    first = next(cell for cell in content["cells"] if cell["cell_type"] == "code")
    first["source"] += "\nedited = True"
    lab.save("convex", content)
    try:
        after = lab.file("convex").read_text()
        assert after != before
        assert after.replace("\nedited = True", "") == before
    finally:
        lab.file("convex").write_text(before)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_outputs_and_what_a_run_leaves_never_reach_the_file(lab: Lab, chapter: str) -> None:
    before = lab.file(chapter).read_bytes()
    content = lab.open(chapter)["content"]
    for number, cell in enumerate(content["cells"], start=1):
        if cell["cell_type"] == "code":
            cell["execution_count"] = number
            cell["outputs"] = [
                {"output_type": "stream", "name": "stdout", "text": "a secret number"},
                {
                    "output_type": "execute_result",
                    "execution_count": number,
                    "data": {"text/plain": "a secret number"},
                    "metadata": {},
                },
            ]
            cell["metadata"] |= {
                "execution": {"iopub.status.busy": "2026-01-01T00:00:00Z"},
                "trusted": True,
                "scrolled": True,
                "collapsed": True,
                "jupyter": {"outputs_hidden": True},
            }
    content["metadata"]["language_info"] = {"name": "python", "version": "3.99.0"}
    content["metadata"]["widgets"] = {}
    lab.save(chapter, content)
    assert lab.file(chapter).read_bytes() == before
    # nor does anything stand beside it that git would take
    left = {path.name for path in (lab.root / "book").iterdir() if not path.name.startswith(".")}
    assert left == {path.name for path in BOOK.iterdir() if not path.name.startswith(".")}


def test_a_chapter_runs_with_the_projects_python_in_the_books_directory(lab: Lab) -> None:
    wish = {
        "path": "book/algorithm.md",
        "name": "algorithm.md",
        "type": "notebook",
        "kernel": {"name": lab.open("algorithm")["content"]["metadata"]["kernelspec"]["name"]},
    }
    session = lab.ask("POST", "sessions", wish)
    client = BlockingKernelClient(
        connection_file=str(lab.runtime / f"kernel-{session['kernel']['id']}.json")
    )
    client.load_connection_file()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        said: list[str] = []
        code = "import os, sys, localgd, bookrun; print(sys.prefix, os.getcwd(), sep='\\n')"
        reply = client.execute_interactive(
            code,
            timeout=60,
            output_hook=lambda message: said.append(message["content"].get("text", "")),
        )
        assert reply["content"]["status"] == "ok"
        prefix, directory = "".join(said).split()
        assert Path(prefix) == Path(sys.prefix)
        assert Path(directory) == lab.root / "book"
    finally:
        client.stop_channels()
        lab.ask("DELETE", f"sessions/{session['id']}")


def test_a_double_click_opens_a_notebook(lab: Lab) -> None:
    url = f"{lab.url}lab/api/settings/@jupyterlab/docmanager-extension:plugin"
    request = urllib.request.Request(url, headers={"Authorization": f"token {lab.token}"})
    with urllib.request.urlopen(request, timeout=60) as response:
        found = json.load(response)
    viewers = found["schema"]["properties"]["defaultViewers"]["default"]
    assert viewers["markdown"] == "Jupytext Notebook"
