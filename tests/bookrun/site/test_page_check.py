"""The page check passes a good page and catches each kind of defect planted in it."""

from pathlib import Path

import pytest

from bookrun.site.page_check import check_notebooks, check_site

GOOD = """\
<!DOCTYPE html><html><head>
<link rel="stylesheet" href="_static/book.css?v=1">
<link rel="canonical" href="https://example.org/page.html">
<script defer src="_static/mathjax/tex-chtml.js"></script>
<style>body {{ background: url(data:image/png;base64,AA) }}</style>
</head><body><article id="top">
<a href="#top">up</a> <a href="other.html#place">there</a> <a href="https://example.org">out</a>
<a href="mailto:a@example.org">write</a>
<img src="_images/a.svg" alt="a line">
<p>A formula <span class="math">\\(x\\)</span>, code <code>{{prf:ref}}`x` $$</code>.</p>
<div class="output"><pre>$$ and {{ref}}`x` may stand in an output</pre></div>
{planted}
</article></body></html>
"""


def make_site(root: Path, planted: str = "", css: str = "") -> Path:
    for name in ("_static/mathjax/tex-chtml.js", "_images/a.svg", "_static/font.woff2"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")
    (root / "_static" / "book.css").write_text(
        "/* url(https://example.org) */ @font-face { src: url('font.woff2?v=1') }" + css
    )
    (root / "other.html").write_text('<html><body><p id="place">Here.</p></body></html>')
    (root / "page.html").write_text(GOOD.format(planted=planted))
    return root


def test_a_good_site_has_no_defect(tmp_path: Path) -> None:
    assert check_site(make_site(tmp_path)) == []


def test_an_empty_site_is_a_defect(tmp_path: Path) -> None:
    assert check_site(tmp_path) == [f"{tmp_path.name}: no page at all"]


@pytest.mark.parametrize(
    ("planted", "defect"),
    [
        ('<a href="gone.html">x</a>', "broken link: gone.html does not exist"),
        ('<a href="other.html#gone">x</a>', "broken link: other.html#gone: the page has no such"),
        ('<a href="#gone">x</a>', "broken link: #gone: the page has no such anchor"),
        (
            '<a class="reference internal" href="other.html#place">Theorem </a>',
            "a reference to what has no number needs a text of its own: Theorem",
        ),
        ('<a href="/other.html">x</a>', "starts at the file system's root"),
        ('<a href="../other.html">x</a>', "leads out of the site"),
        ('<a href="_images">x</a>', "_images is a folder"),
        ('<a href="//example.org">x</a>', "link without a scheme"),
        ('<img src="_images/gone.svg" alt="a">', "missing: <img>"),
        ('<img src="_images/a.svg">', "image without alternative text"),
        ('<img src="_images/a.svg" alt=" ">', "image without alternative text"),
        ('<img alt="a">', "image without a source"),
        ('<img src="https://example.org/a.png" alt="a">', "external request: <img>"),
        (
            '<img src="_images/a.svg" srcset="//cdn.net/a.png 2x" alt="a">',
            "external request: <img>",
        ),
        ('<script src="https://cdn.net/x.js"></script>', "external request: <script>"),
        ('<script src="//cdn.net/x.js"></script>', "external request: <script>"),
        ('<script>import("https://cdn.net/x.js")</script>', "external request: an inline script"),
        ("<script>fetch('//cdn.net/x')</script>", "external request: an inline script"),
        ('<link rel="stylesheet" href="http://cdn.net/x.css">', "external request: <link>"),
        ('<link rel="preconnect" href="https://cdn.net">', "external request: <link>"),
        ('<iframe src="https://cdn.net"></iframe>', "external request: <iframe>"),
        ('<p style="background: url(//cdn.net/a.png)">x</p>', "external request: style"),
        ("<style>@import 'https://cdn.net/x.css';</style>", "external request: style"),
        ('<div class="output traceback">ValueError</div>', "an error among the outputs"),
        ('<div class="output">Traceback (most recent call last)</div>', "a traceback among"),
        ('<div class="output stderr">/tmp/x</div>', "stderr among the outputs"),
        ('<p class="system-message">x</p>', "a message of the page builder"),
        ('<span class="xref std std-numref">fig</span>', "unresolved reference: fig"),
        ("<p>$$x^2$$</p>", "markup that was not rendered: $$"),
        ("<p>see {prf:ref}`thm`</p>", "markup that was not rendered: {prf:ref}`"),
        ("<p>:::{note}</p>", "markup that was not rendered: :::"),
        ("<p>a note[^one]</p>", "markup that was not rendered: [^one]"),
    ],
)
def test_a_planted_defect_is_found(tmp_path: Path, planted: str, defect: str) -> None:
    problems = check_site(make_site(tmp_path, planted))
    assert len(problems) == 1
    assert problems[0].startswith("page.html: ")
    assert defect in problems[0]


@pytest.mark.parametrize(
    ("css", "defect"),
    [
        ("@import url(https://fonts.net/x.css);", "external request"),
        ("p { src: url('//fonts.net/x.woff') }", "external request"),
        ("p { src: url(gone.woff) }", "missing: style: gone.woff does not exist"),
    ],
)
def test_a_defect_in_a_style_sheet_is_found(tmp_path: Path, css: str, defect: str) -> None:
    (problem,) = check_site(make_site(tmp_path, css=css))
    assert problem.startswith("_static/book.css: ")
    assert defect in problem


def test_mathematics_without_mathjax_is_a_defect(tmp_path: Path) -> None:
    root = make_site(tmp_path)
    (root / "other.html").write_text('<p id="place"><span class="math">x</span></p>')
    assert check_site(root) == ["other.html: it has mathematics but no MathJax"]


def code(source: str, count: int | None, *outputs: dict[str, str]) -> dict[str, object]:
    return {
        "cell_type": "code",
        "source": source,
        "execution_count": count,
        "outputs": list(outputs),
    }


def test_notebooks_are_checked_for_cells_not_executed_and_for_errors() -> None:
    good = {"cells": [code("x", 1), code("", None), {"cell_type": "markdown", "source": "a"}]}
    failed = code("y = 1", 2, {"output_type": "error", "ename": "KeyError"})
    bad = {"cells": [code("x = 1\nmore", None), failed]}
    assert check_notebooks({"good": good, "bad": bad}) == [
        "bad: code cell 1 was not executed: x = 1",
        "bad: code cell 2 shows KeyError",
    ]
