"""A chapter as it stands in ``book/``: its text, its header, its code cells.

Only what the pipeline must know before it runs anything is read here, without the notebook
libraries, so that a build with nothing to do stays quick.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bookrun.errors import BookError
from bookrun.project import Project
from bookrun.source import yaml
from bookrun.source.parameters import Parameter, declared, overrides

QUICK = "quick"
PROFILES = (QUICK, "paper")
OPENING = "What this chapter establishes"
_OPENING = re.compile(rf"(`{{3,}}|:{{3,}})\{{admonition\}} {OPENING}$")
_FENCE = re.compile(r"^(?P<mark>`{3,}|~{3,}|:{3,})\{code-cell\}.*$")
#: Control characters, and those that end lines in some programs and not in others.
_NO_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x85\u2028\u2029]")


@dataclass(frozen=True)
class CodeCell:
    """A code cell: its tags and its source."""

    tags: tuple[str, ...]
    source: str


@dataclass(frozen=True)
class Chapter:
    """One chapter, by the text that it had when it was read."""

    name: str
    text: str

    @property
    def where(self) -> str:
        """The chapter in a message."""
        return f"chapter {self.name}"

    @cached_property
    def header(self) -> dict[str, Any]:
        """The YAML front matter."""
        lines = self.text.splitlines()
        if not lines or lines[0].strip() != "---":
            return {}
        for number, line in enumerate(lines[1:], start=1):
            if line.strip() == "---":
                found = yaml.load("\n".join(lines[1:number]), f"{self.where}, header", 2)
                return found if isinstance(found, dict) else {}
        return {}

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The header's ``bookrun`` entry: the data the chapter uses and its profiles."""
        found = self.header.get("bookrun") or {}
        unknown = sorted(set(found) - {"data", "profiles", "allowed_numbers"})
        if unknown:
            raise BookError(
                f"chapter {self.name}: its header's bookrun entry has {', '.join(unknown)}; "
                "it takes data, profiles and allowed_numbers"
            )
        strange = sorted(set(found.get("profiles") or {}) - set(PROFILES[1:]))
        if strange:
            raise BookError(
                f"chapter {self.name}: profile {', '.join(strange)} in its header; a chapter may "
                f"set {', '.join(PROFILES[1:])} (quick is its parameters cell as it stands)"
            )
        return found

    @cached_property
    def data(self) -> tuple[str, ...]:
        """The names of the data sets that the chapter reads."""
        return tuple(self.settings.get("data") or ())

    @cached_property
    def allowed_numbers(self) -> tuple[str, ...]:
        """Numbers that sentences may type although a check computes them."""
        return tuple(map(str, self.settings.get("allowed_numbers") or ()))

    @cached_property
    def opens_well(self) -> bool:
        """Return whether the title is followed by what is established, in the fixed words."""
        lines = [line.strip() for line in self.text.splitlines() if line.strip()]
        title = next((n for n, line in enumerate(lines) if line.startswith("# ")), len(lines))
        return bool(lines[title + 1 :]) and bool(_OPENING.match(lines[title + 1]))

    @cached_property
    def code(self) -> list[CodeCell]:
        """The code cells, in order."""
        cells: list[CodeCell] = []
        mark, block, first = "", list[str](), 0
        for number, line in enumerate(self.text.splitlines(), start=1):
            if not mark:
                opening = _FENCE.match(line)
                if opening:
                    mark, block, first = opening["mark"], [], number + 1
            elif (
                line.strip() and not line.strip().strip(mark[0]) and len(line.strip()) >= len(mark)
            ):
                cells.append(_code_cell(block, self.where, first))
                mark = ""
            else:
                block.append(line)
        return cells

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        """Return what the ``parameters`` cell declares; empty for a chapter that has none."""
        cells = [cell for cell in self.code if "parameters" in cell.tags]
        if len(cells) > 1:
            raise BookError(
                f"chapter {self.name} has {len(cells)} parameters cells; one is the rule"
            )
        return declared(cells[0].source, self.name) if cells else {}

    def profile(self, profile: str) -> dict[str, Any]:
        """Return the parameters that a profile sets, checked against the declared ones."""
        check_profile(profile)
        for known in PROFILES[1:]:
            given = (self.settings.get("profiles") or {}).get(known) or {}
            values = overrides(self.parameters, given, f"chapter {self.name}, profile {known}")
            if known == profile:
                return values
        return {}


def check_profile(profile: str) -> None:
    """Raise ``BookError`` for a profile that does not exist."""
    if profile not in PROFILES:
        raise BookError(f"PROFILE={profile} is not one of {', '.join(PROFILES)}")


def _code_cell(block: list[str], where: str, first: int) -> CodeCell:
    """Return the cell whose block begins at line ``first`` of its chapter."""
    options: dict[str, Any] = {}
    rest = block
    if block and block[0].strip() == "---":
        end = next((i for i, line in enumerate(block[1:], 1) if line.strip() == "---"), 0)
        options = yaml.load("\n".join(block[1:end]), where, first + 1) or {}
        rest = block[end + 1 :]
    else:
        while rest and re.match(r":[\w-]+:", rest[0]):
            key, _, value = rest[0][1:].partition(":")
            options[key] = yaml.load(value, where, first + len(block) - len(rest))
            rest = rest[1:]
    tags = options.get("tags") or []
    return CodeCell(tuple([tags] if isinstance(tags, str) else tags), "\n".join(rest).strip("\n"))


def load(project: Project, name: str) -> Chapter:
    """Read a chapter of ``book/``."""
    path = project.book / f"{name}.md"
    if not path.is_file():
        raise BookError(f"_toc.yml names chapter {name}, but {project.shown(path)} does not exist")
    try:
        chapter = Chapter(name, path.read_text(encoding="utf-8-sig"))  # some editors leave a mark
    except UnicodeDecodeError as error:
        raise BookError(
            f"chapter {name}: {project.shown(path)} is not UTF-8: {error.reason} at byte "
            f"{error.start}"
        ) from None
    strange = _NO_TEXT.search(chapter.text)
    if strange:
        line = chapter.text.count("\n", 0, strange.start()) + 1
        raise BookError(
            f"chapter {name}: {project.shown(path)}, line {line} has the character "
            f"U+{ord(strange[0]):04X}, which no text has; in code write {strange[0]!a}"
        )
    if chapter.code and not chapter.header:
        raise BookError(
            f"chapter {name}: {project.shown(path)} has code cells and does not begin with the "
            "header that says so: a line ---, then jupytext: …, as the other chapters do"
        )
    return chapter


def load_all(project: Project) -> list[Chapter]:
    """Read every chapter that the table of contents names."""
    return [load(project, name) for name in project.toc]


def check_openings(chapters: list[Chapter]) -> None:
    """Raise ``BookError`` for chapters, the first page apart, that do not open as they should."""
    silent = [chapter.name for chapter in chapters[1:] if not chapter.opens_well]
    if silent:
        raise BookError(
            f"{', '.join(silent)}: a chapter begins, right under its title, with\n"
            f"```{{admonition}} {OPENING}\n:class: tip\n\n* …\n```"
        )


def pick(project: Project, name: str) -> Chapter:
    """Read the chapter that a user asked for by name."""
    bare = name.removeprefix("book/").removesuffix(".md")
    if bare not in project.toc:
        raise BookError(f"CHAPTER={name} is not in _toc.yml; it has: {', '.join(project.toc)}")
    return load(project, bare)
