"""The whole book as a PDF, printed by the Chromium that is there."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader

from bookrun.commands.chromium import ADVICE, chromium
from reading import CHAPTERS, PROJECT

#: In a process of its own: this one's Playwright is already at work for other tests.
PRINT = """\
import sys
from pathlib import Path
from bookrun import project
from bookrun.commands import pdf
print(pdf.write(project.Project(Path(sys.argv[1])), sys.argv[2]))
"""


def printing(root: Path, chromium: str) -> "subprocess.CompletedProcess[str]":
    """Print the built book into a directory of its own."""
    for name in ("_toc.yml", "_config.yml"):
        shutil.copy(PROJECT.root / name, root)
    (root / "build").mkdir()
    (root / "build" / "html").symlink_to(PROJECT.html.resolve())
    command = [sys.executable, "-c", PRINT, str(root), chromium]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> PdfReader:
    """The built book as a PDF."""
    path = chromium()
    if path is None:
        pytest.skip(ADVICE)
    result = printing(tmp_path_factory.mktemp("book"), path)
    assert result.returncode == 0, result.stderr
    return PdfReader(result.stdout.strip())


@pytest.fixture(scope="module")
def pages(printed: PdfReader) -> list[str]:
    return [page.extract_text() for page in printed.pages]


def outline(printed: PdfReader) -> list[tuple[str, int]]:
    """The outermost bookmarks and the pages, from 1 on, to which they lead."""
    marks: list[Any] = [mark for mark in printed.outline if not isinstance(mark, list)]
    return [(mark.title, (printed.get_destination_page_number(mark) or 0) + 1) for mark in marks]


def test_each_chapter_has_a_bookmark_in_reading_order(printed: PdfReader) -> None:
    marks = outline(printed)
    assert len(marks) == len(CHAPTERS)
    assert [page for _, page in marks] == sorted({page for _, page in marks})
    assert any(isinstance(mark, list) for mark in printed.outline)  # sections, below


def test_the_contents_give_the_pages_on_which_chapters_begin(
    printed: PdfReader, pages: list[str]
) -> None:
    lines = pages[1].split("\n")
    for _title, page in outline(printed):
        assert any(line.strip().endswith(str(page)) for line in lines), page
        assert pages[page - 1].strip().split("\n")[0] == str(page) or str(page) in pages[page - 1]


def test_no_formula_is_left_as_it_was_typed(pages: list[str]) -> None:
    text = "\n".join(pages)
    assert len(text) > 100_000
    for trace in ("\\(", "\\frac{", "Math Processing Error", "Undefined control sequence"):
        assert trace not in text


def test_every_link_leads_into_the_document_or_to_the_web(printed: PdfReader) -> None:
    places, inside = printed.named_destinations, 0
    for page in printed.pages:
        for reference in page.get("/Annots") or []:
            note = reference.get_object()
            if "/Dest" in note:
                assert str(note["/Dest"]) in places
                inside += 1
            elif "/A" in note:
                assert str(note["/A"]["/URI"]).startswith(("https://", "http://www", "mailto:"))
    assert inside > 200


def test_it_has_the_books_title_and_paper_size(printed: PdfReader) -> None:
    assert printed.metadata is not None
    assert "the executable edition" in str(printed.metadata.title)
    width, height = (float(x) for x in printed.pages[0].mediabox[2:])
    assert (width, height) == pytest.approx((595, 842), abs=1)


def test_a_browser_that_cannot_print_is_said_in_a_sentence(tmp_path: Path) -> None:
    result = printing(tmp_path, "/bin/false")
    assert result.returncode == 1
    assert "BookError: /bin/false could not print the book: " in result.stderr
    assert "asyncio" not in result.stderr
    assert not (tmp_path / "build" / "book.pdf").exists()
