"""The book on paper, from a site of two pages: what stays, where links lead, and page numbers."""

import runpy
import shutil
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup

BOOK = Path(__file__).resolve().parents[2] / "book"
CONTENTS = {
    "root": "book/index",
    "parts": [
        {"caption": "Chapters", "chapters": [{"file": "notebooks/01_tiny"}]},
        {"caption": "Reference", "chapters": [{"file": "book/api/index"}]},
    ],
}
HEAD = (
    '<html><head><link rel="stylesheet" href="../_static/a.css"/>'
    '<script>window.MathJax = {}</script></head><body><nav id="side">aside</nav><article>'
)
INDEX = HEAD + (
    '<section id="top"><h1>The book</h1><p><a href="../notebooks/01_tiny.html#more">there</a> '
    '<a href="api/index.html">left out</a> <a href="https://example.org">outside</a></p></section>'
    "</article></body></html>"
)
CHAPTER = HEAD + (
    '<section id="tiny"><h1>1. Tiny<a class="headerlink" href="#tiny">#</a></h1>'
    '<section id="more"><h2>1.1. More</h2><a href="#top">here</a>'
    '<details class="hide"><summary>Show</summary>long source</details>'
    '<div class="admonition dropdown solution">answer</div>'
    '<details class="provenance"><summary>How</summary>made</details>'
    '<span class="figure-pair"><img class="only-light" src="../_images/a.svg"/>'
    '<img class="only-dark" src="../_images/a-dark.svg"/></span>'
    '<div class="figure-foot">Drawn by</div>'
    '<div id="own" class="grid"><style>#own {color: red}</style></div></section></section>'
    "</article></body></html>"
)


@pytest.fixture(scope="module")
def pdf() -> dict[str, Any]:
    return runpy.run_path(str(BOOK / "pdf.py"))


@pytest.fixture
def site(tmp_path: Path) -> Path:
    for name, page in (("book/index", INDEX), ("notebooks/01_tiny", CHAPTER)):
        path = tmp_path / f"{name}.html"
        path.parent.mkdir()
        path.write_text(page, encoding="utf-8")
    return tmp_path


def test_pages_come_in_order_without_the_reference(pdf: dict[str, Any]) -> None:
    assert list(pdf["pages_of"](CONTENTS)) == [
        ("book/index", ""),
        ("notebooks/01_tiny", "Chapters"),
    ]


def test_what_is_printed(pdf: dict[str, Any], site: Path) -> None:
    page = BeautifulSoup(pdf["assemble"](site, CONTENTS, {}), "html.parser")
    assert page.html is not None
    assert page.html["data-theme"] == "light"
    assert [link["href"] for link in page.select("link")] == ["_static/a.css"]
    assert [image["src"] for image in page.select("img")] == ["_images/a.svg"]
    text = page.get_text(" ")
    assert "answer" in text
    assert all(word not in text for word in ("aside", "long source", "Drawn by", "#tiny"))
    assert page.select("details.provenance[open]")
    assert not page.select(".dropdown, button, .headerlink")
    # A style that goes by an identifier still finds it.
    assert page.select("#own > style")


def test_links_lead_within_the_book_or_outside(pdf: dict[str, Any], site: Path) -> None:
    page = BeautifulSoup(pdf["assemble"](site, CONTENTS, {}), "html.parser")
    links = {link.get_text(): link["href"] for link in page.select(".chapter a")}
    assert links == {
        "there": "#notebooks-01_tiny--more",
        "outside": "https://example.org",
        "here": "#notebooks-01_tiny--top",
    }
    places = [str(tag["id"]) for tag in page.select("[id]")]
    assert len(places) == len(set(places))
    listed = [str(link["href"])[1:] for link in page.select(".book-contents a")]
    assert listed == ["book-index", "notebooks-01_tiny", "notebooks-01_tiny--more"]
    assert set(listed) <= set(places)


def test_contents_show_the_numbers_that_are_known(pdf: dict[str, Any], site: Path) -> None:
    page = BeautifulSoup(pdf["assemble"](site, CONTENTS, {"notebooks-01_tiny": 7}), "html.parser")
    lines = [line.get_text(" ", strip=True) for line in page.select(".book-contents p")]
    assert lines == ["The book", "Chapters", "1. Tiny 7", "1.1. More"]


@pytest.mark.browser
def test_a_browser_prints_it_and_places_have_page_numbers(
    pdf: dict[str, Any], site: Path, tmp_path: Path
) -> None:
    browser = next(filter(None, map(shutil.which, pdf["BROWSERS"])), None)
    if browser is None:
        pytest.skip("no Chromium on this machine: install the system package chromium")
    document = site / "print.html"
    document.write_text(pdf["assemble"](site, CONTENTS, {}), encoding="utf-8")
    content = pdf["printed_by"](browser, document, tmp_path / "book.pdf")
    assert content.startswith(b"%PDF")
    numbers = pdf["page_numbers"](content)
    # The cover and the contents come first.
    assert numbers["book-index"] == 3
    assert numbers["notebooks-01_tiny"] == numbers["notebooks-01_tiny--more"] == 4
