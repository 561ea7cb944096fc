"""The picture of predictions over shifts: what it says, that names stay text, that it repeats."""

import base64
import io
import re
from collections import Counter

import nbformat
import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image

from robustkit import notebooks
from robustkit.errors import InputError
from robustkit.plots import COLOURS
from robustkit.translation.shift_grid import ShiftGrid, shift_grid
from robustkit.translation.shifts import CropShift, neighbourhood

EVIL = [
    "<script>alert(1)</script>",
    '" onmouseover="alert(1)',
    "'><img src=x onerror=alert(1)>",
    "</style></script><!-- $id ${id} %s {0} &lt;",
    "plain",
]
WINDOW, CROP = (9, 11), (5, 6)
SIDES = (15, 16)
CORNER = (3, 2)


def square(radius):
    return torch.cat([torch.zeros(1, 2, dtype=torch.int64), neighbourhood(radius)])


def arguments(radius=2, *, channels=3, crops=True, **changes):
    """What a picture is made of; any of it can be changed."""
    drawn = torch.Generator().manual_seed(radius)
    shifts = square(radius)
    given = {
        "source": torch.randint(256, (channels, *SIDES), generator=drawn).to(torch.uint8),
        "window": WINDOW,
        "shifts": shifts,
        "labels": torch.randint(len(EVIL), (len(shifts),), generator=drawn),
        "names": EVIL,
    }
    if crops:
        room = [side - kept + 1 for side, kept in zip(WINDOW, CROP, strict=True)]
        inside = [torch.randint(side, (len(shifts),), generator=drawn) for side in room]
        starts = shifts + torch.tensor(CORNER)
        given |= {"positions": starts + torch.stack(inside, dim=1), "crop": CROP}
    return given | changes


def made(*given, **changes):
    return shift_grid(**arguments(*given, **changes))


def parsed(picture):
    return BeautifulSoup(picture.html, "html.parser")


def sides_of(page):
    style = page.select_one(".robustkit-shift-grid")["style"]
    return {name: int(value) for name, value in re.findall(r"--(\w):(\d+)", style)}


def legend_of(page):
    """The name and the count of each letter."""
    lines = [[part.get_text() for part in line.find_all("span")] for line in page.select("li")]
    assert len({letter for letter, _, _ in lines}) == len(lines)
    return {letter: (name, count) for letter, name, count in lines}


# --- what it says --------------------------------------------------------------------------------


@pytest.mark.parametrize("radius", [0, 1, 2])
def test_each_square_has_the_letter_of_the_class_at_its_shift(radius):
    given = arguments(radius or 1)
    if radius == 0:
        given |= {name: given[name][:1] for name in ("shifts", "labels", "positions")}
    page = parsed(shift_grid(**given))
    legend = legend_of(page)
    rows = [[cell.get_text() for cell in row.find_all("td")] for row in page.select("table tr")]
    assert [len(row) for row in rows] == [2 * radius + 1] * (2 * radius + 1)
    for (row, column), label in zip(given["shifts"].tolist(), given["labels"], strict=True):
        assert legend[rows[row + radius][column + radius]][0] == EVIL[label]


def test_the_legend_counts_and_puts_the_most_frequent_first():
    given = arguments()
    page = parsed(shift_grid(**given))
    counts = Counter(EVIL[label] for label in given["labels"])
    assert dict(legend_of(page).values()) == {
        name: f"{count} of 25" for name, count in counts.items()
    }
    found = [int(count.split()[0]) for _, count in legend_of(page).values()]
    assert found == sorted(found, reverse=True)
    assert list(legend_of(page)) == [*"ABCDE"][: len(found)]
    assert shift_grid(**given).text.splitlines()[0] == "Predictions over all shifts"
    assert [line.split()[0] for line in repr(shift_grid(**given)).splitlines()[1:]] == [
        str(count) for count in found
    ]


def test_before_any_interaction_the_unshifted_window_is_shown():
    given = arguments()
    picture = shift_grid(**given)
    page, sides = parsed(picture), sides_of(parsed(picture))
    base = CropShift(WINDOW).base(given["source"][None])[0]
    top, left = sides["y"], sides["x"]
    assert torch.equal(given["source"][:, top : top + 9, left : left + 11], base)
    assert (sides["H"], sides["W"], sides["h"], sides["w"]) == (*SIDES, *WINDOW)
    assert (sides["m"], sides["n"]) == CROP
    assert [sides["v"], sides["u"]] == given["positions"][0].tolist()
    assert page.select_one(".sg-name").get_text() == EVIL[given["labels"][0]]
    assert page.select_one(".sg-shift").get_text() == "rows 0, columns 0 (no shift)"
    (marked,) = page.select("td.sg-zero")
    assert page.select("td").index(marked) == 12
    assert page.select_one(".sg-panel .sg-mark").get_text() == marked.get_text()
    (hidden,) = page.select("[hidden]")
    assert "arrow keys" in hidden.get_text()


