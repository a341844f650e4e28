"""The ``{step}`` role: a step of a proof by its name, and whether a machine has checked it."""

import html
from typing import Any

from docutils import nodes
from sphinx.util.docutils import SphinxRole


class ProofStep(nodes.Inline, nodes.Element):
    """Stands for the name of a step."""


class StepRole(SphinxRole):
    """``{step}`lem1 expand a step` ``: the step of that row's proof that begins here."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Leave the place of the name."""
        claim, _, name = self.text.strip().partition(" ")
        return [ProofStep(claim=claim, name=" ".join(name.split()))], []


def fill_in(doctree: nodes.document, table: dict[str, Any]) -> None:
    """Put the names of the steps in their places."""
    checked = {
        (row["id"], step["name"])
        for row in table["rows"]
        for step in row["basis"]["steps"]
        if step["machine"]
    }
    for place in list(doctree.findall(ProofStep)):
        name = html.escape(place["name"])
        mark = ""
        if (place["claim"], place["name"]) in checked:
            mark = ' <span role="img" aria-label="checked by machine">✓</span>'
        text = f'<span class="bookrun-step">{name}{mark}</span>'
        place.replace_self(nodes.raw("", text, format="html"))
