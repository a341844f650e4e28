"""``make lab``: JupyterLab on the book, where chapters are notebooks and stay Markdown."""

import argparse
import json
import os
import re
import sys
from codecs import BOM_UTF8
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bookrun.files import write_if_changed
from bookrun.project import Project

_HEADER = re.compile(r"\A---\n.*?^---\n", re.DOTALL | re.MULTILINE)
_KERNEL = re.compile(r"^kernelspec:\n(?: .*\n)*?  name: python3\n(?: .*\n)*", re.MULTILINE)
_MARK = BOM_UTF8.decode()
_FILES = "bookrun.commands.lab_files.Files"
_OUR_KERNEL = "kernelspec:\n  display_name: Python 3\n  language: python\n  name: python3\n"
#: Markdown opens as a notebook, and nothing asks the network for news.
_PREFERENCES = {
    "@jupyterlab/docmanager-extension:plugin": {
        "defaultViewers": {"markdown": "Jupytext Notebook"}
    },
    "@jupyterlab/apputils-extension:notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
    },
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what goes on to JupyterLab."""
    parser.add_argument("arguments", nargs="*", help="for JupyterLab, after --: -- --no-browser")


def run(project: Project, options: argparse.Namespace) -> int:
    """Become JupyterLab."""
    start(project, options.arguments)
    return 0


def start(project: Project, arguments: Sequence[str]) -> None:
    """Become a JupyterLab in whose list of files a double click opens a chapter as a notebook."""
    settings = project.build / "lab"
    write_if_changed(
        settings / "labconfig" / "default_setting_overrides.json", json.dumps(_PREFERENCES)
    )
    paths = [str(settings), *filter(None, [os.environ.get("JUPYTER_CONFIG_PATH")])]
    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(paths)
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # this environment's kernel, not another's
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={project.root}"]
    command += ["--LabApp.default_url=/lab/tree/book"]
    command += [f"--ServerApp.contents_manager_class={_FILES}"]
    command += [f"--ContentsManager.pre_save_hook={__name__}.{keep_form.__name__}"]
    os.execv(sys.executable, [*command, *arguments])


def keep_form(model: dict[str, Any], path: str, contents_manager: Any, **_: Any) -> None:
    """Keep what no edit has changed in a chapter: its ``kernelspec`` entry, how its lines end.

    JupyterLab writes down what the running kernel calls itself, in an order of its own, and ends
    lines as Unix does, so that a chapter that had only been run would differ after a save.
    """
    if model.get("type") != "file" or not path.endswith(".md"):
        return
    content = _HEADER.sub(lambda header: _KERNEL.sub(_OUR_KERNEL, header[0]), model["content"])
    file = Path(contents_manager._get_os_path(path))
    before = file.read_bytes() if file.is_file() else b""
    if b"\r\n" in before and before.count(b"\r\n") == before.count(b"\n"):
        content = content.replace("\r\n", "\n").replace("\n", "\r\n")
    if before.startswith(BOM_UTF8) and not content.startswith(_MARK):
        content = _MARK + content
    model["content"] = content
