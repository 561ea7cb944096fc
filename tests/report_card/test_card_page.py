"""The record and the page of a card: complete, self-contained, and deaf to malicious names."""

import base64
import io
import json
from urllib.parse import urlsplit

import pytest
import torch
from bs4 import BeautifulSoup
from card_toys import constant, levels, two_classes
from PIL import Image

from robustkit import records
from robustkit.errors import InputError
from robustkit.plots import DARK, INK
from robustkit.records import Record
from robustkit.report_card import add_to_record, compare, reports
from robustkit.report_card.budget import half_width
from robustkit.report_card.figures import label
from robustkit.report_card.page import page
from robustkit.report_card.pictures import data_uri
from robustkit.report_card.words import printable, worded

EVIL = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'; DROP TABLE classes; --",
    "$\\frac{a}{$",
    "line\nbreak\x00\x1b[31m",
    "\u202egnp.exe",
    "bytes \udcff",
    "inf",
    "</style><style>body{background:url(//evil.example/x)}",
    "javascript:alert(1)",
    "{{7*7}} ${7*7} <!--",
    "&lt;b&gt;",
)


def recorded(networks=("first", "second"), classes=EVIL):
    """A record of two cheap cards, as it comes back from its file."""
    images, labels = levels(24), torch.arange(24) % len(classes)
    models = {name: constant(place, len(classes)) for place, name in enumerate(networks)}
    found = reports(
        models,
        images,
        labels,
        data="imagefolder:" + EVIL[0],
        classes=classes,
        axes=("clean", "l2", "spectrum", "corruptions", "translation", "rics"),
        samples={"clean": 24, "l2": 6, "spectrum": 6, "corruptions": 6, "translation": 6},
        severities=(1, 3),
        radius=1,
    )
    both = list(found.values())
    record = Record("06_report_card", {"profile": "smoke", "model": networks[0]})
    add_to_record(record, both, compare(*both) if len(both) == 2 else None)
    text = json.dumps(json.loads(json.dumps(records.strict_json.encode(record.as_dict()))))
    return records.decode(json.loads(text.encode("utf-8")), "memory")


@pytest.fixture(scope="module")
def record():
    return recorded((EVIL[1], EVIL[3]))


@pytest.fixture(scope="module")
def soup(record):
    return BeautifulSoup(page(record), "html.parser")


def test_malicious_names_stay_text(soup, record):
    assert soup.select("script, iframe, object, embed, form, link:not([rel=icon])") == []
    attributes = {name for tag in soup.find_all(True) for name in tag.attrs}
    assert not {name for name in attributes if name.startswith("on")}
    assert len(soup.select("style")) == 1
    assert "evil.example" not in soup.style.get_text()
    text = soup.get_text()
    for name in EVIL[:4]:
        assert name in text
    assert soup.title.get_text() == f"Report card: {EVIL[1]} and {EVIL[3]}"
    assert len(soup.select("main")) == 1


def test_nothing_is_asked_of_another_host(soup):
    addresses = [
        str(tag.get(name))
        for tag in soup.find_all(True)
        for name in ("src", "srcset", "href", "action", "data", "poster", "background")
        if tag.get(name)
    ]
    assert addresses
    assert {urlsplit(address).scheme for address in addresses} == {"data"}
    policy = soup.select_one("meta[http-equiv=Content-Security-Policy]")["content"]
    assert policy.startswith("default-src 'none'")
    assert "url(" not in soup.style.get_text()


def test_a_record_holds_names_that_are_no_text(record):
    names = record["tables"]["classes"]["class"]
    assert "bytes \N{REPLACEMENT CHARACTER}" in names
    assert "'inf'" in names
    assert all(name.isprintable() for name in names)
    json.dumps(record["tables"]["classes"], ensure_ascii=False).encode()


