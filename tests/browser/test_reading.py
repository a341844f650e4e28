"""What a reader does: turn pages, search, open the contents, move a slider, print."""

import math
import re
from urllib.parse import quote, urlsplit

import numpy as np
import pytest
from playwright.sync_api import Route

import reading
from localgd.theory import optimal_steps_linear, optimal_steps_power
from reading import CHAPTERS, WIDTHS, Reader, address, go, settle

HOST = "https://book.test"

everywhere = pytest.mark.parametrize("width", WIDTHS)


@everywhere
def test_next_leads_through_the_whole_book_and_previous_back(reader: Reader, width: str) -> None:
    with reader.page(width) as (page, noise):
        go(page, CHAPTERS[0])
        for way, names in (("next", CHAPTERS[1:]), ("prev", CHAPTERS[-2::-1])):
            for name in names:
                page.locator(f"a.{'right' if way == 'next' else 'left'}-{way}").click()
                page.wait_for_url(f"**/{name}.html")
        assert noise.errors == noise.requests == []


@everywhere
def test_the_search_finds_lemma_6(reader: Reader, width: str) -> None:
    with reader.page(width) as (page, noise):
        go(page, CHAPTERS[0])
        page.locator(".search-button__button:visible, .search-button:visible").first.click()
        page.locator("input[name=q]:visible").fill("Lemma 6")
        page.keyboard.press("Enter")
        page.wait_for_url("**/search.html?q=Lemma*6*")
        hits = page.locator("ul.search li a")
        hits.first.wait_for()
        page.wait_for_function("() => /finished|found/i.test(document.body.innerText)")
        addresses = [hit.get_attribute("href") or "" for hit in hits.all()]
        assert any("geometry.html" in found for found in addresses)
        hits.nth(next(k for k, found in enumerate(addresses) if "geometry.html" in found)).click()
        page.wait_for_url("**/geometry.html*")
        assert page.locator("#lem-6").is_visible()
        assert noise.errors == noise.requests == []


@pytest.mark.parametrize(
    ("typed", "page_found"),
    [
        ("how many local steps", ("choosing", "tradeoff")),
        ("Lemma 1", ("convex",)),
        ("Theorem 3", ("linear",)),
        ("Figure 4", ("deep",)),
        ("Figure 3", ("intersection",)),
        ("extrapolation", ("acceleration",)),
        ("notation", ("notation",)),
    ],
)
def test_what_people_type_finds_its_page_first(
    reader: Reader, typed: str, page_found: tuple[str, ...]
) -> None:
    with reader.page("desktop") as (page, _):
        page.goto(f"{address('search')}?q={quote(typed)}")
        page.wait_for_function("() => /finished|found/i.test(document.body.innerText)")
        first = page.locator("ul.search li a").first.get_attribute("href") or ""
        assert first.partition(".html")[0] in page_found


def answer(route: Route) -> None:
    route.fulfill(path=reading.SITE / urlsplit(route.request.url).path.lstrip("/"))


@pytest.mark.parametrize("typed", ["490", "Theorem 3"])
def test_a_search_finds_numbers_and_quotes_no_source_of_formulas(
    reader: Reader, typed: str
) -> None:
    with reader.page("desktop") as (page, _):
        page.route(f"{HOST}/**", answer)  # pages opened from the disk are not quoted
        page.goto(f"{HOST}/search.html?q={quote(typed)}")
        page.wait_for_function("() => /finished|found/i.test(document.body.innerText)")
        page.wait_for_load_state("networkidle")
        quoted = page.locator("ul.search p.context").all_inner_texts()
        assert len(quoted) > 1
        assert any(typed.lower() in text.lower() for text in quoted)
        assert [text for text in quoted if re.search(r"\\[a-zA-Z([]", text)] == []


def test_on_a_phone_the_contents_slide_in(reader: Reader) -> None:
    with reader.page("phone") as (page, noise):
        go(page, CHAPTERS[0])
        chapter = page.locator(f'nav.bd-links a[href="{CHAPTERS[3]}.html"]')
        assert not chapter.is_visible()
        page.locator(".primary-toggle:visible").click()
        chapter.click()
        page.wait_for_url(f"**/{CHAPTERS[3]}.html")
        settle(page)
        heading = page.locator(".page-toc a").nth(1)
        assert not heading.is_visible()
        page.locator(".secondary-toggle:visible").click()
        heading.click()
        assert "#" in page.url
        assert noise.errors == noise.requests == []


