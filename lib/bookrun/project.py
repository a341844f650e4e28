"""Find things by their names, and fingerprint what every chapter shares."""

import os
import platform
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bookrun.errors import BookError
from bookrun.files import digest
from bookrun.imports import Library


@dataclass(frozen=True)
class Project:
    """The repository at ``root``: its sources, and the generated files under ``build/``."""

    root: Path

    @property
    def book(self) -> Path:
        """The chapters' directory, which is also the directory they run in."""
        return self.root / "book"

    @property
    def build(self) -> Path:
        """Everything generated."""
        return self.root / "build"

    @property
    def html(self) -> Path:
        """The finished site."""
        return self.build / "html"

    @property
    def claims(self) -> Path:
        """The claims ledger's rows."""
        return self.book / "claims.yaml"

    @property
    def test_evidence(self) -> Path:
        """Return what the tests found about the claims."""
        return self.build / "evidence" / "tests.json"

    def recorded(self, figure: str) -> Path:
        """Return the recorded runs of a figure."""
        return self.root / "recorded" / f"{figure}.json"

    def executed(self, profile: str, chapter: str) -> Path:
        """Return the executed notebook of a chapter."""
        return self.build / "executed" / profile / f"{chapter}.ipynb"

    def failed(self, chapter: str) -> Path:
        """Return the partial notebook of a chapter whose last run failed."""
        return self.build / "failed" / f"{chapter}.ipynb"

    def log(self, name: str) -> Path:
        """Return what a step wrote besides its result."""
        return self.build / "logs" / f"{name}.log"

    def shown(self, path: Path) -> str:
        """``path`` as the user would type it from the root."""
        return (
            path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)
        )

    @cached_property
    def toc(self) -> list[str]:
        """The chapters that ``_toc.yml`` names, in order, the root first."""
        from bookrun.source import yaml  # a figure is recorded without it

        path = self.root / "_toc.yml"
        if not path.is_file():
            raise BookError(f"{path} is missing: it names the chapters")
        found: list[str] = []

        def walk(entry: Any) -> None:
            if isinstance(entry, list):
                for item in entry:
                    walk(item)
            elif isinstance(entry, dict):
                names = [entry[key] for key in ("root", "file") if key in entry]
                found.extend(str(name).removesuffix(".md") for name in names)
                for key in ("parts", "chapters", "sections", "entries", "subtrees"):
                    walk(entry.get(key))

        walk(yaml.read(path, "_toc.yml"))
        repeated = sorted({name for name in found if found.count(name) > 1})
        if repeated:
            raise BookError(f"_toc.yml names {', '.join(repeated)} more than once")
        if not found:
            raise BookError("_toc.yml names no chapter")
        return found

    @cached_property
    def library(self) -> Library:
        """The packages under ``lib/``, and which module imports which."""
        return Library(self.root / "lib")

    @cached_property
    def lock_digest(self) -> str:
        """Fingerprint of the lock file."""
        path = self.root / "requirements.lock"
        if not path.is_file():
            raise BookError(f"{path} is missing: it pins every version; make lock writes it")
        return digest(path.read_bytes())

    @cached_property
    def python(self) -> str:
        """The interpreter's version."""
        return platform.python_version()


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
