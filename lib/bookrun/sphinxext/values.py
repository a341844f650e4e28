"""The ``{value}`` role: a number in a sentence is the one that a check or a report computed."""

import html
from typing import Any

from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole

from bookrun.display.markup import number, plain
from bookrun.sphinxext.references import Links

logger = logging.getLogger(__name__)


class Value(nodes.Inline, nodes.Element):
    """Stands for a number."""


class ValueRole(SphinxRole):
    """``{value}`deep:lead` ``, or ``{value}`deep:lead | .2f` `` with a format of Python's.

    Before the colon stands the chapter, after it the key or the name of a check or a report.
    """

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Leave the place of the number."""
        name, _, form = self.text.rpartition(" | ") if " | " in self.text else (self.text, "", "")
        return [Value(name=name.strip(), form=form.strip())], []


def fill_in(doctree: nodes.document, table: dict[str, Any], links: Links) -> None:
    """Put the numbers of a page in their places."""
    for place in list(doctree.findall(Value)):
        chapter, _, name = place["name"].partition(":")
        record = table.get("values", {}).get(chapter, {}).get(name.strip())
        if record is None:
            if not table["preview"]:
                logger.warning(
                    "value of %s: no check or report of that name", place["name"],
                    location=links.docname,
                )  # fmt: skip
            place.replace_self(nodes.Text("…"))
            continue
        try:
            text = shown(record["value"], place["form"])
        except (ValueError, TypeError):
            logger.warning(
                "value of %s: %r does not fit %r", place["name"], place["form"], record["value"],
                location=links.docname,
            )  # fmt: skip
            text = str(record["value"])
        says = html.escape(tooltip(record), quote=True)
        place.replace_self(
            nodes.raw(
                "", f'<span class="bookrun-number" title="{says}">{text}</span>', format="html"
            )
        )


def shown(value: Any, form: str = "") -> str:
    """Return the number as people read it: in the given format, else in three digits."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return html.escape(number(value))
    if form:
        return html.escape(format(value, form)).replace("-", "−")
    return number(value if isinstance(value, int) else float(format(value, ".3g")))


def tooltip(record: dict[str, Any]) -> str:
    """Return what computed the number, and its bounds."""
    low, high = record.get("low"), record.get("high")
    if low is not None and high is not None:
        bounds = f", in [{number(low)}, {number(high)}]"
    elif low is not None:
        bounds = f", ≥ {number(low)}"
    else:
        bounds = f", ≤ {number(high)}" if high is not None else ""
    mark = {"passed": " ✓", "failed": " ✗", "not checked": " (not checked)"}
    outcome = mark.get(str(record.get("outcome")), "")
    return f"{plain(record['name'])}: {number(record['value'])}{bounds}{outcome}"
