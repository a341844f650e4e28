"""What an author does: edit a chapter in JupyterLab, and watch the site follow a save."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

import servers
import trial
from bookrun.source.chapters import Chapter
from reading import PATIENCE_MS, SITE
from servers import Lab

expect.set_options(timeout=PATIENCE_MS)

#: The code cells of the open notebook; those out of sight are not in the page.
CODE = (
    "window.jupyterapp.shell.currentWidget.content.model.sharedModel.toJSON().cells"
    ".filter(cell => cell.cell_type === 'code')"
)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that may ask this machine, and nothing else."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.route("**/*", lambda route: route.continue_() if _here(route) else route.abort())
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    yield page
    context.close()


def _here(route: object) -> bool:
    url: str = route.request.url  # type: ignore[attr-defined]
    return url.startswith(("http://127.0.0.1", "data:", "blob:"))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    root, home = tmp_path_factory.mktemp("repository"), tmp_path_factory.mktemp("home")
    with servers.lab(root, home) as found:
        yield found


def open_chapter(page: Page, lab: Lab, chapter: str) -> None:
    """Find a chapter in JupyterLab's list of files and click it twice."""
    page.goto(f"{lab.url}lab/tree/book?token={lab.token}")
    page.locator(".jp-DirListing-item", has_text=f"{chapter}.md").dblclick()
    page.locator(".jp-Notebook .jp-Cell").first.wait_for()


def save(page: Page) -> None:
    """Ctrl-S, and wait until it has arrived."""
    with page.expect_response(
        lambda answer: answer.request.method == "PUT" and "/api/contents/" in answer.url
    ):
        page.keyboard.press("Control+s")


def test_a_chapter_runs_in_jupyterlab_and_a_save_leaves_its_file_as_it_was(
    page: Page, lab: Lab
) -> None:
    before = lab.file("algorithm").read_bytes()
    open_chapter(page, lab, "algorithm")
    page.get_by_text("| Idle").wait_for()  # the status bar: the kernel is there
    page.locator(".jp-Notebook .jp-CodeCell").first.click()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    last = len(Chapter("algorithm", before.decode()).code)
    page.wait_for_function(f"{CODE}.at(-1).execution_count === {last}")
    outputs = [output for cell in page.evaluate(CODE) for output in cell["outputs"]]
    shown = sum("bookrun-check" in str(output.get("data")) for output in outputs)
    in_the_site = (SITE / "algorithm.html").read_text(encoding="utf-8").count('"bookrun-check ')
    assert shown == in_the_site > 0
    assert "error" not in {output["output_type"] for output in outputs}
    save(page)
    assert lab.file("algorithm").read_bytes() == before


def test_an_edit_in_jupyterlab_is_seen_in_the_site(page: Page, tmp_path: Path) -> None:
    project = trial.make_project(
        tmp_path / "project", {"intro": "# A book\n", "one": trial.chapter_text("One", "6 * 7")}
    )
    site = page.context.new_page()
    with (
        servers.serve(project.root, tmp_path / "terminal") as port,
        servers.lab(project.root, tmp_path / "home") as lab,
    ):
        site.goto(f"http://127.0.0.1:{port}/one.html")
        expect(site.locator(".output pre")).to_have_text("42")
        open_chapter(page, lab, "one")
        page.locator(".jp-Notebook .jp-CodeCell .cm-content").first.click()
        page.keyboard.press("Control+a")
        page.keyboard.type("6 * 8")
        save(page)
        expect(site.locator(".output pre")).to_have_text("48")
    assert "6 * 8" in (project.book / "one.md").read_text(encoding="utf-8")


def test_a_failed_build_is_told_in_the_browser_and_goes_when_it_is_mended(
    page: Page, tmp_path: Path
) -> None:
    good = trial.chapter_text("One", "6 * 7")
    project = trial.make_project(tmp_path / "project", {"intro": "# A book\n", "one": good})
    with servers.serve(project.root, tmp_path / "terminal") as port:
        page.goto(f"http://127.0.0.1:{port}/one.html")
        expect(page.locator(".output pre")).to_have_text("42")
        news = page.locator("#bookrun-news")
        expect(news).to_be_hidden()
        servers.save(project.book / "one.md", good.replace("6 * 7", "1 / 0"))
        expect(news).to_contain_text("ZeroDivisionError")
        expect(page.locator(".output pre")).to_have_text("42")
        servers.save(project.book / "one.md", good.replace("6 * 7", "6 * 9"))
        expect(page.locator(".output pre")).to_have_text("54")
        expect(news).to_be_hidden()
