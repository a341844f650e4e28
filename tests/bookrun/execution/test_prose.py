"""A chapter of which only the prose has changed keeps its outputs, cell by cell."""

import json
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import pytest

import trial
from bookrun.execution.prose import renew_text, with_text
from bookrun.files import digest
from bookrun.outputs import RUN
from bookrun.source.chapters import Chapter

TEXT = trial.chapter_text("One", "1 + n", "2 + n", parameters="n = 3")
NEW = TEXT.replace("# One", "# One, said better").replace("2 + n", ":tags: [hide-input]\n\n2 + n")
NEW += "\nA last word.\n"


def executed(text: str, *, injected: bool = False) -> dict[str, Any]:
    """The chapter as a worker leaves it: each code cell's output is its own source."""
    notebook = json.loads(nbformat.writes(jupytext.reads(text, fmt="md:myst")))
    if injected:
        tags = {"tags": ["injected-parameters"]}
        extra = {"id": "extra", "cell_type": "code", "metadata": tags, "source": "n=4"}
        where = next(k for k, c in enumerate(notebook["cells"]) if c["cell_type"] == "code")
        notebook["cells"].insert(where + 1, extra)
    for count, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "code":
            told = {"output_type": "stream", "name": "stdout", "text": "".join(cell["source"])}
            cell |= {"outputs": [told], "execution_count": count}
    notebook["metadata"][RUN] = {"text": digest(text), "seconds": 1.0}
    return notebook


@pytest.mark.parametrize("injected", [False, True])
def test_new_text_stands_around_the_outputs_that_there_were(injected: bool) -> None:
    found = with_text(executed(TEXT, injected=injected), NEW)
    code = [cell for cell in found["cells"] if cell["cell_type"] == "code"]
    assert [cell["outputs"][0]["text"] for cell in code] == [
        "n = 3", *(["n=4"] if injected else []), "1 + n", "2 + n"
    ]  # fmt: skip
    assert [cell["metadata"].get("tags") for cell in code][-1] == ["hide-input"]
    prose = "".join("".join(c["source"]) for c in found["cells"] if c["cell_type"] == "markdown")
    assert "One, said better" in prose
    assert "A last word." in prose
    nbformat.validate(nbformat.from_dict(found))


def test_a_result_is_written_anew_only_where_the_text_is_another(tmp_path: Path) -> None:
    path = tmp_path / "one.ipynb"
    path.write_text(json.dumps(executed(TEXT)))
    before = path.read_bytes()
    renew_text(Chapter("one", TEXT), path)
    assert path.read_bytes() == before
    renew_text(Chapter("one", NEW), path)
    found = json.loads(path.read_text())
    assert found["metadata"][RUN] == {"text": digest(NEW), "seconds": 1.0}
    assert "said better" in path.read_text()
