"""Every page, on a desk and on a phone, without a network."""

from collections import Counter
from urllib.parse import unquote, urldefrag

import pytest

import reading
from reading import PAGES, WIDTHS, Reader

everywhere = pytest.mark.parametrize("width", WIDTHS)
every_page = pytest.mark.parametrize("name", PAGES)


@everywhere
@every_page
def test_a_page_loads_without_an_error_or_a_request_outside(
    reader: Reader, name: str, width: str
) -> None:
    noise = reader.look(name, width).noise
    assert noise.errors == []
    assert noise.requests == []


@everywhere
@every_page
def test_its_mathematics_is_set(reader: Reader, name: str, width: str) -> None:
    found = reader.look(name, width).found
    assert found["unset"] == []
    assert found["wrong"] == []
    if name in reading.CHAPTERS:
        assert found["formulas"] > 0


@everywhere
@every_page
def test_its_images_are_there_sharp_and_described(reader: Reader, name: str, width: str) -> None:
    for image in reader.look(name, width).found["images"]:
        assert image["loaded"], image
        assert image["alt"].strip(), image
        assert image["vector"] or image["sharpness"] >= 2, image


@everywhere
@every_page
def test_nothing_sticks_out_at_the_side(reader: Reader, name: str, width: str) -> None:
    found = reader.look(name, width).found
    assert found["outside"] == []
    assert found["width"] <= 0


@every_page
def test_its_links_resolve(reader: Reader, name: str) -> None:
    for link in dict.fromkeys(reader.look(name, "desktop").found["links"]):
        url, anchor = urldefrag(link)
        if not url.startswith("file:"):
            assert url.startswith(("https://", "http://", "mailto:"))
            continue
        file = reading.shared_file(unquote(url))
        assert file.is_file(), link
        if anchor and file.suffix == ".html":
            assert unquote(anchor) in reader.look(file.stem, "desktop").found["names"], link


@every_page
def test_a_name_is_given_once(reader: Reader, name: str) -> None:
    names = reader.look(name, "desktop").found["names"]
    assert [each for each, count in Counter(names).items() if count > 1] == []


@pytest.mark.parametrize("name", reading.CHAPTERS)
def test_figures_stand_on_white_in_the_dark(reader: Reader, name: str) -> None:
    figures = [i for i in reader.look(name, "desktop", "dark").found["images"] if i["figure"]]
    assert all(image["ground"] == "rgb(255, 255, 255)" for image in figures)
    in_light = reader.look(name, "desktop").found["images"]
    assert len(figures) == sum(image["figure"] for image in in_light)
