"""Checks: a number in the page, its bounds beside it, and the build red when it leaves them."""

import html
import math
import os
from typing import Any, Protocol, get_args

from bookrun.display.markup import inline, number, show
from bookrun.outputs import CHECK, SWEEP, Kind


class CheckFailed(AssertionError):  # noqa: N818 - it reads as the sentence it is
    """A checked value lies outside its bounds, or is not a number at all."""


class DataSource(Protocol):
    """The origin of data, as ``localgd.datasets.Source`` describes it."""

    @property
    def kind(self) -> str:
        """``"real"``, or ``"stand-in"`` for data that only take the real ones' place."""
        ...


def check(
    claim: str,
    name: str,
    value: float | bool,
    low: float | None = None,
    high: float | None = None,
    *,
    kind: Kind = "numeric",
    cases: int = 1,
    source: DataSource | None = None,
    key: str = "",
) -> None:
    """Show ``value`` and its bounds in the page, record it, and fail the build when it is outside.

    ``claim`` is the id of a row of the ledger. A number needs a bound, ``low`` or ``high`` or
    both, inclusive; a bool must be true. ``kind`` says what passing means for the claim (see
    :mod:`bookrun.ledger.verdicts`), ``cases`` how many cases stand behind the value. A value that
    rests on stand-in data (``source``) is shown and recorded as not checked: it can neither pass
    nor fail. A sentence shows the value by its ``key``, or by its name:
    ``{value}`chapter:key` ``. In a sweep a value outside its bounds is recorded, and the chapter
    goes on.

    Raises ``CheckFailed`` for a value outside its bounds and for NaN, ``ValueError`` for a check
    that could not fail.
    """
    if kind not in get_args(Kind):
        raise ValueError(f"kind={kind!r} is not one of {', '.join(get_args(Kind))}")
    if isinstance(cases, bool) or not isinstance(cases, int) or cases < 1:
        raise ValueError(f"cases={cases!r}: a check stands for at least one case")
    measured: float | bool = _measured(value, name)
    if isinstance(measured, bool):
        if low is not None or high is not None:
            raise ValueError(f"check {name!r}: a yes or no takes no bounds, it must be true")
        passed = measured
    else:
        if low is None and high is None:
            raise ValueError(f"check {name!r}: a number needs a bound, low or high")
        for bound in (low, high):
            if bound is not None and math.isnan(bound):
                raise ValueError(f"check {name!r}: a bound that is NaN bounds nothing")
        passed = (low is None or measured >= low) and (high is None or measured <= high)
        passed = passed and not math.isnan(measured)
    outcome = "passed" if passed else "failed"
    if source is not None and source.kind != "real":
        outcome = "not checked"
    record = {
        "claim": claim,
        "name": name,
        "value": measured if math.isfinite(measured) else str(measured),
        "low": _plain(low),
        "high": _plain(high),
        "kind": kind,
        "cases": cases,
        "outcome": outcome,
        **({"key": key} if key else {}),
    }
    _display(claim, name, measured, _bounds(measured, low, high), outcome, record)
    if outcome == "failed" and SWEEP not in os.environ:
        bounds = _bounds(measured, low, high)
        rule = f"{number(measured)} is not {bounds}" if bounds else "it does not hold"
        raise CheckFailed(f"claim {claim}, {name}: {rule}")


def _measured(value: Any, name: str) -> float | bool:
    """Return a Python bool, int or float, also for NumPy's and torch's scalars."""
    plain = value.item() if hasattr(value, "item") else value
    if not isinstance(plain, bool | int | float):
        raise TypeError(f"check {name!r}: {value!r} is neither a number nor a bool")
    return plain


def _plain(bound: float | None) -> float | str | None:
    if bound is None:
        return None
    return float(bound) if math.isfinite(bound) else str(float(bound))


def _bounds(value: float | bool, low: float | None, high: float | None) -> str:
    if isinstance(value, bool):
        return ""
    if low is not None and high is not None:
        return f"in [{number(float(low))}, {number(float(high))}]"
    return f"≥ {number(float(low))}" if low is not None else f"≤ {number(float(high or 0.0))}"


def _display(
    claim: str, name: str, value: float | bool, bounds: str, outcome: str, record: dict[str, Any]
) -> None:
    mark, word = {
        "passed": ("✓", "Checked"),
        "failed": ("✗", "Failed"),
        "not checked": ("○", "Not checked on stand-in data"),
    }[outcome]
    words = [bounds] if bounds else []
    if outcome == "not checked":
        words.append("not checked on stand-in data")
    shown = "; ".join(words)
    page = (
        f'<div class="bookrun-check bookrun-{outcome.replace(" ", "-")}">'
        f'<span class="bookrun-mark" role="img" aria-label="{word}">{mark}</span> '
        f'<span class="bookrun-name">{inline(name)}</span> '
        f'<span class="bookrun-value">{number(value)}</span> '
        f'<span class="bookrun-bounds">{html.escape(shown)}</span> '
        f'<span class="bookrun-claim">{html.escape(claim)}</span></div>'
    )
    show(
        page,
        f"{mark} {name}: {number(value)}{f' ({shown})' if shown else ''} [{claim}]",
        {CHECK: record},
    )
