"""What is mended in the pages that Sphinx and the theme make."""

import subprocess
import sys

import pytest
from bs4 import BeautifulSoup

import trial

INDEX = """\
# A book

As {doc}`one` says, and {doc}`two`, and {doc}`this one (§2) <one>`.

```{solution}
Because it is.
```

After it.

```{toctree}
one
two
```
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> BeautifulSoup:
    root = tmp_path_factory.mktemp("pages")
    texts = {
        "conf.py": trial.SPHINX_CONF,
        "index.md": INDEX,
        "one.md": "# Linear convergence (§2.2, Theorem 3, Figure 2(b))\n\nWords.\n",
        "two.md": "# The rate (of all)\n\nWords.\n",
    }
    for name, text in texts.items():
        (root / name).write_text(text)
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html", str(root), str(root / "o")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return BeautifulSoup((root / "o" / "index.html").read_text(encoding="utf-8"), "html.parser")


def test_a_sentence_names_a_chapter_without_the_papers_section(page: BeautifulSoup) -> None:
    named = [link.get_text() for link in page.select(".body section > p a")]
    assert named == ["Linear convergence", "The rate (of all)", "this one"]


def test_the_contents_name_it_with_the_section(page: BeautifulSoup) -> None:
    listed = [link.get_text() for link in page.select(".toctree-wrapper a")]
    assert listed[0] == "Linear convergence (§2.2, Theorem 3, Figure 2(b))"


def test_a_solution_is_folded_away(page: BeautifulSoup) -> None:
    (fold,) = page.select("details.bookrun-solution")
    assert not fold.has_attr("open")
    assert fold.summary is not None
    assert fold.summary.get_text() == "Solution"
    assert [each.get_text() for each in fold.select("p")] == ["Because it is."]
    assert page.find(string="After it.").find_parent("details") is None  # type: ignore[union-attr]
