"""Run a test on a mutated copy of the repository's code, and say whether it fails as it should.

Each run has a copy of ``lib/`` and ``tests/`` of its own, of whatever else its mutation changes,
and a process of its own, forked from one that has loaded the libraries already: a run costs about
as long as the test.
"""

import contextlib
import io
import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Container, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bookrun.files import scratch
from bookrun.ledger.mutations import Mutation, mutated

TURNED = "turned"
SURVIVED = "survived"
SKIPPED = "not checked: its test is skipped here"

#: Loaded once; nothing that a mutation may change.
_LIBRARIES = ["pytest", "hypothesis", "numpy", "scipy.optimize", "sympy", "torch"]
_COPIED = ("lib", "tests")
_PATIENCE = 180.0  # seconds


@dataclass(frozen=True)
class Outcome:
    """The outcome of one mutation: ``TURNED``, ``SURVIVED``, ``SKIPPED`` or what went wrong."""

    mutation: Mutation
    word: str

    @property
    def good(self) -> bool:
        """Return whether the evidence failed, and by a statement that no longer holds."""
        return self.word == TURNED

    @property
    def checked(self) -> bool:
        """Return whether the test ran at all: some need data that are not at hand everywhere."""
        return self.word != SKIPPED


def run_mutations(
    root: Path, mutations: Sequence[Mutation], jobs: int = 1, passing: Container[str] = ()
) -> Iterator[Outcome]:
    """Run the mutations and give their outcomes in order.

    The tests run without any mutation as well, for one that fails by itself shows nothing; not
    those of which it is known that they pass.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_LIBRARIES)
    tests = dict.fromkeys(item.test for item in mutations if item.test not in passing)
    with ProcessPoolExecutor(jobs, mp_context=context, max_tasks_per_child=1) as pool:
        alone = {test: pool.submit(_run, str(root), test, None) for test in tests}
        runs = [pool.submit(_run, str(root), item.test, item) for item in mutations]
        for mutation, run in zip(mutations, runs, strict=True):
            before = alone[mutation.test].result() if mutation.test in alone else SURVIVED
            word = run.result()
            if before == SKIPPED:
                word = SKIPPED
            elif before != SURVIVED:
                word = f"its test does not pass as it is: {before}"
            elif word == SKIPPED:
                word = "broken, not refuted: its test passes as it is, and is skipped with it"
            yield Outcome(mutation, word)


def _run(root: str, test: str, mutation: Mutation | None) -> str:
    """In a process of its own: the outcome of one test on a copy of the code."""
    sys.dont_write_bytecode = True
    with scratch("mutate-") as folder:
        work = folder.resolve()
        _copy(Path(root), work)
        if mutation is not None:
            file, text = mutated(work, mutation)
            _own(work / Path(file).parts[0])
            (work / file).write_text(text, encoding="utf-8")
            os.environ["BOOKRUN_MUTATION"] = file
        os.chdir(work)
        sys.path.insert(0, str(work / "lib"))
        for name in [name for name in sys.modules if name.partition(".")[0] == "bookrun"]:
            del sys.modules[name]  # this module's package, which the test takes from the copy
        return _pytest(test)


def _copy(root: Path, work: Path) -> None:
    for path in root.iterdir():
        if path.name in _COPIED:
            ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(path, work / path.name, ignore=ignore)
        elif not path.name.startswith(".") and path.name != "build":
            (work / path.name).symlink_to(path)


def _own(path: Path) -> None:
    """Put a copy in the place of a link, so that what is written there stays there."""
    if path.is_symlink():
        source = path.resolve()
        path.unlink()
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, path)


def _pytest(test: str) -> str:
    import pytest

    watcher = _Watcher()
    arguments = [test, "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "--rootdir=."]
    # the libraries are there before pytest is
    arguments += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    signal.signal(signal.SIGALRM, _give_up)
    signal.setitimer(signal.ITIMER_REAL, _PATIENCE)
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        status = pytest.main(arguments, plugins=[watcher])
    signal.setitimer(signal.ITIMER_REAL, 0)
    if status == 0:
        return SURVIVED if watcher.passed else SKIPPED
    if watcher.errors and all(map(_says_no, watcher.errors)):
        return TURNED
    names = ", ".join(type(error).__name__ for error in watcher.errors)
    return f"broken, not refuted: {names or said.getvalue().strip()[-300:]}"


def _give_up(_signal: int, _frame: Any) -> None:
    raise TimeoutError


class _Watcher:
    """Keeps what the tests raised, and counts those that passed."""

    def __init__(self) -> None:
        self.errors: list[BaseException] = []
        self.passed = 0

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Count a test that ran and passed."""
        self.passed += report.when == "call" and report.passed

    def pytest_exception_interact(self, call: Any) -> None:
        """Keep an exception that pytest reports."""
        self.errors.append(call.excinfo.value)


def _says_no(error: BaseException) -> bool:
    """Return whether an exception says that a statement fails, and not that the code broke."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(_says_no, error.exceptions))
    return isinstance(error, AssertionError) or type(error).__name__ == "Failed"


def lacking(rows: Iterable[Any], mutations: Sequence[Mutation], least: int = 2) -> list[str]:
    """Return the rows for which fewer than ``least`` mutations are declared."""
    counts = {row.id: 0 for row in rows}
    for mutation in mutations:
        for claim in mutation.claims:
            if claim in counts:
                counts[claim] += 1
    return [claim for claim, count in counts.items() if count < least]
