"""``make serve``: the site on this machine, rebuilt on every save, with browsers that follow."""

import argparse
import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import tornado.web
import tornado.websocket
from watchfiles import Change, awatch

from bookrun.commands import add_jobs, add_profile
from bookrun.errors import BookError
from bookrun.project import Project
from bookrun.source.chapters import check_profile

_ADDRESS = "127.0.0.1"
_NEWS = "_bookrun/news"
#: A build that is told to end has so long to stop what it has started.
_GRACE_SECONDS = 30.0
#: What a save has to touch for the book to be built again.
_SOURCE = re.compile(r"\.(md|py|yml|yaml|bib|css|js|json|lock|png|svg)$")

#: Put into each page on its way out: shows how a build stands, and reloads when a new site does.
_FOLLOW = """\
<script>
(() => {
  const served = %(site)s;
  const note = document.createElement("div");
  note.id = "bookrun-news";
  note.setAttribute("role", "status");
  note.style.cssText = "position:fixed;bottom:0;left:0;right:0;z-index:2000;margin:0;"
    + "padding:.4rem .9rem;font:14px/1.5 system-ui,sans-serif;white-space:pre-wrap;"
    + "max-height:40vh;overflow:auto;color:#fff;display:none";
  const listen = () => {
    document.body.append(note);
    const socket = new WebSocket(`ws://${location.host}/%(news)s`);
    socket.onmessage = (event) => {
      const news = JSON.parse(event.data);
      if (news.site && news.site !== served) return location.reload();
      note.textContent = news.text;
      note.style.background = news.state === "failed" ? "#a12622" : "#3a4553";
      note.style.display = news.state === "ready" ? "none" : "block";
    };
    socket.onclose = () => setTimeout(listen, 1000);
  };
  listen();
})();
</script>
"""
_NO_SITE = "<!DOCTYPE html><html lang=en><title>The book</title><body></body></html>"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the profile, how many chapters run at once, and the port."""
    add_profile(parser)
    add_jobs(parser)
    parser.add_argument("--port", type=int, default=8000)


def run(project: Project, options: argparse.Namespace) -> int:
    """Serve until interrupted."""
    check_profile(options.profile)
    asyncio.run(serve(project, options.profile, options.jobs, options.port))
    return 0


class News:
    """News for the browsers: which site stands, and how the next one is coming along."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.listeners: set[tornado.websocket.WebSocketHandler] = set()
        self.state, self.text = "building", "The book is being built."

    @property
    def site(self) -> str:
        """The stamp of the site that stands; empty where there is none."""
        with contextlib.suppress(FileNotFoundError):
            return (self.project.html / ".bookrun").read_text(encoding="utf-8")
        return ""

    def tell(self, state: str, text: str = "") -> None:
        """Tell every browser that listens, and those that come later."""
        self.state, self.text = state, text
        for listener in list(self.listeners):
            with contextlib.suppress(tornado.websocket.WebSocketClosedError):
                listener.write_message(self.message)

    @property
    def message(self) -> str:
        """The news as it travels."""
        return json.dumps({"site": self.site, "state": self.state, "text": self.text})


def refuse_others(handler: tornado.web.RequestHandler) -> None:
    """Refuse a request that is made in another name than this machine's own.

    A page elsewhere whose name is made to point here would be of the same origin as the site.
    """
    port = handler.application.settings["port"]
    if handler.request.host not in {f"{name}:{port}" for name in (_ADDRESS, "localhost")}:
        raise tornado.web.HTTPError(403)


class NewsHandler(tornado.websocket.WebSocketHandler):
    """The line on which a browser listens."""

    def initialize(self, news: News) -> None:
        """Know whom to ask."""
        self.news = news

    def prepare(self) -> None:
        """Answer in this machine's own name alone."""
        refuse_others(self)

    def open(self, *_path: str, **_names: str) -> None:
        """Tell a browser that has just come how things stand."""
        self.news.listeners.add(self)
        self.write_message(self.news.message)

    def on_close(self) -> None:
        """Forget a browser that has gone."""
        self.news.listeners.discard(self)


