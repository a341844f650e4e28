"""The ``{solution}`` directive: the solution of an exercise, folded away until it is asked for."""

from typing import Any, ClassVar

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

#: Styled as the folds of proofs are.
_OPENING = '<details class="bookrun-proof-fold bookrun-solution"><summary>Solution</summary>'


class SolutionDirective(SphinxDirective):
    """A solution in the text after its exercise; the code that checks it is the next cell."""

    has_content = True
    option_spec: ClassVar[dict[str, Any]] = {}

    def run(self) -> list[nodes.Node]:
        """Put the content into a fold."""
        return [_html(_OPENING), *self.parse_content_to_nodes(), _html("</details>")]


def _html(text: str) -> nodes.raw:
    return nodes.raw("", text, format="html")
