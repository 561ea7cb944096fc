"""The last pass over the built pages: what the theme and its extensions leave wrong in the HTML.

Every step leaves a page that it has already treated as it is, since an incremental build passes
over old pages again.
"""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from bs4 import BeautifulSoup

from robustkit.files import write_atomic

from .figures import add_dark_twins


def polish(site: Path, colours: Mapping[str, str]) -> None:
    """Treat every page under `site`."""
    for page in sorted(site.rglob("*.html")):
        if "_static" in page.relative_to(site).parts:
            continue
        before = page.read_text(encoding="utf-8")
        soup = BeautifulSoup(before, "html.parser")
        add_dark_twins(soup, page.parent, colours)
        drop_external_requests(soup)
        name_table_headers(soup)
        list_citations(soup)
        after = str(soup)
        if after != before:
            write_atomic(page, after)


def drop_external_requests(soup: BeautifulSoup) -> None:
    """Remove what would make the browser ask another host while it loads the page."""
    for tag in soup.select("script[src], img[src], iframe[src], link[href]"):
        address = str(tag.get("src") or tag.get("href"))
        relations = tag.get_attribute_list("rel")
        if urlsplit(address).netloc and "canonical" not in relations:
            tag.decompose()


def name_table_headers(soup: BeautifulSoup) -> None:
    """Say what each header cell heads, and turn empty ones (the corner of pandas) into plain cells."""
    for cell in soup.select("table th"):
        if not cell.get_text(strip=True) and not cell.find(True):
            cell.name = "td"
            del cell["scope"]
        elif not cell.get("scope"):
            cell["scope"] = "col" if cell.find_parent("thead") else "row"


def list_citations(soup: BeautifulSoup) -> None:
    """Give the entries of a bibliography the role that their parent, a list, asks for."""
    for listed in soup.select("div.citation-list[role=list]"):
        for entry in listed.select("div.citation"):
            entry["role"] = "listitem"
