"""Proofs that can be folded away: the first on a page is open, the others a line.

They open by themselves where a link leads into them, and all of them do on paper.
"""

from docutils import nodes
from sphinx_proof.nodes import proof_node


def fold(doctree: nodes.document) -> None:
    """Put each proof of a page into a fold."""
    for number, proof in enumerate(list(doctree.findall(proof_node))):
        is_open = " open" if number == 0 else ""
        opening = (
            f'<details class="bookrun-proof-fold"{is_open}><summary>Proof{_steps(proof)}</summary>'
        )
        _drop_opening(proof)
        parent = proof.parent
        at = parent.index(proof)
        parent[at : at + 1] = [_html(opening), proof, _html("</details>")]


def _steps(proof: nodes.Element) -> str:
    count = sum("bookrun-step" in node.astext() for node in proof.findall(nodes.raw))
    return f" in {count} step{'' if count == 1 else 's'}" if count else ""


def _drop_opening(proof: nodes.Element) -> None:
    """Return the summary says "Proof" already."""
    first = next((text for text in proof.findall(nodes.Text) if text.strip()), None)
    if first is None or not first.startswith("Proof. "):
        return
    parent = first.parent
    parent[parent.index(first)] = nodes.Text(first.removeprefix("Proof. "))


def _html(text: str) -> nodes.raw:
    return nodes.raw("", text, format="html")
