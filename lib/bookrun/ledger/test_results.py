"""Whether the claim tests' outcome on file is still theirs."""

import json

from bookrun.files import digest
from bookrun.project import Project


def stamp(project: Project) -> dict[str, str]:
    """What the outcome of the tests depends on."""
    from localgd import datasets  # costs a third of a second: only where it is needed

    return {
        "lib": project.lib_digest,
        "tests": project.tests_digest,
        "lock": project.lock_digest,
        "python": project.python,
        "data": digest(*(f"{name} {datasets.fingerprint(name)}" for name in datasets.names())),
    }


def stale(project: Project) -> str:
    """Why the claim tests have to run; empty when what they found still stands."""
    if not (project.root / "tests").is_dir():
        return ""
    try:
        content = json.loads(project.test_evidence.read_text(encoding="utf-8"))
        then, tests = content["stamp"], content["tests"]
    except (FileNotFoundError, ValueError, KeyError):
        return "never run"
    now = stamp(project)
    changed = [name for name in now if then.get(name) != now[name]]
    if changed:
        return f"{', '.join(changed)} changed"
    failed = sorted({test["test"] for test in tests if test["outcome"] == "failed"})
    return f"failed last time: {', '.join(failed)}" if failed else ""
