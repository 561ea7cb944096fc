"""Names of classes and files are text wherever they are shown: in HTML, in drawings, in a title."""

import importlib
import inspect
import pkgutil
import sys
import warnings
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import fault_project
import pytest
import torch
from bs4 import BeautifulSoup
from docutils import nodes
from docutils.core import publish_from_doctree
from docutils.utils import new_document
from matplotlib import pyplot as plt
from PIL import Image

import robustkit
from robustkit import claims, data, plots, records, stats
from robustkit.claims_table import ClaimsTable, Line
from robustkit.corruptions import CorruptionTable
from robustkit.data import Dataset
from robustkit.translation import neighbourhood
from robustkit.translation.shift_grid import ShiftGrid, shift_grid

sys.path.insert(0, str(Path(robustkit.__file__).parents[1] / "book" / "_ext"))
EXTENSION = pytest.importorskip("robustkit_book")

# All are also names that a folder may have.
EVIL = (
    "<script>alert(1)<|script>",
    "<img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)" x=\'',
    "'--><svg onload=alert(1)>",
    "&lt;b&gt; &amp; &#60;",
    "${id} $id {0} %s {{x}}",
    "$\\frac$ and $5 or $6",
    "javascript:alert(1)",
    "```{eval-rst}",
)


def quiet(page: BeautifulSoup, allowed: str = "") -> None:
    """Require that no element or attribute came from a name."""
    assert {tag.name for tag in page.find_all(["script", "svg", "img", "b", "iframe"])} <= {
        *allowed.split()
    }
    for tag in page.find_all(True):
        assert not [name for name in tag.attrs if name.startswith("on")], tag


def soup(html: str) -> BeautifulSoup:
    return BeautifulSoup(html, "html.parser")


def modules() -> Iterator[Any]:
    for found in pkgutil.walk_packages(robustkit.__path__, "robustkit."):
        if not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


def test_every_class_that_shows_itself_as_html_is_tested_here() -> None:
    shown = {
        item
        for module in modules()
        for item in vars(module).values()
        if inspect.isclass(item) and item.__module__.startswith("robustkit")
        if hasattr(item, "_repr_html_")
    }
    assert shown == {ClaimsTable, ShiftGrid}


@pytest.mark.parametrize("text", EVIL)
def test_a_table_of_claims(text: str) -> None:
    line = Line(text, text, text, (text, text), text, text)
    page = soup(ClaimsTable(text, (text, text), (line,), text)._repr_html_())
    quiet(page)
    assert page.caption is not None
    assert page.caption.get_text() == text
    assert [cell.get_text() for cell in page.select("tbody td")[:2]] == [text, text]
    assert page.tr is not None
    assert page.select("tbody tr")[0]["id"] == f"claim-{text}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Photographs in folders with names of every kind."""
    for name in EVIL:
        (tmp_path / "photographs" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "photographs" / name / f"{name}.png")
    return tmp_path / "photographs"


def test_names_of_folders_and_files(folder: Path) -> None:
    dataset = data.load(f"imagefolder:{folder}")
    assert dataset.classes == tuple(sorted(EVIL))
    names = dataset.classes
    shifts = torch.cat([torch.zeros(1, 2, dtype=torch.int64), neighbourhood(1)])
    labels = torch.arange(9) % len(names)
    for title in EVIL:
        grid = shift_grid(dataset.images[0], 4, shifts, labels, names, title=title)
        page = soup(grid.html)
        quiet(page, "script")
        assert len(page.find_all("script")) == 1
        shown = [line.find_all("span")[1].get_text() for line in page.select("li")]
        assert sorted(shown) == sorted(names)
        assert page.div is not None
        assert page.div["aria-label"] == title
    quiet(soup(f"<pre>{Dataset('x', 'y', dataset.images, dataset.labels, names)!r}</pre>"))


def drawn(figure: Any) -> ElementTree.Element:
    """Return the root of a drawing, all of whose text is from the figure."""
    file = StringIO()
    figure.savefig(file, format="svg")
    plt.close(figure)
    return ElementTree.fromstring(file.getvalue())


def test_drawings() -> None:
    plots.setup()
    # Text as text, not as outlines; a glyph that the font lacks is drawn as a box.
    with plt.rc_context({"svg.fonttype": "none"}), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        figures = [plots.image_grid(dict.fromkeys(EVIL, torch.zeros(len(EVIL), 3, 4, 4)), EVIL)]
        figure, axes = plt.subplots()
        plots.interval_rows(axes, dict.fromkeys(EVIL, stats.wilson(1, 2)))
        figures.append(figure)
        figure, axes = plt.subplots()
        for text in EVIL:
            plots.robustness_curve(axes, torch.ones(3), label=text)
        axes.legend()
        for root in map(drawn, [*figures, figure]):
            tags = {element.tag.rpartition("}")[2] for element in root.iter()}
            assert not tags & {"script", "b", "img", "foreignObject"}
            names = {name for element in root.iter() for name in element.attrib}
            assert not [name for name in names if name.startswith("on")]
            said = {element.text for element in root.iter() if element.tag.endswith("}text")}
            # What is mathematics to matplotlib is drawn as such.
            assert {text for text in EVIL if not text.startswith("${")} <= said