class SiteHandler(tornado.web.StaticFileHandler):
    """The site's files, of which no browser keeps a copy; pages follow the news."""

    def initialize(self, path: str, news: News) -> None:  # type: ignore[override]
        """Serve the files below ``path``."""
        super().initialize(path, default_filename="index.html")
        self.news = news

    def prepare(self) -> None:
        """Answer in this machine's own name alone."""
        refuse_others(self)

    def set_extra_headers(self, path: str) -> None:
        """Let nothing be kept: the next build may change it."""
        self.set_header("Cache-Control", "no-store")

    def compute_etag(self) -> str | None:
        """Mark no version: nothing is kept that could be compared with it."""
        return None

    async def get(self, path: str, include_body: bool = True) -> None:
        """Send a page with the script that follows the news, and other files as they are."""
        try:
            await self._send(path, include_body)
        except (OSError, ValueError):  # no name that a file could have
            raise tornado.web.HTTPError(404) from None

    async def _send(self, path: str, include_body: bool) -> None:
        page = path or "index.html"
        file = (Path(self.root) / page).resolve()
        if not page.endswith(".html") or not file.is_relative_to(Path(self.root).resolve()):
            await super().get(path, include_body)
            return
        site = self.news.site
        if file.is_file():
            text = file.read_text(encoding="utf-8")
        elif not site:
            text = _NO_SITE
        else:
            raise tornado.web.HTTPError(404)
        self.set_header("Content-Type", "text/html; charset=UTF-8")
        self.set_extra_headers(path)
        before, body, after = text.rpartition("</body>")
        follow = _FOLLOW % {"site": json.dumps(site), "news": _NEWS}
        self.write("".join([before, follow, body, after]))


async def serve(project: Project, profile: str, jobs: int | None, port: int) -> None:
    """Serve the site, and build it again whenever a source is saved, until interrupted.

    A build that fails is shown in the terminal and in the browser; the next save tries again.
    Raises ``BookError`` when the port is taken or none, and ``KeyboardInterrupt`` once it has ended
    after a signal.
    """
    if not 1 <= port <= 65535:
        raise BookError(f"PORT={port} is no port: it is a number from 1 to 65535")
    serving = asyncio.ensure_future(_serve(project, profile, jobs, port))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, serving.cancel)
    try:
        await serving
    except asyncio.CancelledError:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)  # it has heard, and ends
        raise KeyboardInterrupt from None


async def _serve(project: Project, profile: str, jobs: int | None, port: int) -> None:
    news = News(project)
    application = tornado.web.Application(
        [
            (f"/{_NEWS}", NewsHandler, {"news": news}),
            ("/(.*)", SiteHandler, {"path": str(project.html), "news": news}),
        ],
        log_function=lambda _handler: None,
        port=port,
    )
    try:
        server = application.listen(port, _ADDRESS)
    except OSError as error:
        raise BookError(
            f"PORT={port} cannot be used ({error.strerror}): try make serve PORT={port + 1}"
        ) from None
    saved = asyncio.Event()
    saved.set()  # what was saved before counts as well
    watchers = [asyncio.create_task(_watch(changes, saved)) for changes in _changes(project)]
    print(f"http://{_ADDRESS}:{port}/ (rebuilt on every save; Ctrl-C ends it)")
    try:
        while True:
            await saved.wait()
            saved.clear()
            news.tell("building", "A source was saved: building …")
            complaint = await _build(project, profile, jobs)
            news.tell("failed" if complaint else "ready", complaint)
    finally:
        server.stop()
        for task in watchers:
            task.cancel()


def _changes(project: Project) -> list[AsyncIterator[Any]]:
    """Return the saves in the sources' directories, and those of the files at the root."""
    below = [project.root / name for name in ("book", "lib", "recorded")]
    return [
        awatch(*(path for path in below if path.is_dir()), watch_filter=_is_source),
        awatch(project.root, watch_filter=_is_source, recursive=False),
    ]


def _is_source(_change: Change, name: str) -> bool:
    """Return whether a save can change the book: editors also leave copies with hidden names."""
    path = Path(name)
    return bool(_SOURCE.search(path.name)) and not any(
        part.startswith(".") for part in (path.name, path.parent.name)
    )


async def _watch(changes: AsyncIterator[Any], saved: asyncio.Event) -> None:
    async for _ in changes:
        saved.set()


async def _build(project: Project, profile: str, jobs: int | None) -> str:
    """Build in a process of its own, which reads the library anew; what went wrong, if anything."""
    command = [sys.executable, "-m", "bookrun", "build", "--profile", profile]
    command += ["--jobs", str(jobs)] if jobs else []
    process = await asyncio.create_subprocess_exec(
        *command, cwd=project.root, stderr=asyncio.subprocess.PIPE, env=os.environ
    )
    assert process.stderr is not None
    lines: list[bytes] = []
    try:
        async for line in process.stderr:
            lines.append(line)
            sys.stderr.buffer.write(line)
            sys.stderr.flush()
        status = await process.wait()
    finally:
        if process.returncode is None:
            await _end(process)
    return _told(lines) if status else ""


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a build, in good order while nobody is in a hurry."""
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _GRACE_SECONDS)
    except (TimeoutError, asyncio.CancelledError):  # a second signal
        process.kill()
        await process.wait()


def _told(lines: Sequence[bytes]) -> str:
    """Return what a failed build says, short enough for a browser."""
    text = b"".join(lines).decode(errors="replace").strip()
    return text[:2000] or "the build failed; the terminal says more"
