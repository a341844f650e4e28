"""Pytest plugin: tests that speak for a claim of the paper leave their outcome as evidence.

``@pytest.mark.claim("lem1", kind="symbolic")`` ties a test to a row of the ledger. The number of
cases behind a test is what Hypothesis ran, or what the test recorded with
``record_property("cases", n)``, or one. ``--claim=lem1`` selects the tests of one claim;
``--claim-evidence=FILE`` writes the outcomes of whole modules. ``--claim-reuse`` leaves out the
claim tests of modules whose outcome on file still stands, and ``--claim-cases=0.2`` has random
tests take a fifth of the cases that they name: the evidence tells how many they were.
"""

import re
from collections.abc import Generator
from pathlib import Path
from typing import Any, get_args

import pytest

from bookrun.ledger import test_results
from bookrun.ledger.claims import load as load_claims
from bookrun.outputs import Kind
from bookrun.project import Project

_PASSING = re.compile(r"(\d+) passing")
_PROPERTY = "bookrun-claims"
_SETTINGS = "_hypothesis_internal_use_settings"  # where the decorator @settings leaves its own


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("claims", "the claims ledger")
    group.addoption("--claim", action="append", default=[], help="only the tests of this claim")
    group.addoption("--claim-evidence", default="", help="where to write what the tests found")
    group.addoption("--claim-reuse", action="store_true", help="leave out what still stands")
    group.addoption("--claim-cases", type=float, default=1.0, help="share of the random cases")


def pytest_configure(config: pytest.Config) -> None:
    """Know the marker, and listen where evidence is asked for (not in xdist's workers)."""
    config.addinivalue_line("markers", "claim(id, kind='numeric'): what the test says about a row")
    config.addinivalue_line(
        "markers", "mutation(change, text, becomes, within=''): a change under which it must fail"
    )
    path = config.getoption("--claim-evidence")
    if path and not hasattr(config, "workerinput"):
        reduced = config.getoption("--claim-cases") < 1
        config.pluginmanager.register(_Recorder(Path(path), Path(config.rootpath), reduced))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Note each test's claims on it, and keep those that are asked for."""
    wanted = set(config.getoption("--claim"))
    project = Project(Path(config.rootpath))
    _refuse_unknown(wanted, project)
    standing = _standing(config)
    share = config.getoption("--claim-cases")
    kept: list[pytest.Item] = []
    dropped: list[pytest.Item] = []
    for item in items:
        claims = [_claim(mark, item) for mark in item.iter_markers("claim")]
        if claims:
            item.user_properties.append((_PROPERTY, claims))
            _take_fewer_cases(item, share)
        asked = not wanted or wanted & {c["claim"] for c in claims}
        known = claims and item.nodeid.partition("::")[0] in standing
        (kept if asked and not known else dropped).append(item)
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = kept


def _standing(config: pytest.Config) -> set[str]:
    """Return the test modules whose claim tests are left out, as what they found still stands."""
    if not config.getoption("--claim-reuse"):
        return set()
    project = Project(Path(config.rootpath))
    return set(test_results.modules(project)) - set(test_results.stale(project, reduced=False))


def pytest_report_header(config: pytest.Config) -> str:
    """Say how many claim tests are left out."""
    count = len(_standing(config))
    return f"claim tests of {count} modules stand as they were found; not run again" * bool(count)


def _take_fewer_cases(item: pytest.Item, share: float) -> None:
    """Have a Hypothesis test try this share of its examples, ten at least."""
    test = getattr(item, "obj", None)
    if share < 1 and getattr(test, "is_hypothesis_test", False):
        from hypothesis import settings  # no test needs it that is not Hypothesis'

        full = getattr(test, _SETTINGS, None) or settings()
        few = min(full.max_examples, max(10, round(full.max_examples * share)))
        setattr(test, _SETTINGS, settings(full, max_examples=few))


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
        report.user_properties.append(("random", True))
    return report


class _Recorder:
    """Collects the outcomes and writes them when the run has been complete."""

    def __init__(self, path: Path, root: Path, reduced: bool) -> None:
        self.path = path
        self.project = Project(root)
        self.reduced = reduced
        # taken before the tests run, so that an edit meanwhile makes the evidence stale
        self.inputs = test_results.inputs(self.project)
        self.found: dict[str, dict[str, Any]] = {}
        self.tests: dict[str, list[dict[str, Any]]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        properties = dict(report.user_properties)
        claims = properties.get(_PROPERTY)
        module = report.nodeid.partition("::")[0]
        if not isinstance(claims, list) or module not in self.inputs:
            return
        about = self.found.setdefault(module, {"reduced": False, "seconds": 0.0})
        about["seconds"] += report.duration
        about["reduced"] |= self.reduced and "random" in properties
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
        if exitstatus not in complete:
            return
        new = {
            module: {
                "inputs": self.inputs[module],
                "reduced": about["reduced"],
                "seconds": round(about["seconds"], 1),
                "tests": [
                    record
                    for name in sorted(self.tests)
                    if name.partition("::")[0] == module
                    for record in self.tests[name]
                ],
            }
            for module, about in self.found.items()
        }
        test_results.keep(self.project, self.path, new)
