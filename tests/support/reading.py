"""How the browser tests read the book: pages from the disk, at two widths, nothing from outside."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Browser, Page

import trial
from bookrun.project import Project

PROJECT = Project(trial.ROOT)
SITE = PROJECT.html
CHAPTERS = PROJECT.toc
#: Every page, those that Sphinx adds included; the first one only leads to the book's.
PAGES = sorted(path.stem for path in SITE.glob("*.html") if path.stem != "index")

DESKTOP = {"viewport": {"width": 1280, "height": 900}}
PHONE = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}
WIDTHS = {"desktop": DESKTOP, "phone": PHONE}
PATIENCE_MS = 180_000  # a machine may have other things to do
Theme = Literal["light", "dark"]

#: Everything that is asked of a page once it has come to rest.
_LOOK = """() => {
  const article = document.querySelector("article") ?? document.querySelector("main");
  const shown = (e) => e.getClientRects().length > 0;
  const scrolls = (e) => {
    for (let up = e; up && up !== article.parentElement; up = up.parentElement)
      if (getComputedStyle(up).overflowX !== "visible") return true;
    return false;
  };
  const named = (e) => `${e.tagName.toLowerCase()}.${e.className?.baseVal ?? e.className}`
    + ` ${e.textContent.trim().slice(0, 60)}`;
  const right = article.parentElement.getBoundingClientRect().right;
  const outside = [...article.querySelectorAll("*")].filter(
    (e) => shown(e) && e.getBoundingClientRect().right > right + 1 && !scrolls(e)
      && !e.closest(".visually-hidden, mjx-assistive-mml"));
  const formulas = [...document.querySelectorAll("article .math")];
  return {
    width: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    outside: outside.map(named),
    unset: formulas.filter((e) => shown(e) && !e.querySelector("mjx-container")).map(named),
    wrong: [...document.querySelectorAll("mjx-merror, [data-mjx-error]")].map(named),
    formulas: formulas.length,
    images: [...document.images].filter(shown).map((e) => ({
      src: e.src.slice(0, 200), alt: e.alt, loaded: e.complete && e.naturalWidth > 0,
      sharpness: e.naturalWidth / e.getBoundingClientRect().width,
      vector: e.src.split("?")[0].endsWith(".svg") || e.src.startsWith("data:image/svg"),
      ground: getComputedStyle(e).backgroundColor, figure: Boolean(e.closest("figure")),
    })),
    links: [...document.querySelectorAll("a[href]")].map(
      (e) => new URL(e.getAttribute("href"), document.baseURI).href),
    names: [...document.querySelectorAll("[id]")].map((e) => e.id),
  };
}"""


@dataclass
class Noise:
    """What went wrong while a page was open."""

    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Look:
    """A page as it was when it had come to rest."""

    noise: Noise
    found: dict[str, Any]


class Reader:
    """Opens pages, and remembers what it saw of each."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.looks: dict[tuple[str, str, Theme], Look] = {}

    @contextmanager
    def page(self, width: str, theme: Theme = "light") -> Iterator[tuple[Page, Noise]]:
        """An empty page whose every request outside the disk is stopped, and noted."""
        context = self.browser.new_context(**WIDTHS[width], color_scheme=theme, offline=True)
        noise = Noise()

        def gate(route: Any) -> None:
            if route.request.url.startswith(("file:", "data:", "blob:")):
                route.continue_()
            else:
                noise.requests.append(f"asks for {route.request.url}")
                route.abort()

        context.route("**/*", gate)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("requestfailed", lambda request: noise.requests.append(f"failed: {request.url}"))
        page.on("pageerror", lambda error: noise.errors.append(str(error)))
        page.on(
            "console",
            lambda said: noise.errors.append(said.text) if said.type == "error" else None,
        )
        try:
            yield page, noise
        finally:
            context.close()

    def look(self, name: str, width: str, theme: Theme = "light") -> Look:
        """A page of the book at rest."""
        key = (name, width, theme)
        if key not in self.looks:
            with self.page(width, theme) as (page, noise):
                go(page, name)
                self.looks[key] = Look(noise, page.evaluate(_LOOK))
        return self.looks[key]


def address(name: str) -> str:
    """Where a page lies on the disk."""
    return (SITE / f"{name}.html").as_uri()


def go(page: Page, name: str) -> None:
    """Open a page of the book and wait until its mathematics is set."""
    page.goto(address(name))
    settle(page)


def settle(page: Page) -> None:
    """Wait until nothing moves any more."""
    page.wait_for_load_state("load")
    page.evaluate("() => window.MathJax?.startup?.promise")
    page.evaluate("() => document.fonts.ready")
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")


def shared_file(url: str) -> Path:
    """The file behind an address on the disk."""
    return Path(url.removeprefix("file://"))
