"""Keep what the claim tests found, a test module at a time, and tell whether it still stands.

A module's outcome stands as long as the module, what it imports from ``tests/`` and ``lib/``
(directly or not), the lock file, Python and the data are what they were.
"""

import ast
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from bookrun.files import digest, write_atomic
from bookrun.imports import imported_names
from bookrun.project import Project


def modules(project: Project) -> list[str]:
    """Return the test modules that speak for a claim, by their paths below the root."""
    found = []
    for path in sorted((project.root / "tests").rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if "mark.claim" in text and any(_marks(node) for node in ast.walk(ast.parse(text))):
            found.append(path.relative_to(project.root).as_posix())
    return found


def _marks(node: ast.AST) -> bool:
    """Return whether the node is ``….mark.claim``."""
    return (
        isinstance(node, ast.Attribute)
        and node.attr == "claim"
        and isinstance(node.value, ast.Attribute)
        and node.value.attr == "mark"
    )


def inputs(project: Project) -> dict[str, dict[str, Any]]:
    """Return for each test module what its outcome depends on now."""
    data: dict[str, str] = {}
    found = {}
    for module in modules(project):
        files = {path.relative_to(project.root).as_posix(): path.read_bytes() for path in
                 _files(project, module)}  # fmt: skip
        imported = project.library.imported(*(text.decode() for text in files.values()))
        if "localgd.datasets" in imported:
            data = data or _data()
        found[module] = {
            "files": {name: digest(text)[:16] for name, text in files.items()},
            "modules": project.library.fingerprints(imported),
            "lock": project.lock_digest,
            "python": project.python,
            "data": data if "localgd.datasets" in imported else {},
        }
    return found


def _files(project: Project, module: str) -> Iterator[Path]:
    """Yield the module, the ``conftest.py`` above it, and the helpers that they import."""
    tests = project.root / "tests"
    path = project.root / module
    folders = [folder for folder in path.parents if folder.is_relative_to(tests)]
    waiting = [path, *(each for f in folders if (each := f / "conftest.py").is_file())]
    seen: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        yield path
        for name in imported_names(path.read_text(encoding="utf-8")):
            helper = tests / "support" / f"{name}.py"
            if helper.is_file():
                waiting.append(helper)


def _data() -> dict[str, str]:
    from localgd import datasets  # costs a third of a second: only where it is needed

    return {name: datasets.fingerprint(name) for name in datasets.names()}


def kept(path: Path) -> dict[str, dict[str, Any]]:
    """Return what is on file at ``path`` of each test module, by its path below the root.

    ``inputs``: what it depended on; ``reduced``: whether its random tests took fewer cases than
    they name; ``seconds``; ``tests``: the records of its claim tests.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["modules"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def stale(project: Project, *, reduced: bool = True) -> dict[str, str]:
    """Return the test modules that have to run, each with the reason.

    ``reduced=False`` asks for all the cases that a random test names.
    """
    on_file = kept(project.test_evidence)
    found = {}
    for module, now in inputs(project).items():
        why = _why(on_file.get(module), now, reduced=reduced)
        if why:
            found[module] = why
    return found


def _why(then: Mapping[str, Any] | None, now: Mapping[str, Any], *, reduced: bool) -> str:
    if then is None:
        return "never run"
    old = then["inputs"]
    changed: list[str] = []
    for name in now:
        if isinstance(now[name], dict):
            changed += [
                each for each in sorted({*old[name], *now[name]})
                if old[name].get(each) != now[name].get(each)
            ]  # fmt: skip
        elif old[name] != now[name]:
            changed.append(name)
    if changed:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        return f"{', '.join(changed[:3])}{more} changed"
    failed = sorted({test["test"] for test in then["tests"] if test["outcome"] == "failed"})
    if failed:
        return f"failed last time: {', '.join(failed)}"
    return "run with fewer cases" if then["reduced"] and not reduced else ""


def keep(project: Project, path: Path, new: Mapping[str, Mapping[str, Any]]) -> None:
    """Write to ``path`` what the modules of a run have found, beside what is on file of others."""
    known = set(modules(project))
    content = {**kept(path), **new}
    there = {name: content[name] for name in sorted(content) if name in known}
    write_atomic(path, json.dumps({"modules": there}, indent=1) + "\n")


def seconds(project: Project, names: Collection[str]) -> float | None:
    """Return how long the modules took when they ran last; ``None`` where one never did."""
    on_file = kept(project.test_evidence)
    if not set(names) <= set(on_file):
        return None
    return float(sum(on_file[name]["seconds"] for name in names))
