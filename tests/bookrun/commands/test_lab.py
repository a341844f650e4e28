"""``make lab``: the chapters as JupyterLab meets them, through the server's contents API."""

import json
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from jupyter_client import BlockingKernelClient

import servers
import trial
from bookrun.project import Project
from servers import PATIENCE, Lab

BOOK = trial.ROOT / "book"
CHAPTERS = Project(trial.ROOT).toc


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """``make lab`` on a copy of the book."""
    root, home = tmp_path_factory.mktemp("repository"), tmp_path_factory.mktemp("home")
    with servers.lab(root, home) as found:
        yield found


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_save_without_an_edit_leaves_the_file_as_it_was(lab: Lab, chapter: str) -> None:
    before = lab.file(chapter).read_bytes()
    model = lab.open(chapter)
    assert model["type"] == "notebook"
    cells = [cell for cell in model["content"]["cells"] if cell["cell_type"] == "code"]
    assert bool(cells) == (b"```{code-cell}" in before)
    lab.save(chapter, model["content"])
    assert lab.file(chapter).read_bytes() == before


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_save_keeps_how_lines_end_and_a_byte_order_mark(
    lab: Lab, end: bytes, mark: bytes
) -> None:
    path = lab.file("linear")
    before = path.read_bytes()
    try:
        path.write_bytes(mark + before.replace(b"\n", end))
        content = lab.open("linear")["content"]
        assert content["metadata"]["kernelspec"]["name"] == "python3"  # its header was read
        lab.save("linear", content)
        assert path.read_bytes() == mark + before.replace(b"\n", end)
        content["cells"][0]["source"] += "\n\nMore."
        lab.save("linear", content)
        assert path.read_bytes() != mark + before.replace(b"\n", end)
        assert path.read_bytes().replace(b"More." + 2 * end, b"") == mark + before.replace(
            b"\n", end
        )
    finally:
        path.write_bytes(before)


def test_a_save_with_an_edit_changes_that_cell_alone(lab: Lab) -> None:
    before = lab.file("convex").read_text()
    content = lab.open("convex")["content"]
    first = next(cell for cell in content["cells"] if cell["cell_type"] == "code")
    first["source"] += "\nedited = True"
    lab.save("convex", content)
    try:
        after = lab.file("convex").read_text()
        assert after != before
        assert after.replace("\nedited = True", "") == before
    finally:
        lab.file("convex").write_text(before)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_outputs_and_what_a_run_leaves_never_reach_the_file(lab: Lab, chapter: str) -> None:
    before = lab.file(chapter).read_bytes()
    content = lab.open(chapter)["content"]
    for number, cell in enumerate(content["cells"], start=1):
        if cell["cell_type"] == "code":
            cell["execution_count"] = number
            cell["outputs"] = [
                {"output_type": "stream", "name": "stdout", "text": "a secret number"},
                {
                    "output_type": "execute_result",
                    "execution_count": number,
                    "data": {"text/plain": "a secret number"},
                    "metadata": {},
                },
            ]
            cell["metadata"] |= {
                "execution": {"iopub.status.busy": "2026-01-01T00:00:00Z"},
                "trusted": True,
                "scrolled": True,
                "collapsed": True,
                "jupyter": {"outputs_hidden": True},
            }
    content["metadata"]["kernelspec"] = {  # as JupyterLab writes it once a kernel runs
        "name": "python3",
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
    }
    content["metadata"]["language_info"] = {"name": "python", "version": "3.99.0"}
    content["metadata"]["widgets"] = {}
    lab.save(chapter, content)
    assert lab.file(chapter).read_bytes() == before
    # nor does anything stand beside it that git would take
    left = {path.name for path in (lab.root / "book").iterdir() if not path.name.startswith(".")}
    assert left == {path.name for path in BOOK.iterdir() if not path.name.startswith(".")}


def test_a_chapter_runs_with_the_projects_python_in_the_books_directory(lab: Lab) -> None:
    wish = {
        "path": "book/algorithm.md",
        "name": "algorithm.md",
        "type": "notebook",
        "kernel": {"name": lab.open("algorithm")["content"]["metadata"]["kernelspec"]["name"]},
    }
    session = lab.ask("POST", "sessions", wish)
    client = BlockingKernelClient(
        connection_file=str(lab.runtime / f"kernel-{session['kernel']['id']}.json")
    )
    client.load_connection_file()
    client.start_channels(hb=False)  # a heartbeat that is late on a busy machine is no death
    try:
        client.wait_for_ready(timeout=PATIENCE)
        said: list[str] = []
        code = "import os, sys, localgd, bookrun; print(sys.prefix, os.getcwd(), sep='\\n')"
        reply = client.execute_interactive(
            code,
            timeout=PATIENCE,
            output_hook=lambda message: said.append(message["content"].get("text", "")),
        )
        assert reply["content"]["status"] == "ok"
        prefix, directory = "".join(said).split()
        assert Path(prefix) == Path(sys.prefix)
        assert Path(directory) == lab.root / "book"
    finally:
        client.stop_channels()
        lab.ask("DELETE", f"sessions/{session['id']}")


def test_a_double_click_opens_a_notebook(lab: Lab) -> None:
    url = f"{lab.url}lab/api/settings/@jupyterlab/docmanager-extension:plugin"
    request = urllib.request.Request(url, headers={"Authorization": f"token {lab.token}"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        found = json.load(response)
    viewers = found["schema"]["properties"]["defaultViewers"]["default"]
    assert viewers["markdown"] == "Jupytext Notebook"


def test_a_text_that_only_looks_like_a_header_is_left_alone(lab: Lab) -> None:
    text = "# Notes\n\n---\nkernelspec:\n  name: python3\n  more: 1\n---\n"
    model = {"type": "file", "format": "text", "content": text}
    lab.ask("PUT", "contents/book/notes.md", model)
    assert lab.file("notes").read_text() == text
    lab.file("notes").unlink()
