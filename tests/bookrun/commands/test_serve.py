"""``make serve`` as a browser meets it: pages that follow what happens to the sources."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from tornado.websocket import WebSocketClientConnection, websocket_connect

import servers
import trial
from bookrun.project import Project

INTRO = "# A book\n\nThe number is 5.\n"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, int, Path]]:
    """A small book that is served, its port, and the file with what the terminal shows."""
    tmp_path = tmp_path_factory.mktemp("served")
    chapters = {"intro": INTRO, "one": trial.chapter_text("One", "x = 1\nx")}
    project = trial.make_project(tmp_path / "project", chapters)
    terminal = tmp_path / "terminal"
    with servers.serve(project.root, terminal) as port:
        yield project, port, terminal


async def connected(port: int) -> WebSocketClientConnection:
    return await websocket_connect(f"ws://127.0.0.1:{port}/_bookrun/news")


async def news(line: WebSocketClientConnection, state: str) -> dict[str, Any]:
    """The next news of this state."""
    while True:
        message = await asyncio.wait_for(_message(line), timeout=servers.PATIENCE)
        if message["state"] == state:
            return message


async def _message(line: WebSocketClientConnection) -> dict[str, Any]:
    text = await line.read_message()
    assert text is not None, "the server hung up"
    return dict(json.loads(text))


def page(port: int, name: str = "") -> str:
    with urlopen(f"http://127.0.0.1:{port}/{name}") as response:
        return str(response.read().decode())


def run(story: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(story())  # type: ignore[arg-type]


def test_a_save_reaches_the_browser_and_a_failure_is_told_and_mended(
    served: tuple[Project, int, Path],
) -> None:
    project, port, terminal = served

    async def story() -> None:
        line = await connected(port)
        assert "const served" in page(port)  # there is a page to wait on before the first build
        first = await news(line, "ready")
        assert first["site"]
        assert "The number is 5." in page(port, "intro.html")
        assert first["site"] in page(port, "one.html")

        chapter = project.book / "one.md"
        good = chapter.read_text()
        servers.save(chapter, good.replace("x = 1", "raise ValueError('seven')"))
        failed = await news(line, "failed")
        assert "ValueError: seven" in failed["text"]
        assert failed["site"] == first["site"]  # the old site stands
        assert "ValueError: seven" in terminal.read_text()

        servers.save(chapter, good.replace("x = 1", "x = 41 + 1"))
        mended = await news(line, "ready")
        assert mended["site"] != first["site"]
        assert mended["site"] in page(port, "one.html")
        assert "42" in page(port, "one.html")
        line.close()

    run(story)
    assert "_bookrun" not in (project.html / "one.html").read_text()  # not in the files on disk


def test_only_sources_make_it_build(served: tuple[Project, int, Path]) -> None:
    project, port, _ = served

    async def story() -> None:
        line = await connected(port)
        first = await news(line, "ready")
        (project.book / ".ipynb_checkpoints").mkdir()
        (project.book / ".ipynb_checkpoints" / "intro-checkpoint.md").write_text("# Old\n")
        (project.book / ".intro.md.swp").write_text("x")
        (project.book / "notes.txt").write_text("x")
        servers.save(project.book / "intro.md", INTRO.replace("5", "6"))
        message = await _message(line)
        assert message["state"] == "building"
        second = await news(line, "ready")
        assert second["site"] != first["site"]
        with pytest.raises(asyncio.TimeoutError):  # nothing else is under way
            await asyncio.wait_for(_message(line), timeout=2)
        line.close()

    run(story)


def test_nothing_outside_the_site_is_served(served: tuple[Project, int, Path]) -> None:
    project, port, _ = served

    async def story() -> None:
        line = await connected(port)
        await news(line, "ready")
        line.close()

    run(story)
    (project.build / "secret.html").write_text("secret")
    with socket.create_connection(("127.0.0.1", port)) as raw:
        request = "GET /../secret.html HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n\r\n"
        raw.sendall((request % port).encode())
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    assert b" 200 " not in answer.splitlines()[0]
    assert b"secret" not in answer.split(b"\r\n\r\n", 1)[1]


def answer(port: int, request: str) -> bytes:
    """The head of what a request, sent as it is, gets; a refused line may stay open after it."""
    received = b""
    with socket.create_connection(("127.0.0.1", port)) as raw:
        raw.sendall(request.encode())
        while b"\r\n" not in received:
            part = raw.recv(65536)
            assert part, f"{request!r} got nothing"
            received += part
    return received


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "localhost:1"]
)
def test_another_name_that_points_here_gets_nothing(
    served: tuple[Project, int, Path], host: str
) -> None:
    _, port, _ = served
    named = host.format(port=port)
    page = f"GET / HTTP/1.1\r\nHost: {named}\r\nConnection: close\r\n\r\n"
    assert b" 403 " in answer(port, page).splitlines()[0]
    line = (
        f"GET /_bookrun/news HTTP/1.1\r\nHost: {named}\r\nOrigin: http://{named}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    assert b" 403 " in answer(port, line).splitlines()[0]
    own = f"GET / HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n"
    assert b" 200 " in answer(port, own).splitlines()[0]


@pytest.mark.parametrize("path", ["a%00", "a%00.html", "a" * 5000, "a" * 5000 + ".html", "%ff%fe"])
def test_a_name_that_no_file_can_have_is_not_found(
    served: tuple[Project, int, Path], path: str
) -> None:
    _, port, _ = served
    request = f"GET /{path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
    status = answer(port, request).splitlines()[0]
    assert b" 404 " in status or b" 400 " in status


@pytest.mark.parametrize("signals", [["SIGTERM"], ["SIGTERM", "SIGTERM"], ["SIGINT", "SIGTERM"]])
def test_it_ends_however_often_it_is_told_to(tmp_path: Path, signals: list[str]) -> None:
    chapters = {"intro": INTRO, "one": trial.chapter_text("One", "import time\ntime.sleep(600)")}
    project = trial.make_project(tmp_path / "project", chapters)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "bookrun", "serve", "--port", str(port)],
        cwd=project.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        process.stdout.readline()  # it serves
        for name in signals:
            process.send_signal(getattr(signal, name))
        _, complaints = process.communicate(timeout=servers.PATIENCE)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert "Traceback" not in complaints


@pytest.mark.parametrize("port", ["0", "99999", "-1"])
def test_a_port_that_is_none_is_said_in_a_sentence(tmp_path: Path, port: str) -> None:
    project = trial.make_project(tmp_path, {"intro": INTRO})
    result = subprocess.run(
        [sys.executable, "-m", "bookrun", "serve", f"--port={port}"],
        cwd=project.root, capture_output=True, text=True, check=False, env=os.environ,
    )  # fmt: skip
    assert result.returncode == 1
    assert result.stderr.strip() == f"PORT={port} is no port: it is a number from 1 to 65535"


def test_a_port_that_is_taken_is_said_in_a_sentence(tmp_path: Path) -> None:
    project = trial.make_project(tmp_path, {"intro": INTRO})
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = subprocess.run(
            [sys.executable, "-m", "bookrun", "serve", "--port", str(port)],
            cwd=project.root, capture_output=True, text=True, check=False, env=os.environ,
        )  # fmt: skip
    assert result.returncode == 1
    assert f"PORT={port} cannot be used" in result.stderr
    assert "Traceback" not in result.stderr
