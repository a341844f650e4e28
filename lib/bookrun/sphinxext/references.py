"""Find where in the book things stand, and their addresses as seen from one page."""

import html
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment


def ledger(app: Sphinx) -> dict[str, Any]:
    """Return the ledger with its verdicts; an empty one where none was laid beside the pages."""
    path = Path(app.srcdir) / "ledger.json"
    if not path.is_file():
        return {"rows": [], "counts": {}, "preview": True}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def note(env: BuildEnvironment, what: str) -> None:
    """Remember that the page being read shows something: ``"ledger"``, ``"verdict lem1"``."""
    _shown(env).setdefault(env.docname, set()).add(what)


def forget(env: BuildEnvironment, docname: str) -> None:
    """Forget what a page showed: it is read again, or gone."""
    _shown(env).pop(docname, None)


def shown_on(env: BuildEnvironment, what: str) -> str:
    """Return the first page that shows something; empty where none does."""
    return next((page for page, found in sorted(_shown(env).items()) if what in found), "")


def _shown(env: BuildEnvironment) -> dict[str, set[str]]:
    found: dict[str, set[str]] = env.__dict__.setdefault("bookrun_shown", {})
    return found


def position(env: BuildEnvironment, label: str) -> tuple[str, str] | None:
    """Return page and anchor of a label of the book: a theorem's, a section's, an equation's."""
    proofs = getattr(env, "proof_list", {})
    if label in proofs:
        return str(proofs[label]["docname"]), str(proofs[label]["ids"][0])
    found = getattr(env.get_domain("std"), "anonlabels", {}).get(label.lower())
    if found:
        return str(found[0]), str(found[1])
    equations = getattr(env.get_domain("math"), "equations", {})
    if label in equations:
        return str(equations[label][0]), f"equation-{nodes.make_id(label)}"
    return None


def printed_anchor(claim: str) -> str:
    """Return the anchor of a statement as the paper prints it."""
    return f"printed-{claim}"


@dataclass(frozen=True)
class Links:
    """Addresses as seen from one page, ready for an attribute; empty where there is no place."""

    app: Sphinx
    docname: str

    def row(self, claim: str) -> str:
        """Return the row of a claim in the ledger."""
        return self._address(shown_on(self.app.env, "ledger"), f"claim-{claim}")

    def erratum(self, claim: str) -> str:
        """Return the erratum of a claim."""
        return self._address(shown_on(self.app.env, "errata"), f"erratum-{claim}")

    def printed(self, claim: str) -> str:
        """Return the block with the statement as the paper prints it."""
        return self._address(shown_on(self.app.env, f"printed {claim}"), printed_anchor(claim))

    def statement(self, label: str | None) -> str:
        """Return the place of a label in the book."""
        found = position(self.app.env, label) if label else None
        return self._address(*found) if found else ""

    def chapter(self, name: str) -> str:
        """Return a chapter's page."""
        return self._address(name, "") if name in self.app.env.found_docs else ""

    def _address(self, page: str, anchor: str) -> str:
        if not page:
            return ""
        same = page == self.docname and anchor
        target = "" if same else self.app.builder.get_relative_uri(self.docname, page)
        return html.escape(f"{target}#{anchor}" if anchor else target)


def link(address: str, inner: str) -> str:
    """``inner`` (HTML) as a link, or as it is where there is nowhere to go."""
    return f'<a href="{address}">{inner}</a>' if address else inner