def test_crops_are_listed_in_the_order_of_the_squares():
    given = arguments()
    page = parsed(shift_grid(**given))
    listed = page.select_one("[data-crops]")["data-crops"].split(";")
    for (row, column), place in zip(given["shifts"], given["positions"], strict=True):
        assert listed[(row + 2) * 5 + column + 2] == f"{place[0]},{place[1]}"
    same = int((given["positions"] == given["positions"][0]).all(dim=1).sum())
    assert f"The crop is the same at {same} of 25 shifts." in page.get_text()


def test_without_crops_none_is_drawn():
    page = parsed(made(crops=False))
    assert not page.select(".sg-kept, .sg-crop, .sg-where")
    assert len(page.select("figure")) == 2
    assert len(parsed(made()).select("figure")) == 3


@pytest.mark.parametrize("channels", [1, 3])
def test_the_photograph_is_there_once_and_whole(channels):
    given = arguments(channels=channels)
    html = shift_grid(**given).html
    (uri,) = re.findall(r"url\(data:image/png;base64,([^)]*)\)", html)
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri, validate=True))))
    expected = given["source"].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(pixels, expected if channels == 3 else expected[..., 0])


def test_colours_repeat_but_letters_do_not():
    labels = torch.arange(81)
    names = [f"class {label}" for label in range(81)]
    source = torch.zeros(3, 20, 20, dtype=torch.uint8)
    page = parsed(shift_grid(source, 10, square(4), labels, names))
    letters = list(legend_of(page))
    assert (letters[0], letters[25], letters[26], letters[27]) == ("A", "Z", "AA", "AB")
    assert (letters[51], letters[52], letters[80]) == ("AZ", "BA", "CC")
    kinds = [cell["class"][0] for cell in page.select("li .sg-mark")]
    assert kinds == [f"sg-{place % len(COLOURS)}" for place in range(81)]


def test_letters_have_contrast_on_each_colour():
    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    fills = dict(re.findall(r"\.sg-\d+\{background:(#\w{6});color:(#\w{3})\}", made().html))
    assert list(fills) == COLOURS
    for ground, letter in fills.items():
        both = sorted([luminance(ground), {"#000": 0.0, "#fff": 1.0}[letter]])
        assert (both[1] + 0.05) / (both[0] + 0.05) >= 4.5


# --- a fragment for any page ---------------------------------------------------------------------


def test_names_and_title_stay_text():
    # The labels hold every class, so that every name is shown.
    labels = torch.arange(25) % 5
    title = '"><script>alert(2)</script>'
    page = parsed(made(labels=labels, title=title))
    assert {name for name, _ in legend_of(page).values()} == set(EVIL)
    assert page.select_one(".robustkit-shift-grid")["aria-label"] == title
    assert len(page.select("script")) == len(page.select("style")) == 1
    known = "div style p strong table tbody tr td span br figure figcaption ul li script"
    assert {tag.name for tag in page.find_all(True)} == set(known.split(" "))
    attributes = {name for tag in page.find_all(True) for name in tag.attrs}
    assert attributes <= {"id", "class", "role", "style", "hidden", "aria-label", "data-crops"}
    code = page.script.get_text() + page.style.get_text()
    assert "alert" not in code
    assert "$" not in code
    harmless = parsed(made(labels=labels, names=[*"abcde"], title="t"))
    assert code.replace(page.div["id"], "ID") == (
        harmless.script.get_text() + harmless.style.get_text()
    ).replace(harmless.div["id"], "ID")


def test_it_asks_for_no_other_file_and_styles_nothing_else():
    page = parsed(made())
    name = page.div["id"]
    assert not page.select("[src], [href]")
    assert not re.search(r"https?:|@import|//[a-z]", page.get_text())
    rules = re.sub(r"@container\([^)]*\)\{(.*)\}", r"\1", page.style.get_text())
    for selector in re.findall(r"([^{}]+)\{[^{}]*\}", rules):
        assert f"#{name}" in selector
    assert (
        page.script.get_text()
        .strip()
        .startswith(f'for (const root of document.querySelectorAll("#{name}')
    )
    assert not re.search(r"^(var|let|const|function|class) ", page.script.get_text(), re.MULTILINE)


