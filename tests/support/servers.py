"""The book's two servers, ``make lab`` and ``make serve``, each on a book of its own."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trial

#: Seconds, far more than is needed, for a machine that does other things.
PATIENCE = 600


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
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
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


@contextmanager
def lab(root: Path, home: Path) -> Iterator[Lab]:
    """``bookrun lab`` on the book in ``root``, for a user who lives in ``home``.

    Where there is none, a copy of this repository's book is laid there.
    """
    home.mkdir(exist_ok=True)
    shutil.copy(trial.ROOT / "jupytext.toml", root)
    if not (root / "book").is_dir():
        shutil.copytree(trial.ROOT / "book", root / "book", ignore=shutil.ignore_patterns(".*"))
        for name in ("_toc.yml", "_config.yml"):
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
    flags += ["--LabApp.expose_app_in_browser=True"]  # as window.jupyterapp
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
        process.wait(PATIENCE)


def _address(runtime: Path, process: "subprocess.Popen[bytes]", log: Path) -> dict[str, Any]:
    """Where the server listens, once it does."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        for path in runtime.glob(f"jpserver-{process.pid}.json"):
            try:
                found: dict[str, Any] = json.loads(path.read_text())
                urllib.request.urlopen(f"{found['url']}api", timeout=PATIENCE).close()
            except (ValueError, OSError):
                continue
            return found
        time.sleep(0.1)
    raise AssertionError(f"no server: {log.read_text()[-2000:]}")


@contextmanager
def serve(root: Path, terminal: Path) -> Iterator[int]:
    """``bookrun serve`` on the book in ``root``, its output in a file; the port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "bookrun", "serve", "--port", str(port)]
    with terminal.open("wb") as stream:
        process = subprocess.Popen(command, cwd=root, stdout=stream, stderr=stream)
        try:
            _until_it_listens(port, process)
            yield port
        finally:
            process.terminate()
            assert process.wait(PATIENCE) == 130


def _until_it_listens(port: int, process: "subprocess.Popen[bytes]") -> None:
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
        except ConnectionRefusedError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"the server ended with {process.returncode}")


def save(path: Path, text: str) -> None:
    """A save in one step, as editors do it: nobody sees half of the text."""
    hidden = path.with_name(f".{path.name}")
    hidden.write_text(text, encoding="utf-8")
    hidden.replace(path)
