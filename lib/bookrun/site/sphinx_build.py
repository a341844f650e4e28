"""From the source directory to the site, which replaces the old one only when it is good."""

import re
import shutil
from pathlib import Path
from typing import Any

from bookrun.errors import BookError
from bookrun.execution.process_pool import Ended, Job, run_jobs
from bookrun.files import digest, swap_directory, write_atomic, write_if_changed
from bookrun.project import Project
from bookrun.site import page_check

_STAMP = ".bookrun"
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def fingerprint(project: Project, sources: dict[str, bytes]) -> str:
    """Return everything that the site depends on."""
    parts: list[str | bytes] = [*_renderer(project)]
    parts += [(project.root / name).read_bytes() for name in ("_config.yml", "_toc.yml")]
    for path in sorted(sources):
        parts += [path, sources[path]]
    return digest(*parts)


def _renderer(project: Project) -> list[str]:
    """Return what makes pages of sources: modules of ``lib/``, the locked versions, Python."""
    modules = project.library.behind(["bookrun.sphinxext", "bookrun.site.sphinx_build"])
    parts = [project.lock_digest, project.python]
    return parts + list(project.library.fingerprints(modules).values())


def is_fresh(project: Project, wanted: str) -> bool:
    """Return whether the site that stands is the one these sources make."""
    stamp = project.html / _STAMP
    return (
        (project.html / "index.html").is_file()
        and stamp.is_file()
        and stamp.read_text(encoding="utf-8") == wanted
    )


def build(project: Project, sources: dict[str, bytes], notebooks: dict[str, Any]) -> None:
    """Build the site, check every page, and only then put it in the place of the old one.

    Raises ``BookError`` with every warning and every defect found; the old site then stays.
    """
    work = project.build / "site"
    _forget_other_versions(project, work)
    source = project.build / "src"
    lay_out(source, sources)
    ended = run_sphinx(project, source, project.root / "_toc.yml", work, strict=True)
    log = project.log("site")
    if ended.status != 0:
        # a warning is raised when a page is read: forget the reading, or it would be silent next
        shutil.rmtree(work / "_build", ignore_errors=True)
        complaints = complaints_in(log, source)
        raise BookError(
            "\n".join(
                [f"the site was not built (full account in {project.shown(log)}):", *complaints]
            )
        )
    new = project.build / "html.new"
    shutil.rmtree(new, ignore_errors=True)
    shutil.copytree(work / "_build" / "html", new, ignore=_unused_mathjax)
    problems = page_check.check_notebooks(notebooks) + page_check.check_site(new)
    if problems:
        raise BookError(
            "\n".join([f"the pages have {len(problems)} defects (in build/html.new):", *problems])
        )
    write_atomic(new / _STAMP, fingerprint(project, sources))
    swap_directory(new, project.html)


def _unused_mathjax(folder: str, names: list[str]) -> list[str]:
    """MathJax comes as a dozen bundles for as many uses; a page loads one of them."""
    if Path(folder).parts[-2:] != ("_static", "mathjax"):
        return []
    return [name for name in names if name.endswith(".js") and name != "tex-chtml.js"]


def lay_out(source: Path, sources: dict[str, bytes]) -> None:
    """Make the directory hold exactly these files, touching only those that differ."""
    for name, content in sources.items():
        write_if_changed(source / name, content)
    for path in source.rglob("*"):
        if path.is_file() and path.relative_to(source).as_posix() not in sources:
            path.unlink()


def run_sphinx(project: Project, source: Path, toc: Path, output: Path, *, strict: bool) -> Ended:
    """Run Jupyter Book; ``strict`` turns every warning and unresolved reference into an error."""
    name = "site" if strict else "preview"
    arguments = ["build", str(source), "--config", str(project.root / "_config.yml")]
    arguments += ["--toc", str(toc), "--path-output", str(output)]
    if strict:
        arguments += ["-W", "--keep-going", "-n"]
    job = Job(name, "jupyter_book.cli.main:main", arguments, project.log(name))
    return run_jobs(
        [job], 1, project.root, lambda ended: f"{ended.job.name}: {ended.seconds:.1f} s"
    )[0]


def complaints_in(log: Path, source: Path) -> list[str]:
    """Return the warnings and errors of a Sphinx run, each once, without this machine's paths."""
    text = _ANSI.sub("", log.read_text(encoding="utf-8", errors="replace"))
    lines = [line.replace(f"{source}/", "") for line in text.splitlines()]
    found = [line for line in lines if re.search(r"\b(WARNING|ERROR|CRITICAL)\b", line)]
    return list(dict.fromkeys(found)) or lines[-15:]


def _forget_other_versions(project: Project, work: Path) -> None:
    """Forget what Sphinx remembers of its reading by other code or with another configuration."""
    config = (project.root / "_config.yml").read_bytes()
    wanted = digest(*_renderer(project), config)
    stamp = work / _STAMP
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != wanted:
        shutil.rmtree(work, ignore_errors=True)
        write_atomic(stamp, wanted)
