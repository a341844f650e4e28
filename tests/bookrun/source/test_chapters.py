"""Chapters are read as jupytext reads them, and JupyterLab saves them as they are."""

import shutil
from pathlib import Path

import jupytext
import pytest
from jupytext.sync_contentsmanager import TextFileContentsManager

import trial
from bookrun.commands.book import book
from bookrun.errors import BookError
from bookrun.project import Project
from bookrun.source.chapters import Chapter, load_all, pick

CELLS = """\
# Title

```{code-cell} ipython3
:tags: [parameters, hide-input]

rounds = 3
```

````{code-cell} ipython3
text = '''
```{code-cell}
not = "a cell"
```
'''
````

```python
quoted = True
```

```{code-cell} ipython3
---
mystnb:
  figure: {name: a}
tags: [remove-input]
---
x = 1

y = 2
```
"""
BOOK = sorted((trial.ROOT / "book").glob("*.md"))


def test_code_cells_are_those_that_jupytext_finds() -> None:
    text = trial.HEADER.format(extra="") + CELLS
    cells = [c for c in jupytext.reads(text, "md:myst").cells if c.cell_type == "code"]
    mine = Chapter("one", text).code
    assert [cell.source for cell in mine] == [cell.source for cell in cells]
    assert [list(cell.tags) for cell in mine] == [c.metadata.get("tags", []) for c in cells]


@pytest.mark.parametrize("path", BOOK, ids=lambda path: path.stem)
def test_the_books_own_cells_are_those_that_jupytext_finds(path: Path) -> None:
    cells = [c for c in jupytext.reads(path.read_text(), "md:myst").cells if c.cell_type == "code"]
    assert [c.source for c in Chapter(path.stem, path.read_text()).code] == [
        c.source for c in cells
    ]


@pytest.mark.parametrize("path", BOOK, ids=lambda path: path.stem)
def test_a_save_without_an_edit_leaves_a_chapter_as_it_was(path: Path, tmp_path: Path) -> None:
    shutil.copy(trial.ROOT / "jupytext.toml", tmp_path)
    (tmp_path / "book").mkdir()
    shutil.copy(path, tmp_path / "book")
    manager = TextFileContentsManager(root_dir=str(tmp_path))
    opened = manager.get(f"book/{path.name}", type="notebook")
    manager.save(
        {"type": "notebook", "format": "json", "content": opened["content"]}, f"book/{path.name}"
    )
    assert (tmp_path / "book" / path.name).read_text() == path.read_text()


def test_two_parameters_cells_are_an_error() -> None:
    text = trial.chapter_text("t", "x", parameters="a = 1") + "\n```{code-cell}\n"
    text += ":tags: [parameters]\nb = 1\n```\n"
    with pytest.raises(BookError, match="has 2 parameters cells"):
        _ = Chapter("one", text).parameters


def test_the_table_of_contents_is_read_in_order(tmp_path: Path) -> None:
    project = trial.make_project(tmp_path, {"intro": "# A", "b": "# B", "a": "# C"})
    assert [chapter.name for chapter in load_all(project)] == ["intro", "b", "a"]
    assert pick(project, "book/b.md").name == "b"
    with pytest.raises(BookError, match=r"CHAPTER=c is not in _toc\.yml; it has: intro, b, a"):
        pick(project, "c")


def test_a_chapter_that_is_missing_is_named(tmp_path: Path) -> None:
    project = trial.make_project(tmp_path, {"intro": "# A", "b": "# B"})
    (project.book / "b.md").unlink()
    with pytest.raises(BookError, match=r"names chapter b, but book/b.md does not exist"):
        load_all(Project(project.root))


@pytest.mark.parametrize(
    ("text", "well"),
    [
        (trial.chapter_text("One"), True),
        ("# One\n:::{admonition} What this chapter establishes\n* That.\n:::\n", True),
        ("# One\n\nWords first.\n\n" + trial.OPENING, False),
        ("# One\n\n```{admonition} What this chapter does\n* That.\n```\n", False),
        ("# One\n", False),
        ("", False),
    ],
)
def test_a_chapter_says_under_its_title_what_it_establishes(text: str, well: bool) -> None:
    assert Chapter("one", text).opens_well is well


