"""The Chromium that this machine has, if any; none is ever downloaded."""

import os
import shutil

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

#: What to do where there is none.
ADVICE = (
    "no Chromium was found: install one (apt install chromium, or Google Chrome), "
    "or set CHROMIUM to the path of its executable"
)


def chromium() -> str | None:
    """Return the path of Chromium or Chrome; ``CHROMIUM`` in the environment goes first."""
    wanted = os.environ.get("CHROMIUM")
    if wanted:
        return shutil.which(wanted)
    return next(filter(None, map(shutil.which, _NAMES)), None)
