"""The whole way from chapters to pages, with real kernels: few runs, many questions to each."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from bs4 import BeautifulSoup

import trial
from bookrun.execution.kernel import kernel_environment
from bookrun.outputs import RUN
from bookrun.project import Project

CLAIMS = """\
- id: lem1
  place: Lemma 1
  statement: It decreases.
  label: lem-1
  checks: [one]
"""
INTRO = """\
# A book

{verdict}`lem1` stands beside {prf:ref}`Lemma 1 <lem-1>`; in all {verdict-counts}`all`.

```{ledger}
```
"""
DRAW = """\
import sys, warnings
from matplotlib import pyplot as plt
from bookrun import check, figure
check("lem1", "twice", 2 * number, 6, 6)
check("lem1", "not thrice", 3 * number != 6, kind="control")
print("noise", file=sys.stderr)
fig, axes = plt.subplots()
figure(fig, label="fig-one", caption=f"For {number}, $x^2$.", alt="empty axes")"""
ONE = trial.chapter_text("One", DRAW, parameters="number = 3")
ONE += """
```{prf:lemma} 1
:label: lem-1
:nonumber:

$$
x \\ge 0
$$
```

{numref}`fig-one` shows it.
"""
TWO = trial.chapter_text("Two", "from house.hall import enter\nenter().height")
#: Seconds, far more than is needed, for a machine that does other things.
PATIENCE = 600


def bookrun(project: Project, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "bookrun", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(project.root / "lib")}
    return subprocess.run(
        command, cwd=project.root, env=environment, capture_output=True, text=True, check=False
    )


def executed_lines(result: "subprocess.CompletedProcess[str]") -> set[str]:
    """The steps that a build reports."""
    return {line.partition(":")[0] for line in result.stdout.splitlines() if line.endswith(" s")}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A small book, built once."""
    chapters = {"intro": INTRO, "one": ONE, "two": TWO}
    made = trial.make_project(tmp_path_factory.mktemp("book"), chapters, CLAIMS)
    result = bookrun(made, "build")
    assert result.returncode == 0, result.stderr
    assert executed_lines(result) == {"one", "two", "site"}
    assert result.stdout.splitlines()[-1] == str(made.html / "index.html")
    return made


def soup(project: Project, name: str) -> BeautifulSoup:
    return BeautifulSoup((project.html / f"{name}.html").read_text(), "html.parser")


def test_a_figure_is_numbered_captioned_and_described(project: Project) -> None:
    page = soup(project, "one")
    found = page.find("figure", id="fig-one")
    assert found is not None
    assert found.get_text(" ", strip=True).startswith("Fig. 1 For 3,")
    assert found.find("img")["alt"] == "empty axes"
    assert found.find("img")["src"].endswith(".svg")
    assert page.select_one('p a.reference[href="#fig-one"]').get_text() == "Fig. 1"


def test_a_check_stands_in_the_page_and_stderr_does_not(project: Project) -> None:
    page = soup(project, "one")
    assert "twice 6 in [6, 6] lem1" in page.select_one(".bookrun-check").get_text()
    assert "noise" not in page.select_one("article").get_text().replace('print("noise"', "")
    assert "noise" in project.log("one").read_text()


def test_badges_lead_to_the_row_and_the_row_to_the_statement(project: Project) -> None:
    page = soup(project, "intro")
    badge = page.select_one("a.bookrun-badge-link")
    assert (badge["href"], badge.get_text()) == ("#claim-lem1", "holds")
    assert page.select_one("#claim-lem1 a")["href"] == "one.html#lem-1"
    assert "in all 1 holds" in page.get_text()


def test_a_second_build_does_nothing(project: Project) -> None:
    before = {p: p.stat().st_mtime_ns for p in project.build.rglob("*") if p.is_file()}
    result = bookrun(project, "build")
    after = {p: p.stat().st_mtime_ns for p in project.build.rglob("*") if p.is_file()}
    assert result.stdout.splitlines() == [str(project.html / "index.html")]
    assert {p for p in after if after[p] != before.get(p)} <= {project.build / ".lock"}


def test_the_quick_path_imports_no_heavy_library() -> None:
    code = "import sys, bookrun.cli, bookrun.commands.book; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    heavy = {"torch", "papermill", "nbformat", "sphinx", "jupytext", "matplotlib", "pandas"}
    assert not heavy & set(result.stdout.split())