def test_the_page_has_every_axis_figure_and_number(soup, record):
    titles = [tag.get_text() for tag in soup.select("h2")]
    assert titles == [
        "In short",
        "Side by side",
        "Clean images",
        "Shortest perturbations",
        "Margins by frequency",
        "Common corruptions",
        "Translations",
        "What crop selection would give",
        "Samples and precision",
        "How this card was made",
    ]
    drawings = soup.select("figure picture")
    # A constant classifier has no boundary, and no spectrum to draw.
    assert len(drawings) == 4
    for drawing in drawings:
        light, dark = (
            base64.b64decode(address.partition(",")[2]).decode()
            for address in (drawing.img["src"], drawing.source["srcset"])
        )
        assert drawing.source["media"] == "(prefers-color-scheme: dark)"
        assert INK in light
        assert DARK[INK] in dark
        assert INK not in dark
        assert drawing.img["alt"]
    numbers = record["tables"]["numbers"]["scalar"]
    notes = {record["scalars"][name]["note"] for name in numbers}
    headings = {row.th.get_text() for row in soup.select("tbody tr")}
    assert notes <= headings
    assert {cell["scope"] for cell in soup.select("thead th")} == {"col"}


def test_pictures_of_the_worst_images_can_be_read(soup):
    pictures = soup.select("ul.examples img")
    assert pictures
    for tag in pictures:
        kind, _, text = tag["src"].partition(",")
        assert kind == "data:image/png;base64"
        with Image.open(io.BytesIO(base64.b64decode(text))) as image:
            assert image.size == (8, 8)
        assert tag["alt"]


def test_what_is_not_known_is_not_called_a_number(soup):
    text = soup.get_text()
    assert "The samples were chosen for a budget" not in text
    assert "nan" not in text.split()
    [table] = [one for one in soup.select("table") if "planned" in one.thead.get_text()]
    assert {row.select("td")[2].get_text() for row in table.select("tbody tr")} == {"-"}


def test_cells_of_corruptions_have_their_intervals(record):
    cells = record["tables"]["corruption_cells"]
    place = cells["severity"].index(3)
    ends = {"accuracy": 0.126, "low": 0.004, "high": 0.998}
    cells = {**cells, **{name: [*cells[name]] for name in ends}}
    for name, value in ends.items():
        cells[name][place] = value
    tables = {**record["tables"], "corruption_cells": cells}
    soup = BeautifulSoup(page({**record, "tables": tables}), "html.parser")
    [table] = [one for one in soup.select("table") if "over its interval" in one.caption.get_text()]
    lines = [[cell.get_text() for cell in row.select("td")] for row in table.select("tbody tr")]
    assert len(lines) == len(cells["severity"]) / 2
    assert lines[0][1] == "13\n<1\N{EN DASH}>99"
    low, high = (round(100 * cells[end][0]) for end in ("low", "high"))
    assert lines[0][0] == f"{round(100 * cells['accuracy'][0])}\n{low}\N{EN DASH}{high}"


def test_numbers_without_a_paired_test_are_named(soup, record):
    [said] = [tag.get_text() for tag in soup.select("p") if "without a paired" in tag.get_text()]
    assert "share fooled at any distance, " in said
    assert "change of accuracy with RICS" in said
    assert "noise accuracy, " in said
    named = said.partition(": ")[2].rstrip(".").split(", ")
    tested = {worded(name) for name in record["tables"]["comparison"]["scalar"]}
    assert not tested & {*named}
    assert len(named) + len(record["tables"]["comparison"]["scalar"]) == len(
        record["tables"]["numbers"]["scalar"]
    )


def test_the_page_says_why_there_are_no_known_networks(soup, record):
    assert "cifar10 (32 x 32) and mnist (28 x 28) as they are" in soup.get_text()
    line = {"axis": "l2", "scalar": "l2_median", "network": "ResNet-20", "value": 0.1, "low": 0.09}
    line |= {"high": 0.11, "images": 455, "record": "01_preliminaries, laptop"}
    tables = {**record["tables"], "references": {name: [cell] for name, cell in line.items()}}
    text = BeautifulSoup(page({**record, "tables": tables}), "html.parser").get_text()
    assert "No known networks stand" not in text
    # Of six axes, one has a reference.
    assert text.count("No known network was measured in this way along this axis.") == 5


