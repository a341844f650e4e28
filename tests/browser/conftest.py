"""The built book in a real browser: Chromium, one for all tests, with the network blocked.

``make test-browser`` runs these; ``make test`` does not collect them (``norecursedirs``).
"""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

import reading
from bookrun.commands.chromium import ADVICE, chromium

#: The accessibility checker, fetched from npm and kept in pytest's cache: the one place with its
#: version.
AXE = "axe-core@4.14.1"

if not (reading.SITE / "index.html").is_file():
    pytest.exit("the browser tests read the built book, and there is none: make book", returncode=2)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, as far as there is one."""
    path = chromium()
    if path is None:
        pytest.skip(ADVICE)
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path)
        yield found
        found.close()


@pytest.fixture(scope="session")
def reader(browser: Browser) -> reading.Reader:
    """Opens each page once for all tests that look at it."""
    return reading.Reader(browser)


@pytest.fixture(scope="session")
def axe(request: pytest.FixtureRequest) -> str:
    """The source of axe-core."""
    folder = request.config.cache.mkdir(AXE.replace("@", "-"))
    script = Path(folder) / "package" / "axe.min.js"
    if not script.is_file():
        npm, tar = shutil.which("npm"), shutil.which("tar")
        if npm is None or tar is None:
            pytest.skip(f"{AXE} is fetched by npm, which is not installed")
        packed = subprocess.run(
            [npm, "pack", AXE, "--silent"], cwd=folder, capture_output=True, text=True, check=False
        )
        if packed.returncode != 0:
            pytest.skip(f"npm could not fetch {AXE}: {packed.stderr.strip().splitlines()[-1:]}")
        subprocess.run([tar, "-xzf", packed.stdout.split()[-1]], cwd=folder, check=True)
    return script.read_text(encoding="utf-8")