def test_a_chapter_that_opens_otherwise_is_named_before_anything_runs(tmp_path: Path) -> None:
    chapters = {"intro": "# A\n", "one": trial.chapter_text("One"), "two": "# Two\n\nWords.\n"}
    project = trial.make_project(tmp_path, chapters)
    with pytest.raises(BookError, match=r"^two: a chapter begins, right under its title, with"):
        book(project, "quick", 1)
    assert not project.executed("quick", "one").exists()


def test_a_byte_order_mark_costs_no_header(tmp_path: Path) -> None:
    text = trial.chapter_text("One", "1", parameters="n = 1")
    header = "---\nbookrun:\n  data: [mnist]\n  profiles:\n    paper: {n: 7}\n---\n"
    project = trial.make_project(tmp_path, {"intro": "# A", "one": text})
    (project.book / "one.md").write_text(header + text, encoding="utf-8-sig")
    found = pick(project, "one")
    assert (found.data, found.profile("paper")) == (("mnist",), {"n": 7})
    assert found.text.startswith("---")


def test_line_ends_of_other_systems_change_nothing(tmp_path: Path) -> None:
    project = trial.make_project(tmp_path, {"intro": "# A", "one": trial.chapter_text("One", "1")})
    before = pick(project, "one")
    path = project.book / "one.md"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert pick(project, "one") == before


def test_a_chapter_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    project = trial.make_project(tmp_path, {"intro": "# A", "one": trial.chapter_text("One", "1")})
    (project.book / "one.md").write_bytes("# Caf\xe9".encode("latin-1"))
    with pytest.raises(BookError, match=r"chapter one: book/one\.md is not UTF-8: .* at byte 5"):
        pick(project, "one")


def test_a_header_is_refused_with_its_line(tmp_path: Path) -> None:
    project = trial.make_project(tmp_path, {"intro": "# A", "one": trial.chapter_text("One", "1")})
    (project.book / "one.md").write_text("---\nbookrun:\n  data: [mnist\n---\n# One\n")
    with pytest.raises(BookError, match=r"chapter one, header, line [34]: "):
        pick(project, "one").data  # noqa: B018


@pytest.mark.parametrize(
    ("character", "shown"),
    [
        ("\0", r"U\+0000, which no text has; in code write '\\x00'"),
        ("\x0b", r"U\+000B.*'\\x0b'"),
        ("\x0c", r"U\+000C.*'\\x0c'"),
        ("\x1c", r"U\+001C.*'\\x1c'"),
        ("\x85", r"U\+0085.*'\\x85'"),
        ("\u2028", r"U\+2028.*'\\u2028'"),
    ],
)
def test_a_character_that_no_text_has_is_named_with_its_line(
    tmp_path: Path, character: str, shown: str
) -> None:
    text = trial.chapter_text("One", f"x = 'a{character}b'")
    project = trial.make_project(tmp_path, {"one": text})
    line = text.partition(character)[0].count("\n") + 1
    with pytest.raises(BookError, match=rf"book/one\.md, line {line} has the character {shown}"):
        pick(project, "one")


@pytest.mark.parametrize("before", ["\n", "\ufeff", "# A title\n\n", " \n"])
def test_a_header_that_is_not_at_the_beginning_is_not_lost_silently(
    tmp_path: Path, before: str
) -> None:
    text = trial.chapter_text("One", "1 + 1", extra="bookrun: {data: [mnist]}\n")
    project = trial.make_project(tmp_path, {"one": text})
    assert pick(project, "one").data == ("mnist",)
    (project.book / "one.md").write_text("\ufeff" + before + text, encoding="utf-8")
    with pytest.raises(BookError, match=r"book/one\.md has code cells and does not begin with"):
        pick(project, "one")
