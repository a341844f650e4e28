"""``make pdf``: the built pages as one document, which Chromium prints.

One document, and not a page after the other, so that every link between chapters stays one, the
pages are numbered through, and the headings become bookmarks. Code that a page hides stays hidden.
"""

import argparse
import html
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup
from bs4.element import Tag

from bookrun.commands import add_jobs, add_profile
from bookrun.commands.book import book
from bookrun.commands.chromium import ADVICE, chromium
from bookrun.errors import BookError
from bookrun.files import write_atomic
from bookrun.project import Project
from bookrun.source import yaml

_HOST = "http://book"  # answered from the site's files: nothing leaves this machine
_PATIENCE_MS = 600_000
#: Attributes that name an element of their page, or several.
_NAMING = ("id", "for", "aria-labelledby", "aria-describedby", "aria-controls")
#: What only a screen can use.
_SCREEN_ONLY = "script, .bookrun-take, .headerlink, .prev-next-area, style + noscript"
_PAGE = """\
<!DOCTYPE html>
<html lang="en" data-theme="light" data-mode="light">
<head><meta charset="utf-8"><title>{title}</title>{head}</head>
<body class="book-print">
<div class="book-cover"><p class="book-title">{title}</p>{cover}</div>
<nav class="book-contents" aria-label="Contents"><p class="book-title">Contents</p>
<ol>{contents}</ol></nav>
{chapters}
</body></html>
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the profile and how many chapters run at once."""
    add_profile(parser)
    add_jobs(parser)


def run(project: Project, options: argparse.Namespace) -> int:
    """Bring the book up to date, print it and say where it is."""
    found = chromium()
    if found is None:
        raise BookError(f"the PDF is printed by Chromium, and {ADVICE}")
    book(project, options.profile, options.jobs)
    print(write(project, found))
    return 0


def write(project: Project, chromium: str) -> Path:
    """Print the site that stands to ``build/book.pdf`` and return that path."""
    from playwright.sync_api import Error, sync_playwright

    document = compose(project)
    output = project.build / "book.pdf"
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium)
            page = browser.new_page()
            page.set_default_timeout(_PATIENCE_MS)
            page.route("**/*", lambda route: _answer(route, project.html, document))
            page.goto(f"{_HOST}/")
            page.evaluate("() => MathJax.startup.promise.then(() => document.fonts.ready)")
            first = _printed(page)
            page.evaluate(_NUMBER_CONTENTS, _chapter_pages(first))
            content = _printed(page)
            browser.close()
    except Error as error:
        reason = str(error).splitlines()[0]
        raise BookError(f"{chromium} could not print the book: {reason}") from None
    write_atomic(output, content)
    return output


#: Fills in the page numbers of the contents; their places were kept, so no page moves.
_NUMBER_CONTENTS = """(pages) => document.querySelectorAll(".book-contents .book-page")
    .forEach((place, number) => { place.textContent = pages[number]; })"""


def _printed(page: Any) -> bytes:
    return bytes(
        page.pdf(prefer_css_page_size=True, print_background=True, outline=True, tagged=True)
    )


def _chapter_pages(content: bytes) -> list[int]:
    """Return the page on which each chapter begins, from the outermost bookmarks."""
    from pypdf import PdfReader

    reader = PdfReader(io.BytesIO(content))
    marks = [mark for mark in reader.outline if not isinstance(mark, list)]
    numbers = [reader.get_destination_page_number(mark) for mark in marks]
    return [number + 1 for number in numbers if number is not None]


def _answer(route: Any, root: Path, document: str) -> None:
    """Answer a request of the printed document from the site; there is nothing else."""
    path = unquote(urlsplit(route.request.url).path).lstrip("/")
    file = (root / path).resolve()
    if not route.request.url.startswith(_HOST):
        route.abort()
    elif not path:
        route.fulfill(body=document, content_type="text/html; charset=utf-8")
    elif file.is_relative_to(root.resolve()) and file.is_file():
        route.fulfill(path=file)
    else:
        route.fulfill(status=404)


def compose(project: Project) -> str:
    """Return all chapters of the site, in reading order, as one HTML document."""
    config = yaml.read(project.root / "_config.yml", "_config.yml")
    pages = {
        name: BeautifulSoup(
            (project.html / f"{name}.html").read_text(encoding="utf-8"), "html.parser"
        )
        for name in project.toc
    }
    articles = {name: _article(page, name, pages) for name, page in pages.items()}
    first = pages[project.toc[0]]
    contents = "".join(
        f'<li><a href="#{name}"><span class="book-name">{_title(article)}</span>'
        f'<span class="book-page">000</span></a></li>'
        for name, article in articles.items()
    )
    footer = str(config.get("html", {}).get("extra_footer") or "")
    return _PAGE.format(
        title=html.escape(str(config.get("title") or "")),
        head="".join(map(str, _head(first))),
        cover=f"<p>{footer}</p>",
        contents=contents,
        chapters="\n".join(map(str, articles.values())),
    )


def _head(page: BeautifulSoup) -> Iterable[Tag]:
    """Yield the style sheets, and MathJax with its settings."""
    yield from page.select('head link[rel="stylesheet"]')
    for script in page.select("head script"):
        if "MathJax" in script.get_text() or "mathjax" in str(script.get("src", "")):
            yield script


def _title(article: Tag) -> str:
    heading = article.find("h1")
    return heading.decode_contents() if isinstance(heading, Tag) else ""


def _article(page: BeautifulSoup, name: str, pages: Mapping[str, Any]) -> Tag:
    """Return the text of a page, with names and links that hold in one document of all pages."""
    article = page.select_one("article.bd-article")
    if article is None:
        raise BookError(f"the page {name}.html has no article to print")
    for explorer in article.select(".bookrun-explorer"):
        still = explorer.select_one("noscript")
        if still is not None:
            still.unwrap()
    for tag in article.select(_SCREEN_ONLY):
        tag.decompose()
    for tag in article.select("details.bookrun-proof-fold"):
        tag["open"] = ""  # paper cannot unfold
    for tag in article.find_all(True):
        for attribute in _NAMING:
            if attribute in tag.attrs:
                tag[attribute] = " ".join(f"{name}--{word}" for word in _words(tag[attribute]))
    for link in article.find_all("a", href=True):
        _redirect(link, name, pages)
    article.attrs = {"class": "bd-article book-chapter", "id": name}
    return article


def _words(value: str | Sequence[str]) -> list[str]:
    return value.split() if isinstance(value, str) else list(value)


def _redirect(link: Tag, name: str, pages: Mapping[str, Any]) -> None:
    """Let a link within the book lead to its place in the document; others stay."""
    parts = urlsplit(str(link["href"]))
    if parts.scheme:
        return
    page = parts.path.removesuffix(".html") if parts.path else name
    if page not in pages:
        del link["href"]  # a file beside the pages, which a document on its own has not
    elif parts.fragment:
        link["href"] = f"#{page}--{unquote(parts.fragment)}"
    else:
        link["href"] = f"#{page}"
