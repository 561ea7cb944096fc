"""The files of the built book: links, figures, size, what is left out, and a second build."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
from bs4 import BeautifulSoup

MIB = 2**20


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, BeautifulSoup]:
    files = [file for file in site.rglob("*.html") if "_static" not in file.parts]
    return {file: BeautifulSoup(file.read_text(encoding="utf-8"), "html.parser") for file in files}


def test_every_internal_link_and_file_is_there(pages: dict[Path, BeautifulSoup]) -> None:
    anchors = {
        page.resolve(): {tag.get("id") or tag.get("name") for tag in soup.select("[id], a[name]")}
        for page, soup in pages.items()
    }
    broken = []
    for page, soup in pages.items():
        for tag in soup.select("[href], [src]"):
            address = str(tag.get("href") or tag.get("src"))
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            anchor = unquote(urldefrag(address).fragment)
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page.resolve()
            if not target.is_file() or (anchor and anchor not in anchors.get(target, {anchor})):
                broken.append(f"{page.name}: {address}")
    assert broken == []


def test_nothing_is_loaded_from_another_host(pages: dict[Path, BeautifulSoup]) -> None:
    selector = "script[src], img[src], iframe[src], link[href]"
    loaded = [
        str(tag.get("src") or tag.get("href"))
        for soup in pages.values()
        for tag in soup.select(selector)
    ]
    assert loaded
    assert [address for address in loaded if urlsplit(address).netloc] == []


def test_every_figure_of_a_chapter_has_words(pages: dict[Path, BeautifulSoup]) -> None:
    figures = [
        (image, image.find_parent("figure"))
        for page, soup in pages.items()
        if page.parent.name == "notebooks"
        for image in soup.select("div.cell_output img")
    ]
    assert figures
    for image, figure in figures:
        # myst-nb writes the name of the file where the notebook gives no words.
        assert " " in str(image.get("alt", ""))
        assert figure is not None
        assert figure.figcaption is not None
        assert len(figure.figcaption.get_text(strip=True)) > 20


def test_each_chapter_says_how_it_was_made(pages: dict[Path, BeautifulSoup]) -> None:
    for page, soup in pages.items():
        if page.parent.name == "notebooks":
            made = soup.select_one("details.provenance")
            assert made is not None
            assert "profile=smoke" in made.get_text()
            assert not made.has_attr("open")


def test_each_figure_has_a_foot_that_leads_to_its_cell(pages: dict[Path, BeautifulSoup]) -> None:
    feet = 0
    for page, soup in pages.items():
        if page.parent.name != "notebooks":
            continue
        for figure in soup.select("div.cell_output figure:has(img)"):
            foot = figure.find_next_sibling("div")
            assert foot is not None
            assert foot.get("class", [""])[0] == "figure-foot"
            cell, *made, parameters = [str(link["href"]) for link in foot.select("a")]
            assert figure in soup.select_one(cell).find_all("figure")
            assert made[0].endswith(f"smoke/{page.stem}.json")
            assert "tag_parameters" in soup.select_one(parameters)["class"]
            feet += 1
    assert feet > 30


def test_run_times_have_a_row_for_each_chapter(pages: dict[Path, BeautifulSoup]) -> None:
    chapters = {page.name for page in pages if page.parent.name == "notebooks"}
    (soup,) = (found for page, found in pages.items() if page.name == "environment.html")
    rows = soup.select("table.run-times tbody tr")
    assert {str(row.select_one("th a")["href"]).rpartition("/")[2] for row in rows[:-1]} == chapters
    assert all("smoke" in str(row.select_one("td a")["href"]) for row in rows[:-1])


def test_no_button_leads_to_a_service_without_a_repository(
    pages: dict[Path, BeautifulSoup],
) -> None:
    services = ("https://colab.", "https://mybinder.", "https://github.com/executablebooks/")
    links = {str(link["href"]) for soup in pages.values() for link in soup.select("a[href]")}
    assert any(link.startswith("https://") for link in links)
    assert [link for link in links if link.startswith(services)] == []


def test_scoreboard_has_a_heading_for_each_cell(site: Path) -> None:
    soup = BeautifulSoup((site / "book/scoreboard.html").read_text(encoding="utf-8"), "html.parser")
    tables = soup.select("table.scoreboard")
    assert tables
    for table in tables:
        assert table.caption is not None
        assert {cell["scope"] for cell in table.select("thead th")} == {"col"}
        assert all(row.select("th[scope=row]") for row in table.select("tbody tr"))
        assert all(cell.select(".robustkit-verdict") for cell in table.select("td:last-child"))


def test_tolerances_stand_on_the_page_of_corruptions(site: Path) -> None:
    text = (site / "book/api/corruptions.html").read_text(encoding="utf-8")
    (table,) = BeautifulSoup(text, "html.parser").select("table.parity")
    assert len(table.select("tbody tr")) == 34
    assert {cell["scope"] for cell in table.select("thead th")} == {"col"}
    # What a phone shows above each cell of a card.
    assert all(cell.get("data-label") for cell in table.select("tbody th, tbody td"))


def test_site_is_small_and_holds_no_sources_of_the_project(site: Path) -> None:
    sizes = {file: file.stat().st_size for file in site.rglob("*") if file.is_file()}
    mathjax = sum(size for file, size in sizes.items() if "mathjax" in file.parts)
    assert 1 * MIB < mathjax < 4 * MIB
    assert sum(sizes.values()) < 25 * MIB
    assert [file for file in sizes if file.suffix in {".py", ".map"}] == []
    for file in sizes:
        if file.suffix in {".js", ".css"}:
            assert "sourceMappingURL=" not in file.read_text(encoding="utf-8"), file
    folders = {file.parent.relative_to(site).parts[0] for file in site.glob("*/**/*.html")}
    assert folders - {"_static"} == {"book", "notebooks"}


def test_second_build_changes_no_page(
    output: Path, build: Callable[[Path], Path], tmp_path: Path
) -> None:
    def pages_and_figures(site: Path) -> dict[str, str]:
        # Sphinx versions the address of a style sheet only once the file is there.
        return {
            str(file.relative_to(site)): re.sub(
                r"\?v=[0-9a-f]+", "", file.read_text(encoding="utf-8")
            )
            for file in site.rglob("*")
            if file.suffix in {".html", ".svg"}
        }

    # A copy: other tests read the book meanwhile.
    again = shutil.copytree(output, tmp_path / "book")
    before = pages_and_figures(again / "_build" / "html")
    assert pages_and_figures(build(again)) == before