def test_tables_of_records_and_of_corruptions() -> None:
    record = records.Record("01_tiny", {"profile": "smoke"})
    record.table("names", {text: [text] for text in EVIL})
    page = soup(records.frame(record.as_dict(), "names")._repr_html_())
    quiet(page)
    assert [cell.get_text() for cell in page.select("tbody td")] == list(EVIL)
    cells = tuple((text, 1) for text in EVIL)
    table = CorruptionTable(cells, torch.ones(len(EVIL), 2).bool())
    page = soup(table.frame()._repr_html_())
    quiet(page)
    assert [row.td.get_text() for row in page.select("tbody tr") if row.td] == list(EVIL)


def html(node: nodes.Node) -> BeautifulSoup:
    """Write a node of the book as the book is written."""
    document = new_document("page")
    document += node
    settings: dict[str, Any] = {"output_encoding": "unicode", "embed_stylesheet": False}
    return soup(publish_from_doctree(document, writer_name="html5", settings_overrides=settings))


@pytest.mark.parametrize("text", EVIL)
def test_nodes_of_the_book(text: str) -> None:
    from robustkit_book import parity, record_table, scoreboard, values

    cell: list[nodes.Node] = [nodes.Text(text)]
    tables: list[Callable[[], nodes.Node]] = [
        lambda: scoreboard.table(text, [nodes.Text(text)], [cell], [("", [cell])]),
        lambda: nodes.paragraph("", "", scoreboard.verdict(text, text)),
        lambda: record_table.drawn({text: [text, text]}, [nodes.Text(text)]),
        lambda: parity.rows_table(
            {text: {"comparisons": {"x": _comparison(text)}, "different": text}}
        ),
    ]
    for make in tables:
        page = html(make())
        quiet(page)
        assert text in page.get_text()
    scalar = {"value": 1, "low": None, "high": None, "unit": text}
    assert values.written(scalar) == f"1 {text}"


def _comparison(text: str) -> dict[str, Any]:
    return {"with": text, "largest": 0.5, "unit": "range", "file": text}


@pytest.mark.parametrize("text", EVIL)
def test_the_block_on_how_a_page_was_made(text: str) -> None:
    from robustkit_book import provenance

    made = {
        "parameters": {text: text},
        "provenance": {
            **{"commit": text, "python": text, "packages": {text: text}, "cpu": text},
            **{"platform": text, "inputs": {text: text, f"robustkit/{text}": text}},
            **{"notebook": text, "wall_seconds": 1.0},
        },
    }
    page = soup(provenance.block({text: made}, lambda profile: f"{profile}/x.json"))
    quiet(page)
    assert page.get_text().count(f"{text}={text}") == 1
    assert page.a is not None
    assert page.a["href"] == f"{text}/x.json"


@pytest.mark.parametrize("text", EVIL)
def test_figures_keep_their_alternative_text(tmp_path: Path, text: str) -> None:
    from robustkit_book import figures, polish
    from robustkit_book.works import Work

    (tmp_path / "a.svg").write_text("<svg/>")
    page = soup('<div class="cell_output"><figure><img src="a.svg"/></figure></div>')
    assert page.img is not None
    page.img["alt"] = text
    figures.add_dark_twins(page, tmp_path, plots.DARK)
    again = soup(str(page))
    quiet(again, "img")
    assert [image["alt"] for image in again.find_all("img")] == [text, text]
    page = soup("<table class='robustkit-claims'><tr><th><small>key, x</small></th></tr></table>")
    polish.link_sources(page, tmp_path, tmp_path, {"key": Work(text, "bibliography.html")})
    again = soup(str(page))
    quiet(again)
    assert again.get_text() == f"{text}, x"


def test_a_scoreboard_of_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = fault_project.make(tmp_path)
    monkeypatch.chdir(root)
    lines = [f"chapter: {fault_project.CHAPTER}", "claims:"]
    for place, text in enumerate(EVIL):
        quoted = "'" + text.replace("'", "''") + "'"
        lines += [f"- id: claim{place}", f"  statement: {quoted}", f"  needs: {quoted}"]
        lines += [f"  source: {{key: x, where: {quoted}}}", "  profiles: [smoke]"]
    claim_file = root / "book" / "claims" / f"{fault_project.CHAPTER}.yml"
    claim_file.write_text("\n".join(lines) + "\n")
    page = soup(claims.table(claims.scoreboard(), "All")._repr_html_())
    quiet(page)
    said = page.get_text()
    assert all(text in said for text in EVIL)