def test_methods_that_differ_are_said_of_each_network(soup, record):
    axes = record["tables"]["axes"]
    found = {tag.get_text() for tag in soup.select("p.method")}
    assert {*axes["method"]} <= found
    axes = {**axes, "method": [*axes["method"][:-1], "Another way."]}
    tables = {**record["tables"], "axes": axes}
    soup = BeautifulSoup(page({**record, "tables": tables}), "html.parser")
    found = {tag.get_text() for tag in soup.select("p.method")}
    assert f"{axes['network'][0]}: {axes['method'][5]}" in found
    assert f"{axes['network'][-1]}: Another way." in found


def test_the_precision_of_medians_is_that_of_the_images_that_are_right(record):
    axes, scalars = record["tables"]["axes"], record["scalars"]
    for prefix, start in (("", 0), ("second_", 6)):
        assert axes["axis"][start + 1] == "l2"
        # Of no image a record has no count.
        right = scalars[prefix + "l2_median"]["count"] or 0
        assert right < axes["images"][start + 1]
        assert axes["half_width"][start + 1] == (half_width(right) if right else 0.5)
        assert axes["half_width"][start] == half_width(24)


def test_the_same_record_makes_the_same_page(record):
    assert page(record) == page(record)


def test_one_network_has_a_page_without_a_comparison():
    found = recorded(("only",), ("a", "b"))
    assert "comparison" not in found["tables"]
    assert not [name for name in found["scalars"] if name.startswith("second_")]
    soup = BeautifulSoup(page(found), "html.parser")
    assert "Side by side" not in soup.get_text()
    assert [tag.get_text() for tag in soup.select("h3")].count("Worst images") > 0


def test_scalars_and_tables_of_a_second_network_stand_beside_those_of_the_first(record):
    assert record["scalars"]["accuracy"]["count"] == 24
    assert record["scalars"]["second_accuracy"]["count"] == 24
    assert set(record["tables"]["translation"]["network"]) == {
        printable(EVIL[1]),
        printable(EVIL[3]),
    }
    axes = record["tables"]["axes"]
    assert axes["images"] == [24, 6, 6, 6, 6, 6] * 2
    assert all(seconds >= 0 for seconds in axes["seconds"])


def test_a_record_without_a_card_has_no_page():
    with pytest.raises(InputError, match="no report card"):
        page(Record("06_report_card", {"profile": "smoke"}).as_dict())


def test_a_card_is_of_one_network_or_two():
    with pytest.raises(InputError, match="one network or two, got 0"):
        add_to_record(Record("06_report_card", {}), [])


@pytest.mark.parametrize("name", EVIL)
def test_a_figure_can_write_any_name(name):
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots()
    axes.plot([0, 1], label=label(name))
    axes.legend()
    figure.canvas.draw()
    plt.close(figure)
    assert label("_" + name).startswith(" ")
    assert len(label("x" * 100)) == 40


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (5, "L")])
def test_small_pictures_keep_every_pixel(channels, mode):
    image = torch.rand(channels, 9, 7, generator=torch.Generator().manual_seed(0))
    with Image.open(io.BytesIO(base64.b64decode(data_uri(image).partition(",")[2]))) as found:
        assert (found.mode, found.size) == (mode, (7, 9))
        pixel = found.getpixel((2, 4))
    shown = image[:, 4, 2] if channels in (1, 3) else image[:, 4, 2].mean(0, keepdim=True)
    levels_of = [round(255 * value) for value in shown.tolist()]
    assert pixel == (levels_of[0] if channels != 3 else tuple(levels_of))


def test_large_pictures_are_reduced():
    address = data_uri(torch.rand(3, 224, 150, generator=torch.Generator().manual_seed(0)))
    assert address.startswith("data:image/jpeg;base64,")
    with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as found:
        assert found.size == (75, 112)
    assert len(address) < 20_000


def test_a_picture_is_of_one_image():
    with pytest.raises(InputError, match=r"\(C, H, W\)"):
        data_uri(torch.rand(1, 3, 8, 8))


def test_two_classes_make_a_page_with_margins():
    images = levels(6)
    labels = torch.arange(6) % 2
    found = reports({"linear": two_classes()}, images, labels, axes=("l2", "sparse", "spectrum"))
    record = Record("06_report_card", {"profile": "smoke"})
    add_to_record(record, list(found.values()))
    soup = BeautifulSoup(page(record.as_dict()), "html.parser")
    assert len(soup.select("figure picture")) == 3
