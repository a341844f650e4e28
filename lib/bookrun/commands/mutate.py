"""``make mutate``: change each claim where its evidence lives, and see its verdict turn."""

import argparse
import time

from bookrun.commands import count
from bookrun.errors import BookError
from bookrun.ledger import claims, test_results
from bookrun.ledger.evidence import from_tests
from bookrun.ledger.mutation_run import lacking, run_mutations
from bookrun.ledger.mutations import declared
from bookrun.project import Project


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add which claim's mutations, and how many at once."""
    parser.add_argument("--claim", default="", help="only the mutations of this claim")
    parser.add_argument("--jobs", type=count, default=1, help="how many at once")


def run(project: Project, options: argparse.Namespace) -> int:
    """Run the mutations."""
    mutate(project, options.claim, options.jobs)
    return 0


def mutate(project: Project, wanted: str, jobs: int) -> None:
    """Run all declared mutations, or those of one claim, and print what came of each.

    Raises ``BookError`` when one does not turn the verdict, and when a claim declares fewer than
    two. One whose test is skipped, for lack of data, is neither good nor bad.
    """
    rows = claims.load(project)
    if wanted and wanted not in {row.id for row in rows}:
        raise BookError(f"CLAIM={wanted} is no row of the ledger")
    mutations = [item for item in declared(project) if not wanted or wanted in item.claims]
    begin = time.perf_counter()
    bad = skipped = 0
    for outcome in run_mutations(project.root, mutations, jobs, _passing(project)):
        skipped += not outcome.checked
        bad += outcome.checked and not outcome.good
        mark = "✓" if outcome.good else "✗" if outcome.checked else "–"
        print(f"{mark} {', '.join(outcome.mutation.claims)}: {outcome.mutation.shown}", flush=True)
        if not outcome.good:
            print(f"  {outcome.word}", flush=True)
    asked = [row for row in rows if not wanted or row.id == wanted]
    few = lacking(asked, mutations)
    seconds = time.perf_counter() - begin
    turned = len(mutations) - bad - skipped
    print(f"{turned} of {len(mutations)} turn the verdict ({seconds:.0f} s)")
    if skipped:
        print(f"{skipped} were not checked: their tests are skipped here, for lack of data")
    problems = [f"{bad} mutations do not turn the verdict"] if bad else []
    if few:
        problems.append(f"fewer than two mutations are declared for {', '.join(few)}")
    if problems:
        raise BookError("\n".join(problems))


def _passing(project: Project) -> set[str]:
    """Return the tests that passed when all were last run, where that still stands."""
    if test_results.stale(project):
        return set()
    outcomes: dict[str, set[str]] = {}
    for item in from_tests(project.test_evidence):
        outcomes.setdefault(item.where.partition("[")[0], set()).add(item.outcome)
    return {test for test, found in outcomes.items() if found == {"passed"}}
