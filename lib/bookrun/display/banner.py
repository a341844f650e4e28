"""The banner at the top of a chapter: which data it ran on."""

import html
from collections.abc import Mapping

from bookrun.display.checks import DataSource
from bookrun.display.markup import show


def banner(source: DataSource) -> None:
    """Say at the top of a chapter which data it ran on: loudly, when they are a stand-in."""
    name = html.escape(str(getattr(source, "name", "data")))
    description = html.escape(_described(source))
    origin = html.escape(str(getattr(source, "origin", "") or ""))
    digests = _digests(source)
    if source.kind == "real":
        where = f' <span class="bookrun-origin">From {origin}.</span>' if origin else ""
        hashes = "".join(
            f' <span class="bookrun-hash">{html.escape(file)} SHA-256 '
            f'<code title="{digest}">{digest[:16]}…</code></span>'
            for file, digest in digests.items()
        )
        page = (
            f'<div class="bookrun-banner bookrun-real" role="note"><strong>Data: {name}.</strong> '
            f"{description}.{where}{hashes}</div>"
        )
        plain = " ".join(
            [
                f"Data: {name}. {_described(source)}.",
                origin,
                *(f"SHA-256 {d}" for d in digests.values()),
            ]
        )
    else:
        page = (
            '<div class="bookrun-banner bookrun-stand-in admonition warning" role="note">'
            '<p class="admonition-title">This page ran on stand-in data</p>'
            f"<p>{_capital(description)}. Numbers that hold only on the real data are shown, and "
            "marked <em>not checked on stand-in data</em>. The summary speaks of the real data.</p>"
            "</div>"
        )
        plain = f"STAND-IN DATA for {name}: {_described(source)}"
    show(page, plain)


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _described(source: DataSource) -> str:
    for attribute in ("description", "origin", "name"):
        text = getattr(source, attribute, None)
        if text:
            return str(text).rstrip(".")
    return "data of unstated origin"


def _digests(source: DataSource) -> dict[str, str]:
    found = getattr(source, "sha256", None)
    if isinstance(found, Mapping):
        return {str(file): str(digest) for file, digest in found.items()}
    return {"": str(found)} if found else {}
