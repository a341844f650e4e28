"""Reads every page of the built site as an offline browser would, and lists its defects."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup
from bs4.element import NavigableString, Tag

#: Attributes through which a page loads something by itself.
_LOADS = {
    "script": ("src",), "img": ("src", "srcset"), "source": ("src", "srcset"), "iframe": ("src",),
    "video": ("src", "poster"), "audio": ("src",), "embed": ("src",), "object": ("data",),
    "link": ("href",), "input": ("src",), "image": ("href", "xlink:href"), "use": ("href",),
}  # fmt: skip
_CSS_URL = re.compile(r"url\(\s*(['\"]?)(.*?)\1\s*\)|@import\s+(['\"])(.*?)\3", re.IGNORECASE)
_CSS_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_SCRIPT_LOADS = re.compile(
    r"""(?:\bimport\s*\(?|\bfetch\s*\(|\bimportScripts\s*\(|\.src\s*=)\s*["'](?:https?:)?//"""
)
_LEFTOVER = re.compile(
    r"\$\$|\{[a-z][\w:-]*\}`|^\s*(?::{3,}|`{3,})|\[\^[\w-]+\]|^\s*\(.+\)=$", re.M
)
_NOT_PROSE = {"code", "pre", "script", "style", "textarea", "template", "math"}


def check_notebooks(notebooks: Mapping[str, Any]) -> list[str]:
    """Code cells that were never executed, and errors among their outputs."""
    problems = []
    for name, notebook in notebooks.items():
        cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        for number, cell in enumerate(cells, start=1):
            source = "".join(cell["source"]).strip()
            if source and cell.get("execution_count") is None:
                first = source.splitlines()[0]
                problems.append(f"{name}: code cell {number} was not executed: {first}")
            problems += [
                f"{name}: code cell {number} shows {output['ename']}"
                for output in cell.get("outputs", [])
                if output["output_type"] == "error"
            ]
    return problems


def check_site(root: Path) -> list[str]:
    """Return every defect of every page and style sheet, one line each, the page's name first."""
    # the theme leaves templates of its own among the static files
    pages = sorted(p for p in root.rglob("*.html") if "_static" not in p.relative_to(root).parts)
    if not pages:
        return [f"{root.name}: no page at all"]
    site = _Site(root)
    problems = []
    for path in pages:
        name = path.relative_to(root).as_posix()
        problems += [f"{name}: {text}" for text in dict.fromkeys(_page(site, path))]
    for path in sorted(root.rglob("*.css")):
        name = path.relative_to(root).as_posix()
        text = path.read_text(encoding="utf-8", errors="replace")
        problems += [f"{name}: {text}" for text in dict.fromkeys(_style(site, path, text))]
    return problems


class _Site:
    """The built files; pages are parsed once."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.soup = cache(self._soup)
        self.anchors = cache(self._anchors)

    def _soup(self, path: Path) -> BeautifulSoup:
        return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")

    def _anchors(self, path: Path) -> set[str]:
        found = {str(tag["id"]) for tag in self.soup(path).find_all(id=True)}
        return found | {
            str(tag["name"]) for tag in self.soup(path).find_all("a", attrs={"name": True})
        }

    def missing(self, page: Path, address: str) -> str:
        """Return what is wrong with an internal address as seen from a page, if anything."""
        parts = urlsplit(address)
        path = unquote(parts.path)
        if path.startswith("/"):
            return f"{address} starts at the file system's root"
        target = (page.parent / path).resolve() if path else page.resolve()
        if not target.is_relative_to(self.root):
            return f"{address} leads out of the site"
        if target.is_dir():
            return f"{address} is a folder: opened as a file it shows a listing"
        if not target.is_file():
            return f"{address} does not exist"
        fragment = unquote(parts.fragment)
        if fragment and target.suffix == ".html" and fragment not in self.anchors(target):
            return f"{address}: the page has no such anchor"
        return ""


def _page(site: _Site, path: Path) -> Iterator[str]:
    soup = site.soup(path)
    yield from _links(site, path, soup)
    yield from _loads(site, path, soup)
    yield from _images(soup)
    yield from _failures(soup)
    yield from _leftovers(soup)


def _links(site: _Site, path: Path, soup: BeautifulSoup) -> Iterator[str]:
    for tag in soup.find_all("a", href=True):
        href = str(tag["href"])
        if href.startswith("//"):
            yield f"link without a scheme, dead from a file: {href}"
        elif urlsplit(href).scheme or href in ("", "#"):
            continue
        elif problem := site.missing(path, href):
            yield f"broken link: {problem}"


def _loads(site: _Site, path: Path, soup: BeautifulSoup) -> Iterator[str]:
    for name, attributes in _LOADS.items():
        for tag in soup.find_all(name):
            for attribute in attributes:
                if attribute in tag.attrs and not _merely_names(tag):
                    for address in _addresses(str(tag[attribute]), attribute):
                        yield from _loaded(site, path, address, f"<{name}>")
    for tag in soup.find_all(style=True):
        yield from _style(site, path, str(tag["style"]))
    for tag in soup.find_all("style"):
        yield from _style(site, path, tag.get_text())
    for tag in soup.find_all("script", src=False):
        if _SCRIPT_LOADS.search(tag.get_text()):
            yield "external request: an inline script loads from the network"
    if soup.select_one(".math") and not soup.select_one('script[src*="mathjax" i]'):
        yield "it has mathematics but no MathJax"


def _merely_names(tag: Tag) -> bool:
    """Return whether a ``<link>`` loads nothing and only names an address."""
    relation = tag.get("rel")
    return tag.name == "link" and isinstance(relation, list) and "canonical" in relation


def _addresses(value: str, attribute: str) -> list[str]:
    if attribute == "srcset":
        return [part.split()[0] for part in value.split(",") if part.split()]
    return [value]


def _loaded(site: _Site, path: Path, address: str, what: str) -> Iterator[str]:
    scheme = urlsplit(address).scheme
    if scheme in ("data", "about", "blob") or address in ("", "#"):
        return
    if scheme or address.startswith("//"):
        yield f"external request: {what} loads {address}"
    elif problem := site.missing(path, address):
        yield f"missing: {what}: {problem}"


def _style(site: _Site, path: Path, text: str) -> Iterator[str]:
    for match in _CSS_URL.finditer(_CSS_COMMENT.sub("", text)):
        yield from _loaded(site, path, (match[2] or match[4] or "").strip(), "style")


def _images(soup: BeautifulSoup) -> Iterator[str]:
    for tag in soup.find_all("img"):
        if not str(tag.get("alt") or "").strip():
            yield f"image without alternative text: {tag.get('src')}"
        if not tag.get("src"):
            yield "image without a source"


def _failures(soup: BeautifulSoup) -> Iterator[str]:
    for tag in soup.select(".output.traceback"):
        yield f"an error among the outputs: {tag.get_text().strip()[-120:]}"
    for tag in soup.select(".output.stderr"):
        yield f"stderr among the outputs: {tag.get_text().strip()[:120]}"
    for tag in soup.select("div.output"):
        if "Traceback (most recent call last)" in tag.get_text():
            yield "a traceback among the outputs"
    for tag in soup.select(".system-message, .problematic"):
        yield f"a message of the page builder: {tag.get_text().strip()[:120]}"
    for tag in soup.select("article a.reference.internal"):
        if (text := tag.get_text()).endswith(" "):
            yield f"a reference to what has no number needs a text of its own: {text.strip()}"
    for tag in soup.select("span.xref"):
        if tag.find_parent("a") is None:
            yield f"unresolved reference: {tag.get_text().strip()}"


def _leftovers(soup: BeautifulSoup) -> Iterator[str]:
    body = soup.select_one("article") or soup.body
    for text in body.find_all(string=True) if body else []:
        if type(text) is not NavigableString or _is_code(text):
            continue
        found = _LEFTOVER.search(text)
        if found:
            yield f"markup that was not rendered: {found.group().strip()} in {text.strip()[:80]!r}"


def _is_code(text: NavigableString) -> bool:
    for parent in text.parents:
        if parent.name in _NOT_PROSE or "math" in (parent.get("class") or []):
            return True
    return False
