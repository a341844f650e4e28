"""axe-core finds no serious fault in any page, by day, by night, and on a phone."""

from typing import Any

import pytest

from reading import PAGES, Reader, Theme, go

#: Formulas are many and all alike: MathJax's own, they are looked at on one page only.
_RUN = """async ({formulas}) => {
  const where = formulas ? document : {exclude: [["mjx-container"]]};
  const found = await axe.run(where, {resultTypes: ["violations"]});
  return found.violations
    .filter((fault) => ["serious", "critical"].includes(fault.impact))
    .map((fault) => ({rule: fault.id, help: fault.help, count: fault.nodes.length,
      where: fault.nodes.slice(0, 3).map((node) => node.html.slice(0, 160))}));
}"""


def faults(reader: Reader, axe: str, name: str, width: str, theme: Theme, **options: Any) -> Any:
    """The serious and critical violations on a page."""
    with reader.page(width, theme) as (page, _):
        go(page, name)
        page.evaluate(axe)
        return page.evaluate(_RUN, {"formulas": False, **options})


@pytest.mark.parametrize(
    ("width", "theme"), [("desktop", "light"), ("desktop", "dark"), ("phone", "light")]
)
@pytest.mark.parametrize("name", PAGES)
def test_no_serious_fault(reader: Reader, axe: str, name: str, width: str, theme: Theme) -> None:
    assert faults(reader, axe, name, width, theme) == []


def test_no_serious_fault_in_formulas(reader: Reader, axe: str) -> None:
    assert faults(reader, axe, "algorithm", "desktop", "light", formulas=True) == []


def test_a_fault_is_found(reader: Reader, axe: str) -> None:
    with reader.page("desktop") as (page, _):
        page.set_content('<html lang="en"><title>x</title><main><img src="data:,"></main></html>')
        page.evaluate(axe)
        assert [fault["rule"] for fault in page.evaluate(_RUN, {"formulas": True})] == ["image-alt"]