def test_status_and_claims_tell_how_things_stand(project: Project) -> None:
    status = bookrun(project, "status").stdout
    assert [line.split(None, 1)[1] for line in status.splitlines()[:3]] == [
        "text only",
        "fresh",
        "fresh",
    ]
    assert "numerical, 1 case" in bookrun(project, "claims").stdout


def test_a_chapter_with_other_parameters_leaves_the_book_alone(project: Project) -> None:
    site = (project.html / "one.html").stat().st_mtime_ns
    book = project.executed("quick", "one").read_bytes()
    (project.book / "two.md").write_text(trial.chapter_text("Two", "n", parameters="n = 5"))
    result = bookrun(project, "chapter", "two", "--params", "n=7")
    assert result.returncode == 0, result.stderr
    page = Path(result.stdout.splitlines()[-1])
    assert page == project.build / "chapter" / "two" / "_build" / "html" / "two.html"
    assert "7" in BeautifulSoup(page.read_text(), "html.parser").select_one(".output").get_text()
    assert (project.html / "one.html").stat().st_mtime_ns == site
    assert project.executed("quick", "one").read_bytes() == book
    (project.book / "two.md").write_text(TWO)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("build", "--profile", "huge"), "PROFILE=huge is not one of quick, paper"),
        (("chapter", "one", "--params", "speed=1"), "no parameter speed; it has: number"),
        (("chapter", "one", "--params", "number=1.5"), "number='1.5' is not an int"),
        (
            ("chapter", "one", "--params", "number=it's"),
            "PARAMS=number=it's: a quotation has no end",
        ),
        (("chapter", "gone"), "CHAPTER=gone is not in _toc.yml"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(
    project: Project, arguments: tuple[str, ...], complaint: str
) -> None:
    result = bookrun(project, *arguments)
    assert (result.returncode, result.stdout) == (1, "")
    assert complaint in result.stderr
    assert "Traceback" not in result.stderr


@pytest.fixture
def good_site(project: Project) -> Iterator[Project]:
    """The book, with the promise that a failing build leaves its site as it was."""
    stamp = {p: p.read_bytes() for p in project.html.rglob("*.html")}
    sources = {p: p.read_bytes() for p in project.book.rglob("*") if p.is_file()}
    yield project
    assert {p: p.read_bytes() for p in project.html.rglob("*.html")} == stamp
    for path, content in sources.items():
        path.write_bytes(content)


def test_failing_chapters_are_named_and_the_others_finish(good_site: Project) -> None:
    project = good_site
    warns = "import warnings\nwarnings.warn('careless')"
    (project.book / "one.md").write_text(ONE.replace("2 * number", "3 * number"))
    (project.book / "two.md").write_text(trial.chapter_text("Two", "x = 1", warns))
    last = project.executed("quick", "two").read_bytes()
    result = bookrun(project, "build", "--jobs", "2")
    assert result.returncode == 1
    assert "2 of 2 steps failed; the site stays as it was" in result.stderr
    assert "one: failed after" in result.stderr
    assert "in code cell 2, `import sys, warnings`: CheckFailed" in result.stderr
    assert "in code cell 2, `import warnings`: UserWarning: careless" in result.stderr
    assert "partial notebook: build/failed/two.ipynb" in result.stderr
    assert project.executed("quick", "two").read_bytes() == last
    partial = json.loads(project.failed("two").read_text())
    counts = [c["execution_count"] for c in partial["cells"] if c["cell_type"] == "code"]
    assert 1 in counts
    assert partial["nbformat"] == 4
    status = bookrun(project, "status").stdout
    assert "its code changed; last run failed: see build/failed/two.ipynb" in status


@pytest.mark.parametrize(
    ("claims", "complaint"),
    [
        (CLAIMS.replace("lem-1", "lem-9"), "ledger row lem1: the book has no label lem-9"),
        (CLAIMS.replace("id: lem1", "id: lem2"), "claim lem1 is no row of book/claims.yaml"),
        (CLAIMS.replace("checks: [one]", "checks: []"), "lem1 does not name one among its checks"),
    ],
    ids=["label", "claim", "undeclared"],
)
def test_a_ledger_that_does_not_match_the_book_fails_the_build(
    good_site: Project, claims: str, complaint: str
) -> None:
    good_site.claims.write_text(claims)
    result = bookrun(good_site, "build")
    assert result.returncode == 1
    assert complaint in result.stderr


def test_a_warning_fails_the_next_build_as_well(good_site: Project) -> None:
    (good_site.book / "intro.md").write_text(INTRO + "\n```{nosuch}\n```\n")
    for _ in range(2):  # the second reads only what changed, and must not have forgotten
        result = bookrun(good_site, "build")
        assert result.returncode == 1
        assert "intro.md:8: WARNING: Unknown directive type: 'nosuch'" in result.stderr


def test_new_prose_is_rendered_and_executes_nothing(project: Project) -> None:
    (project.book / "one.md").write_text(ONE.replace("shows it", "shows it, in other words"))
    result = bookrun(project, "build")
    assert executed_lines(result) == {"site"}
    assert result.returncode == 0, result.stderr
    page = soup(project, "one")
    assert "in other words" in page.get_text()
    assert "twice 6 in [6, 6] lem1" in page.select_one(".bookrun-check").get_text()
    assert bookrun(project, "build").stdout.splitlines() == [str(project.html / "index.html")]


def test_new_code_in_one_chapter_executes_one(project: Project) -> None:
    (project.book / "two.md").write_text(TWO.replace("enter().height", "1 + 1"))
    result = bookrun(project, "build")
    assert executed_lines(result) == {"two", "site"}
    assert result.returncode == 0, result.stderr
    (project.book / "two.md").write_text(TWO + "\nMore.\n")
    assert executed_lines(bookrun(project, "build")) == {"two", "site"}
    assert "More." in soup(project, "two").get_text()
    assert not project.failed("two").exists()


def test_a_module_that_changes_executes_what_imports_it(project: Project) -> None:
    wall = project.root / "lib" / "house" / "wall.py"  # imported by hall, in a function
    wall.write_text("height = 3\n")
    assert executed_lines(bookrun(project, "build")) == {"two", "site"}
    assert "3" in soup(project, "two").select_one(".output").get_text()
    (project.root / "lib" / "house" / "door.py").write_text("class Door: ...  # of oak\n")
    assert executed_lines(bookrun(project, "build")) == set()


def test_a_new_style_reaches_the_site(project: Project) -> None:
    style = project.book / "_static" / "book.css"
    style.write_text(style.read_text() + "\n.quite-new { color: red; }\n")
    result = bookrun(project, "build")
    assert executed_lines(result) == {"site"}
    assert ".quite-new" in (project.html / "_static" / "book.css").read_text()


SLEEP = """\
import os, time
from pathlib import Path
Path("pid").write_text(str(os.getpid()))
time.sleep(3600)"""


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_build_that_is_killed_leaves_no_kernel_and_nothing_half_written(
    tmp_path: Path, kill: signal.Signals
) -> None:
    project = trial.make_project(tmp_path, {"intro": "# A", "one": trial.chapter_text("O", SLEEP)})
    process = subprocess.Popen(
        [sys.executable, "-m", "bookrun", "build"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    pid_file = project.book / "pid"
    _until(lambda: pid_file.is_file() and pid_file.read_text() != "")
    kernel = psutil.Process(int(pid_file.read_text()))
    worker = kernel.parent()
    assert worker is not None
    os.kill(process.pid, kill)
    status = process.wait(timeout=PATIENCE)
    assert status == (-signal.SIGKILL if kill == signal.SIGKILL else 130)
    for orphan in (kernel, worker):
        _until(lambda orphan=orphan: not _alive(orphan))
    left = {p.name for p in project.build.rglob("*") if p.is_file()}
    assert left == {".lock", "one.log", "one.order.json"}


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, f"still not so after {PATIENCE} s"
        time.sleep(0.1)


def test_a_result_names_all_that_it_depends_on(project: Project) -> None:
    about = json.loads(project.executed("quick", "one").read_text())["metadata"][RUN]
    assert set(about) == {
        "chapter", "profile", "code", "files", "modules", "lock", "python", "data", "parameters",
        "text", "seconds", "executed",
    }  # fmt: skip
    assert about["parameters"] == {"number": 3}


def test_chapters_take_no_more_threads_than_the_user_asks_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for asked, given in (("1", "1"), ("3", "3"), ("8", "4"), ("", "4"), ("many", "4")):
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
        found = kernel_environment(4)
        assert {found["OMP_NUM_THREADS"], found["MKL_NUM_THREADS"]} == {given}
