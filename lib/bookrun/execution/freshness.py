"""Tell whether an executed notebook still says what its sources would say today, and why not."""

import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bookrun.execution.data import at_hand
from bookrun.files import clear_unfinished, digest
from bookrun.outputs import RUN, read_notebook
from bookrun.project import Project
from bookrun.source.chapters import Chapter, CodeCell, load

#: A file that code reads by name; one made in braces, f"../recorded/{name}.json", is any such.
_READ = re.compile(r"""["']((?:assets|\.\./recorded|\.\./sweeps)/[\w./{}-]+)["']""")
_SWEPT = re.compile(r"^chapter: *([\w-]+)", re.MULTILINE)  # in a grid file: the chapter it runs
#: What a chapter's process runs besides the chapter.
_EXECUTION = ("bookrun.execution.kernel", "bookrun.execution.notebook_worker")


@dataclass(frozen=True)
class Inputs:
    """All that the numbers of a run depend on."""

    chapter: str
    profile: str
    code: str  # digest of the code cells
    files: dict[str, str]  # digest of each file that they read by name
    modules: dict[str, str]  # digest of each module of lib/ that they import, directly or not
    lock: str
    python: str
    data: dict[str, str]
    parameters: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return the inputs as they are written into the notebook."""
        return asdict(self)


def inputs_of(
    project: Project, chapter: Chapter, profile: str, values: Mapping[str, Any]
) -> Inputs:
    """Return what a run of this chapter would depend on now; ``values`` replace its defaults."""
    files = {path.relative_to(project.root).as_posix(): path for path in _read(project, chapter)}
    texts = {name: path.read_text(encoding="utf-8") for name, path in files.items()}
    swept = {name for text in texts.values() for name in _SWEPT.findall(text)} - {chapter.name}
    others = [load(project, name) for name in sorted(swept) if name in project.toc]
    code = [cell.source for each in (chapter, *others) for cell in each.code]
    scripts = [text for name, text in texts.items() if name.endswith(".py")]
    library = project.library
    modules = library.imported(*code, *scripts) | library.behind(_EXECUTION)
    defaults = {name: parameter.default for name, parameter in chapter.parameters.items()}
    return Inputs(
        chapter=chapter.name,
        profile=profile,
        code=_digest_code(chapter.code),
        files={name: digest(text) for name, text in texts.items()}
        | {f"book/{each.name}.md": _digest_code(each.code) for each in others},
        modules=library.fingerprints(modules),
        lock=project.lock_digest,
        python=project.python,
        data=at_hand(chapter.data, f"chapter {chapter.name}"),
        parameters={**defaults, **values},
    )


def _digest_code(cells: Iterable[CodeCell]) -> str:
    """Return a digest of the cells, and of the tags by which they run rather than look."""
    parts: list[str] = []
    for cell in cells:
        parts += [cell.source, *(t for t in cell.tags if not t.startswith(("hide-", "remove-")))]
    return digest(*parts)


def _read(project: Project, chapter: Chapter) -> Iterator[Path]:
    """Yield the files that the chapter reads by name: scripts, recorded runs, grids."""
    names = {name for cell in chapter.code for name in _READ.findall(cell.source)}
    for name in sorted(names):
        pattern = re.sub(r"\{[^}]*\}", "*", name.removeprefix("../"))
        home = project.root if name.startswith("../") else project.book
        yield from sorted(path for path in home.glob(pattern) if path.is_file())


def reasons(project: Project, now: Inputs) -> list[str]:
    """Return why the chapter has to be executed; nothing when its result is fresh."""
    path = project.executed(now.profile, now.chapter)
    notebook = read_notebook(path)
    if notebook is None:
        why = ["never executed"]
    else:
        why = differences(notebook.get("metadata", {}).get(RUN) or {}, now.to_dict())
    failed = project.failed(now.chapter)
    if why and failed.is_file():
        why.append(f"last run failed: see {project.shown(failed)}")
    return why


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return what changed between two runs' inputs, component by component, in words."""
    if not set(now) <= set(then):
        return ["what it depended on is not known"]
    why = []
    if then["code"] != now["code"]:
        why.append("its code changed")
    for kind, changed in (("", "files"), ("", "modules"), ("data: ", "data")):
        names = _changed(then[changed], now[changed])
        if why:  # other code imports and reads other things
            names = [name for name in names if name in then[changed] and name in now[changed]]
        if names:
            why.append(f"{kind}{_listed(names)} changed")
    if then["lock"] != now["lock"]:
        why.append("requirements.lock changed")
    if then["python"] != now["python"]:
        why.append(f"Python changed: {then['python']} → {now['python']}")
    old, new = then["parameters"], now["parameters"]
    shown = [
        f"{name} {old.get(name, 'absent')} → {new.get(name, 'absent')}"
        for name in _changed(old, new)
    ]
    if shown:
        why.append(f"parameters changed: {', '.join(shown)}")
    if then["chapter"] != now["chapter"] or then["profile"] != now["profile"]:
        why.append(f"it is the result of {then['chapter']}, profile {then['profile']}")
    return why


def _changed(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the names that are in one of the two only, or stand for something else."""
    return [
        name
        for name in sorted({*then, *now})
        if (name in then) != (name in now) or then[name] != now[name]
    ]


def _listed(names: list[str], most: int = 4) -> str:
    """Return the names in a row, many of them cut short."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def forget_strays(project: Project) -> None:
    """Remove results of chapters that the table of contents no longer names."""
    for directory in (project.build / "executed").glob("*"):
        for path in directory.glob("*.ipynb"):
            if path.stem not in project.toc:
                path.unlink()
    for path in (project.build / "failed").glob("*.ipynb"):
        if path.stem not in project.toc:
            path.unlink()
    shutil.rmtree(project.build / "tmp", ignore_errors=True)
    clear_unfinished(project.build)
