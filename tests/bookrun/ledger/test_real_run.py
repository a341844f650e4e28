"""The ledger names what the real data gave, where a verdict waits for them."""

from bookrun.ledger.claims import Row
from bookrun.ledger.summary import summary
from bookrun.real_run import RealRun
from findings import evidence

ROW = Row("fig2b", "Figure 2(b)", "It falls.", kind="figure")
REAL = RealRun("2026-11-26", "abc1234", {}, {}, {"fig2b": "figure reproduced in part"})


def noted(*outcomes: str, real: RealRun | None = REAL) -> tuple[str, str]:
    found = [evidence(outcome=outcome, claim="fig2b") for outcome in outcomes]
    entry = summary([ROW], found, real=real)["rows"][0]
    return entry["verdict"], entry["note"]


def test_a_verdict_that_waits_for_data_is_told_what_they_gave() -> None:
    assert noted("not checked", "passed") == (
        "not checked here",
        "1 of 2 not checked: stand-in data; recorded on the real data, 26 November 2026, commit "
        "abc1234: figure reproduced in part, not run again here",
    )


def test_what_was_recorded_decides_nothing() -> None:
    assert noted("passed") == ("figure reproduced", "")
    assert noted("failed") == ("figure not reproduced", "failing: a")
    assert noted("skipped", "passed")[1] == "1 of 2 not checked: skipped"
    assert noted("not checked", real=None)[1] == "1 of 1 not checked: stand-in data"
    other = RealRun("2026-11-26", "abc1234", {}, {}, {"fig3": "figure reproduced"})
    assert noted("not checked", real=other)[1] == "1 of 1 not checked: stand-in data"
