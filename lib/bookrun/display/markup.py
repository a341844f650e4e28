"""Small HTML for the pages, from the inline Markdown that authors write in a name or a heading."""

import html
import re
from collections.abc import Mapping
from typing import Any

_MATH = re.compile(r"\$([^$]+)\$")
_CODE = re.compile(r"`([^`]+)`")


def inline(text: str) -> str:
    """``text`` as HTML: ``$…$`` becomes mathematics that MathJax sets, backticks become code."""
    escaped = html.escape(text, quote=False)
    escaped = _CODE.sub(r"<code>\1</code>", escaped)
    return _MATH.sub(
        r'<span class="math notranslate nohighlight mathjax_process">\\(\1\\)</span>', escaped
    )


def plain(text: str) -> str:
    """``text`` for a tooltip or a screen reader, which set no mathematics: without its marks."""
    return re.sub(r"[$`\\]", "", text)


def number(value: Any) -> str:
    """Return a value as people read it: six digits, whole numbers whole, a true minus sign."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float):
        return str(value)
    return (str(value) if isinstance(value, int) else format(value, ".6g")).replace("-", "−")


def show(html_text: str, plain: str, metadata: Mapping[str, Any] | None = None) -> None:
    """Display HTML with its plain-text alternative, and what the pipeline is to know of it."""
    from IPython.display import display  # costs a fifth of a second: only where it is needed

    display(
        {"text/html": html_text, "text/plain": _Plain(plain)},
        raw=True,
        metadata={"bookrun": dict(metadata)} if metadata else {},
    )


class _Plain(str):
    """Text that a terminal shows without quotation marks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)