def test_the_first_page_says_in_one_screen_what_was_found(reader: Reader) -> None:
    with reader.page("desktop") as (page, _):
        go(page, CHAPTERS[0])
        assert page.locator("ol.bookrun-headlines li").count() == 3
        for part in ("p > .bookrun-badge", "ol.bookrun-headlines", "figure img"):
            box = page.locator(f"article {part}").last.bounding_box()
            assert box is not None
            assert box["y"] + box["height"] <= 900, part


@everywhere
def test_a_chapter_can_be_downloaded_as_a_notebook(reader: Reader, width: str) -> None:
    with reader.page(width) as (page, _):
        go(page, "linear")
        link = page.get_by_role("link", name="Download this chapter as a notebook")
        link.click(trial=True)  # nothing lies over it
        assert (reading.SITE / (link.get_attribute("href") or "")).is_file()
        assert link.get_attribute("download") is not None


SETTINGS = [
    ("linear", {"r": -3.0, "beta": 1.0}),
    ("linear", {"r": -5.5, "beta": 0.3}),
    ("linear", {"r": -1.0, "beta": 2.7}),
    ("power", {"r": -4.0, "a": 0.5, "gamma": 2.0}),
    ("power", {"r": -6.0, "a": -1.5, "gamma": 1.2}),
]


def steps(kind: str, at: dict[str, float]) -> float:
    """T* from the library, for sliders at these positions."""
    r = np.array([10 ** at["r"]])
    if kind == "linear":
        found = optimal_steps_linear(np.array([1 - 10 ** -at["beta"]]), r)
    else:
        found = optimal_steps_power(np.array([10 ** at["a"]]), np.array([at["gamma"]]), r)
    return float(found[0])


@everywhere
@pytest.mark.parametrize(("kind", "at"), SETTINGS)
def test_the_explorer_shows_what_the_library_computes(
    reader: Reader, width: str, kind: str, at: dict[str, float]
) -> None:
    with reader.page(width) as (page, noise):
        go(page, "tradeoff")
        explorer = page.locator("#localgd-explorer")
        explorer.locator(f'input[type=radio][value="{kind}"]').check()
        for name, position in at.items():
            explorer.locator(f'input[name="{name}"]').fill(str(position))
        text = explorer.locator("output").inner_text()
        shown = re.match(r"T\* = ([\d.,]+) local steps", text)
        assert shown is not None, text
        assert math.isclose(float(shown[1].replace(",", "")), steps(kind, at), rel_tol=5.1e-3), (
            text
        )  # three digits are shown
        assert shown[1].replace(",", "") in (explorer.locator("svg").text_content() or "").replace(
            ",", ""
        )
        assert noise.errors == []


def test_the_explorer_can_be_moved_from_the_keyboard(reader: Reader) -> None:
    with reader.page("desktop") as (page, _):
        go(page, "tradeoff")
        explorer = page.locator("#localgd-explorer")
        slider = explorer.locator('input[name="r"]')
        before, spoken = (
            explorer.locator("output").inner_text(),
            slider.get_attribute("aria-valuetext"),
        )
        slider.press("ArrowLeft")
        slider.press("PageDown")
        assert explorer.locator("output").inner_text() != before
        assert slider.get_attribute("aria-valuetext") != spoken


@everywhere
def test_the_two_lines_show_where_the_printed_bound_breaks(reader: Reader, width: str) -> None:
    with reader.page(width) as (page, noise):
        go(page, "linear")
        figure = page.locator("#localgd-two-lines")
        for angle, verdict in (("59", "which is broken"), ("60", "which holds here")):
            figure.locator("input").fill(angle)
            assert verdict in figure.locator("output").inner_text()
        assert noise.errors == []


def test_measured_seconds_set_the_cost_ratio(reader: Reader) -> None:
    with reader.page("desktop") as (page, noise):
        go(page, "tradeoff")
        explorer = page.locator("#localgd-explorer")
        explorer.locator('input[value="exact"]').check()
        explorer.locator('input[name="step"]').fill("0.02")
        explorer.locator('input[name="message"]').fill("2")
        ratio = explorer.locator("label", has_text="cost of a local step").locator("b")
        assert ratio.inner_text() == "0.01"
        assert "The cost is least at T = " in explorer.locator("output").inner_text()
        assert noise.errors == []
