"""Vector figures in two colour schemes: the light one of the notebook and a dark twin beside it."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from bs4 import BeautifulSoup, Tag

from robustkit.files import write_atomic
from robustkit.plots import recolour

LIGHT, DARK = "only-light", "only-dark"


def add_dark_twins(soup: BeautifulSoup, folder: Path, colours: Mapping[str, str]) -> None:
    """Show each SVG output of the page in `folder` as a light and a dark image.

    A page that has its pairs already keeps them, and only the dark files follow `colours`.
    """
    for image in soup.select("div.cell_output img[src$='.svg']"):
        classes = image.get_attribute_list("class")
        if DARK in classes:
            continue
        source = PurePosixPath(str(image["src"]))
        twin = source.with_name(f"{source.stem}-dark.svg")
        _write(folder / twin, recolour((folder / source).read_text(encoding="utf-8"), colours))
        if LIGHT not in classes:
            _pair(soup, image, str(twin))


def _pair(soup: BeautifulSoup, image: Tag, twin: str) -> None:
    attributes = {name: value for name, value in image.attrs.items() if name != "id"}
    dark = soup.new_tag("img", attrs={**attributes, "src": twin})
    for shown, scheme in ((image, LIGHT), (dark, DARK)):
        shown["class"] = [name for name in shown.get_attribute_list("class") if name] + [scheme]
    # The theme hides every caption that is a sibling of an image of the other scheme, hence the
    # parent of their own.
    image.wrap(soup.new_tag("span", attrs={"class": "figure-pair"}))
    image.insert_after(dark)


def _write(path: Path, content: str) -> None:
    if not path.is_file() or path.read_text(encoding="utf-8") != content:
        write_atomic(path, content)
