"""Pytest plugin: tests that speak for a claim of the paper leave their outcome as evidence.

``@pytest.mark.claim("lem1", kind="symbolic")`` ties a test to a row of the ledger. The number of
cases behind a test is what Hypothesis ran, or what the test recorded with
``record_property("cases", n)``, or one. ``--claim=lem1`` selects the tests of one claim;
``--claim-evidence=FILE`` writes the outcomes of a whole run.
"""

import json
import re
from collections.abc import Generator
from pathlib import Path
from typing import Any, get_args

import pytest

from bookrun.files import write_atomic
from bookrun.ledger.claims import load as load_claims
from bookrun.ledger.test_results import stamp
from bookrun.outputs import Kind
from bookrun.project import Project

_PASSING = re.compile(r"(\d+) passing")
_PROPERTY = "bookrun-claims"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the two options."""
    group = parser.getgroup("claims", "the claims ledger")
    group.addoption("--claim", action="append", default=[], help="only the tests of this claim")
    group.addoption("--claim-evidence", default="", help="where to write what the tests found")


def pytest_configure(config: pytest.Config) -> None:
    """Know the marker, and listen where evidence is asked for (not in xdist's workers)."""
    config.addinivalue_line("markers", "claim(id, kind='numeric'): what the test says about a row")
    path = config.getoption("--claim-evidence")
    if path and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Recorder(Path(path), Path(config.rootpath)))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Note each test's claims on it, and keep those of the claims asked for."""
    wanted = set(config.getoption("--claim"))
    _refuse_unknown(wanted, Project(Path(config.rootpath)))
    kept: list[pytest.Item] = []
    dropped: list[pytest.Item] = []
    for item in items:
        claims = [_claim(mark, item) for mark in item.iter_markers("claim")]
        if claims:
            item.user_properties.append((_PROPERTY, claims))
        (kept if not wanted or wanted & {c["claim"] for c in claims} else dropped).append(item)
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = kept


def _refuse_unknown(wanted: set[str], project: Project) -> None:
    """Say so when a claim that is asked for is no row of the ledger."""
    if not wanted or not project.claims.is_file():
        return
    known = [row.id for row in load_claims(project)]
    for name in sorted(wanted.difference(known)):
        raise pytest.UsageError(f"CLAIM={name} is no row of the ledger; it has: {', '.join(known)}")


def _claim(mark: pytest.Mark, item: pytest.Item) -> dict[str, str]:
    if len(mark.args) != 1 or not isinstance(mark.args[0], str) or set(mark.kwargs) - {"kind"}:
        raise pytest.UsageError(f'{item.nodeid}: write @pytest.mark.claim("id", kind="numeric")')
    kind = mark.kwargs.get("kind", "numeric")
    if kind not in get_args(Kind):
        raise pytest.UsageError(f"{item.nodeid}: kind {kind!r} is not {', '.join(get_args(Kind))}")
    return {"claim": mark.args[0], "kind": kind}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the number of cases that Hypothesis ran to the report of the call."""
    report = yield
    statistics = getattr(item, "hypothesis_statistics", "")
    if report.when == "call" and statistics:
        cases = sum(int(number) for number in _PASSING.findall(statistics))
        report.user_properties.append(("cases", cases))
    return report


class _Recorder:
    """Collects the outcomes and writes them when the run has been complete."""

    def __init__(self, path: Path, root: Path) -> None:
        self.path = path
        self.project = Project(root)
        # taken before the tests run, so that an edit meanwhile makes the evidence stale
        self.stamp = stamp(self.project)
        self.tests: dict[str, list[dict[str, Any]]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        properties = dict(report.user_properties)
        claims = properties.get(_PROPERTY)
        if not isinstance(claims, list):
            return
        if report.when == "call" or report.outcome != "passed":
            self.tests[report.nodeid] = [
                {
                    **claim,
                    "test": report.nodeid,
                    "outcome": report.outcome,
                    "cases": int(str(properties.get("cases", 1))),
                }
                for claim in claims
            ]

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        complete = (
            pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED,
        )  # fmt: skip
        if exitstatus in complete:
            records = [record for name in sorted(self.tests) for record in self.tests[name]]
            content = {"stamp": self.stamp, "tests": records}
            write_atomic(self.path, json.dumps(content, indent=1) + "\n")
