"""`make book` refuses sentences that type what a check computes."""

from typing import Any

import pytest

from bookrun.commands.book import refuse_typed_numbers
from bookrun.errors import BookError
from bookrun.source.chapters import Chapter
from trial import chapter_text


def chapter(extra: str = "") -> Chapter:
    return Chapter("one", chapter_text("One", "1 + 1", extra=extra) + "\nThe lead is 1.235.\n")


def checked(outcome: str | None = "passed", value: Any = 1.23511) -> dict[str, Any]:
    return {"one": {"lead": {"name": "lead", "value": value, "outcome": outcome}}}


def test_a_typed_number_that_a_check_computes_is_refused_with_its_place() -> None:
    with pytest.raises(BookError, match=r"book/one\.md, line \d+: 1\.235 is computed by a check"):
        refuse_typed_numbers([chapter()], checked())


def test_what_the_header_allows_passes() -> None:
    refuse_typed_numbers([chapter("bookrun:\n  allowed_numbers: ['1.235']\n")], checked())


@pytest.mark.parametrize(
    "numbers",
    [
        checked("not checked"),  # on stand-in data the numbers are others
        checked(None),  # reported, and no check
        checked(value=1.5),
        {},
    ],
)
def test_numbers_of_other_origin_pass(numbers: dict[str, Any]) -> None:
    refuse_typed_numbers([chapter()], numbers)
