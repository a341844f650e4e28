"""Code in a process of its own, in which some packages are not installed."""

import os
import subprocess
import sys

WITHOUT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
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
