"""The last pass over the built pages: what the theme and its extensions leave wrong in the HTML.

Every step leaves a page that it has already treated as it is, since an incremental build passes
over old pages again.
"""

from collections.abc import Mapping
from html import escape
from pathlib import Path
from urllib.parse import urlsplit

from bs4 import BeautifulSoup, Tag

from robustkit.files import write_atomic

from .figures import add_dark_twins
from .works import Work


def polish(site: Path, colours: Mapping[str, str], works: Mapping[str, Work]) -> None:
    """Treat every page under `site`; `works` are the entries of the bibliography by key."""
    drop_source_maps(site / "_static")
    for page in sorted(site.rglob("*.html")):
        if "_static" in page.relative_to(site).parts:
            continue
        before = page.read_text(encoding="utf-8")
        soup = BeautifulSoup(before, "html.parser")
        complete_redirect(soup)
        add_dark_twins(soup, page.parent, colours)
        drop_external_requests(soup)
        name_table_headers(soup)
        label_cells(soup)
        list_citations(soup)
        name_sidebar(soup)
        unlist_signatures(soup)
        link_sources(soup, page.parent, site, works)
        after = str(soup)
        if after != before:
            write_atomic(page, after)


def drop_source_maps(folder: Path) -> None:
    """Remove what only those need who look for errors in the scripts of the theme: megabytes."""
    for source_map in folder.rglob("*.map"):
        source_map.unlink()
        made = source_map.with_suffix("")
        if made.is_file():
            text = made.read_text(encoding="utf-8")
            # The last line names the map, as a comment of the one language or the other.
            rest, _, last = text.rpartition("\n")
            if "sourceMappingURL=" in last:
                write_atomic(made, rest + "\n")


def complete_redirect(soup: BeautifulSoup) -> None:
    """Give a page that only sends the browser on a language, a title and a link."""
    sent = soup.find("meta", attrs={"http-equiv": "Refresh"})
    if isinstance(sent, Tag) and soup.title is None:
        target = escape(str(sent["content"]).partition("url=")[2])
        whole = (
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/><title>robustkit</title>'
            '<link href="data:," rel="icon"/>'
            f'<meta content="0; url={target}" http-equiv="Refresh"/></head><body><main>'
            f'<h1>robustkit</h1><p><a href="{target}">Open the book</a></p></main></body></html>\n'
        )
        soup.clear()
        soup.extend(BeautifulSoup(whole, "html.parser").contents[:])


def drop_external_requests(soup: BeautifulSoup) -> None:
    """Remove what would make the browser ask another host while it loads the page."""
    for tag in soup.select("script[src], img[src], iframe[src], link[href]"):
        address = str(tag.get("src") or tag.get("href"))
        relations = tag.get_attribute_list("rel")
        if urlsplit(address).netloc and "canonical" not in relations:
            tag.decompose()


def name_table_headers(soup: BeautifulSoup) -> None:
    """Say what each header cell heads; an empty one (the corner of pandas) becomes a plain cell."""
    for cell in soup.select("table th"):
        if not cell.get_text(strip=True) and not cell.find(True):
            cell.name = "td"
            del cell["scope"]
        elif not cell.get("scope"):
            cell["scope"] = "col" if cell.find_parent("thead") else "row"


def label_cells(soup: BeautifulSoup) -> None:
    """Repeat the heading of its column in each cell of a table that a phone stacks."""
    for table in soup.select("table.scoreboard, table.robustkit-claims, table.parity"):
        headings = [heading.get_text(" ", strip=True) for heading in table.select("thead th")]
        for row in table.select("tbody tr"):
            for heading, cell in zip(headings, row.find_all(["th", "td"]), strict=False):
                cell["data-label"] = heading


def list_citations(soup: BeautifulSoup) -> None:
    """Give the entries of a bibliography the role that their parent, a list, asks for."""
    for listed in soup.select("div.citation-list[role=list]"):
        for entry in listed.select("div.citation"):
            entry["role"] = "listitem"


def name_sidebar(soup: BeautifulSoup) -> None:
    """Make the sidebar a landmark, and name its arrows that show the pages under a page."""
    for sidebar in soup.select("#pst-primary-sidebar"):
        sidebar["role"] = "complementary"
        sidebar["aria-label"] = "Book"
    for toggle in soup.select("nav summary"):
        page = toggle.find_parent("li")
        if isinstance(page, Tag) and not toggle.get_text(strip=True):
            link = page.find("a")
            toggle["aria-label"] = f"Pages under {link.get_text(strip=True) if link else 'this'}"


def unlist_signatures(soup: BeautifulSoup) -> None:
    """Turn the parameters of a long signature, a list of definitions without terms, into lines."""
    for listed in soup.select("dt.sig dl"):
        for line in [listed, *listed.find_all("dd", recursive=False)]:
            line["class"] = "sig-lines" if line.name == "dl" else "sig-line"
            line.name = "div"


def link_sources(soup: BeautifulSoup, folder: Path, site: Path, works: Mapping[str, Work]) -> None:
    """Name and link the works that a table of claims printed by a notebook gives by key."""
    for source in soup.select("table.robustkit-claims th small"):
        key, comma, place = source.get_text().partition(",")
        work = works.get(key)
        if work is None or source.find("a"):
            continue
        above = "../" * len(folder.relative_to(site).parts)
        link = soup.new_tag(
            "a", attrs={"class": "reference internal", "href": above + work.address}
        )
        link.string = work.label
        source.clear()
        source.extend([link, comma + place])