def test_the_same_input_makes_the_same_bytes():
    given = arguments()
    kept = {k: v.clone() for k, v in given.items() if isinstance(v, torch.Tensor)}
    first = shift_grid(**given)
    assert first == shift_grid(**given)
    assert all(torch.equal(given[name], value) for name, value in kept.items())
    mixed = torch.randperm(25, generator=torch.Generator().manual_seed(3))
    order = {name: given[name][mixed] for name in ("shifts", "labels", "positions")}
    assert shift_grid(**given | order) == first


@pytest.mark.parametrize(
    "change",
    [
        {"title": "another"},
        {"names": [*"vwxyz"]},
        {"window": (9, 10)},
        {"crop": (5, 5)},
        {"labels": torch.zeros(25, dtype=torch.int64)},
        {"source": torch.zeros(3, *SIDES, dtype=torch.uint8)},
        {"positions": square(2) + torch.tensor([4, 4])},
    ],
)
def test_another_input_has_another_id(change):
    given = arguments()
    if "window" in change:
        given["positions"] = square(2) + torch.tensor([4, 4])
    assert parsed(shift_grid(**given)).div["id"] != parsed(shift_grid(**given | change)).div["id"]


def test_around_the_photograph_it_is_small():
    # A square of 33 x 33 with a crop for each shift, and the classes of ImageNet at their number.
    shifts = square(16)
    source = torch.zeros(3, 256, 256, dtype=torch.uint8)
    labels = torch.arange(len(shifts)) % 40
    names = [f"a class with a name of usual length, {label}" for label in range(1000)]
    picture = shift_grid(
        source, 224, shifts, labels, names, positions=shifts + torch.tensor([30, 30]), crop=192
    )
    (uri,) = re.findall(r"base64,([^)]*)\)", picture.html)
    assert len(picture.html) - len(uri) < 50_000


def test_a_committed_notebook_keeps_it_whole():
    picture = made()
    data = {"text/html": picture._repr_html_(), "text/plain": repr(picture)}
    cell = new_code_cell("grid", outputs=[new_output("execute_result", data, execution_count=1)])
    page = new_notebook(cells=[cell])
    notebooks.clean(page)
    again = nbformat.reads(notebooks.dumps_with(page, {}), as_version=4)
    assert again.cells[0].outputs[0].data == data
    assert isinstance(picture, ShiftGrid)


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"source": torch.zeros(1, 3, *SIDES, dtype=torch.uint8)}, "one photograph"),
        ({"source": torch.zeros(3, *SIDES)}, "uint8"),
        ({"source": torch.zeros(2, *SIDES, dtype=torch.uint8)}, "one or three channels"),
        ({"window": 0}, "window must be"),
        ({"window": 16}, "does not fit"),
        ({"window": 13}, "nothing is padded"),
        ({"shifts": neighbourhood(2)}, "whole square"),
        ({"shifts": square(2).float()}, "int64"),
        ({"shifts": square(2)[None]}, "whole square"),
        ({"shifts": square(2).clamp(max=1)}, "whole square"),
        ({"shifts": torch.zeros(0, 2, dtype=torch.int64)}, "no shifts"),
        ({"labels": torch.zeros(24, dtype=torch.int64)}, "labels must have shape"),
        ({"labels": torch.full((25,), 5)}, "0 to 4"),
        ({"labels": torch.zeros(25)}, "class indices"),
        ({"names": [], "labels": torch.zeros(25, dtype=torch.int64)}, "labels span"),
        ({"crop": None}, "pass both"),
        ({"positions": None}, "pass both"),
        ({"positions": square(2)}, "in the source"),
        ({"positions": square(2) + 20}, "in the source"),
        ({"positions": torch.zeros(25, 2)}, "positions must be int64"),
        ({"positions": torch.zeros(24, 2, dtype=torch.int64)}, "positions must be int64"),
        ({"crop": (10, 6)}, "not inside its window"),
        ({"crop": 0}, "crop must be"),
    ],
)
def test_bad_input_is_refused(change, words):
    with pytest.raises(InputError, match=re.escape(words)):
        made(**change)
