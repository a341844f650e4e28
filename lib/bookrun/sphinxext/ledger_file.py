"""The ledger for programs, beside the pages: rows, verdicts, evidence, numbers, versions."""

import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sphinx.application import Sphinx

from bookrun.files import write_if_changed
from bookrun.sphinxext.references import ledger

_PACKAGES = ("localgd", "torch", "numpy", "scipy", "sympy", "hypothesis")


def write(app: Sphinx, error: Exception | None) -> None:
    """Write ``ledger.json`` into the site."""
    if error is not None or app.builder.name != "html":
        return
    found = ledger(app)
    content = {
        "paper": "Zhang and Li (2019), Distributed Optimization for Over-Parameterized Learning",
        "versions": {name: _version(name) for name in _PACKAGES},
        "counts": found["counts"],
        "claims": found["rows"],
        "numbers": found.get("values", {}),
    }
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    write_if_changed(Path(app.outdir) / "ledger.json", text.encode())


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
