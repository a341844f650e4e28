"""Whether an executed notebook still says what its sources would say today, and if not, why."""

import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bookrun.errors import BookError
from bookrun.files import digest
from bookrun.outputs import RECORD, read_notebook
from bookrun.project import Project
from bookrun.source.chapters import Chapter

_SWEPT = re.compile(r"^chapter: *([\w-]+)", re.MULTILINE)  # in a grid file: the chapter it runs


@dataclass(frozen=True)
class Record:
    """All that a run depends on."""

    chapter: str
    profile: str
    text: str
    lib: str
    lock: str
    python: str
    data: dict[str, str]
    parameters: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The record as it is written into the notebook."""
        return asdict(self)


def record_for(
    project: Project, chapter: Chapter, profile: str, values: Mapping[str, Any]
) -> Record:
    """What a run of this chapter would depend on now; ``values`` depart from its defaults."""
    defaults = {name: parameter.default for name, parameter in chapter.parameters.items()}
    return Record(
        chapter=chapter.name,
        profile=profile,
        text=digest(chapter.text + _inlined(project, chapter)),
        lib=project.lib_digest,
        lock=project.lock_digest,
        python=project.python,
        data={name: _data_fingerprint(name, chapter.name) for name in chapter.data},
        parameters={**defaults, **values},
    )


def _inlined(project: Project, chapter: Chapter) -> str:
    """What the chapter reads by name: a script in book/assets, a record, a grid and its chapter."""
    names = set(re.findall(r'"((?:assets|\.\./recorded|\.\./sweeps)/[\w./-]+)"', chapter.text))
    texts = [_text_of(project.book / name) for name in sorted(names)]
    swept = {name for text in texts for name in _SWEPT.findall(text)}
    return "".join([*texts, *(_text_of(project.book / f"{name}.md") for name in sorted(swept))])


def _text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _data_fingerprint(name: str, chapter: str) -> str:
    from localgd import datasets  # imported only where a chapter has data

    try:
        return datasets.fingerprint(name)
    except ValueError as error:
        raise BookError(f"chapter {chapter}: its header's data: {error}") from None


def reasons(project: Project, now: Record) -> list[str]:
    """Why the chapter has to be executed; empty when its result is fresh."""
    path = project.executed(now.profile, now.chapter)
    notebook = read_notebook(path)
    if notebook is None:
        why = ["never executed"]
    else:
        why = differences(notebook.get("metadata", {}).get(RECORD) or {}, now.to_dict())
    failed = project.failed(now.chapter)
    if why and failed.is_file():
        why.append(f"last run failed: see {project.shown(failed)}")
    return why


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What changed between two records, component by component, in words."""
    if set(then) - {"seconds", "executed"} != set(now):
        return ["its record is incomplete"]
    why = []
    if then["text"] != now["text"]:
        why.append("its text changed")
    if then["lib"] != now["lib"]:
        why.append("lib/ changed")
    if then["lock"] != now["lock"]:
        why.append("requirements.lock changed")
    if then["python"] != now["python"]:
        why.append(f"Python changed: {then['python']} → {now['python']}")
    names = sorted({*then["data"], *now["data"]})
    changed = [name for name in names if then["data"].get(name) != now["data"].get(name)]
    if changed:
        why.append(f"data: {', '.join(changed)} changed")
    old, new = then["parameters"], now["parameters"]
    shown = [
        f"{name} {old.get(name, 'absent')} → {new.get(name, 'absent')}"
        for name in sorted({*old, *new})
        if (name in old) != (name in new) or old[name] != new[name]
    ]
    if shown:
        why.append(f"parameters changed: {', '.join(shown)}")
    if then["chapter"] != now["chapter"] or then["profile"] != now["profile"]:
        why.append(f"it is the result of {then['chapter']}, profile {then['profile']}")
    return why


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
