"""Code cells folded to one line that says what they do: a page is prose first."""

import ast
from typing import Any

#: With one of these a cell shows no code that could be folded.
_WITHOUT_CODE = {"remove-input", "remove-cell", "hide-input", "hide-cell"}
_LONGEST = 90


def fold(cell: dict[str, Any]) -> None:
    """Fold the code of a cell, and leave its results in sight."""
    tags = cell["metadata"].get("tags", [])
    if cell["cell_type"] != "code" or _WITHOUT_CODE & set(tags):
        return
    name = "Parameters" if "parameters" in tags else title("".join(cell["source"]))
    settings = cell["metadata"].get("mystnb", {})
    prompts = {"code_prompt_show": name, "code_prompt_hide": name}
    cell["metadata"] = {
        **cell["metadata"],
        "tags": [*tags, "hide-input"],
        "mystnb": {**prompts, **settings},
    }


def title(source: str) -> str:
    """Return what a cell says of itself: its first comment, or what its first function does.

    Without either it is called by the functions that it defines, or by its number of lines.
    """
    first = next((line.strip() for line in source.splitlines() if line.strip()), "")
    if first.startswith("#"):
        return _short(first.lstrip("# ").strip() or "Code")
    try:
        defined = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    except SyntaxError:  # a magic of IPython's
        defined = []
    for function in defined:
        said = ast.get_docstring(function)
        if said:
            return _short(said.splitlines()[0].rstrip("."))
    if defined:
        return _short("Code: " + ", ".join(function.name for function in defined))
    count = len([line for line in source.splitlines() if line.strip()])
    return f"Code, {count} line{'' if count == 1 else 's'}"


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1].rstrip() + "…"
