"""Code in a process of its own, in which some packages are not installed."""

import os
import subprocess
import sys

WITHOUT = """
from importlib.machinery import PathFinder

find = PathFinder.find_spec

def find_spec(name, path=None, target=None):
    return None if name.partition(".")[0] in {absent} else find(name, path, target)

PathFinder.find_spec = find_spec
"""


def alone(code: str, *absent: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run code in a process of its own, in which some packages are not installed."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT.format(absent=absent) + code],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )
