"""The section of one axis on a card's page: readings, figure, numbers, references, pictures."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from robustkit.claims_table import interval_text, number_text
from robustkit.report_card import figures
from robustkit.report_card.markup import (
    Record,
    drawing,
    folded,
    heading,
    paragraph,
    picture,
    rows,
    table,
)
from robustkit.report_card.recording import PREFIXES
from robustkit.report_card.words import worded

Row = Mapping[str, Any]

# Classes on a page, the worst ones first.
_CLASSES = 12


def axis_section(record: Record, name: str) -> Iterator[str]:
    """Yield what belongs to one axis: method, readings, figure, numbers, references, pictures."""
    axes = [row for row in rows(record, "axes") if row["axis"] == name]
    yield heading(2, str(axes[0]["title"]))
    methods = [str(row["method"]) for row in axes]
    # How crops enter a network, for one, is chosen for each.
    differ = len({*methods}) > 1
    for row, method in zip(axes if differ else axes[:1], methods, strict=False):
        yield paragraph(f"{row['network']}: {method}" if differ else method, "method")
    for row in axes:
        name_of = f"{row['network']}: " if len(axes) > 1 else ""
        yield paragraph(name_of + str(row["reading"]), "reading")
    figure = figures.draw(record, name)
    if figure is not None:
        yield drawing(figures.svg(figure), figures.ALTERNATIVES[name])
    yield _numbers(record, name, [str(row["network"]) for row in axes])
    if name == "clean":
        yield from _classes(record, several=len(axes) > 1)
    if name == "corruptions":
        yield from _cells(record, several=len(axes) > 1)
    yield from _references(record, name)
    yield from _examples(record, name, several=len(axes) > 1)


def _numbers(record: Record, axis: str, networks: Sequence[str]) -> str:
    """Return the scalars of an axis, those of two networks in columns beside each other."""
    names = _scalar_names(record, axis)
    lines = []
    for name in names:
        found = [record["scalars"].get(prefix + name) for prefix in PREFIXES[: len(networks)]]
        note = next(str(one["note"]) for one in found if one is not None)
        lines.append([note, *("-" if one is None else _scalar(one) for one in found)])
    return table(["number", *networks], lines, "Numbers with their intervals.")


def _scalar_names(record: Record, axis: str) -> list[str]:
    return [str(row["scalar"]) for row in rows(record, "numbers") if row["axis"] == axis]


def _scalar(scalar: Row) -> str:
    return interval_text(scalar["value"], scalar["low"], scalar["high"], scalar["unit"])


def _references(record: Record, axis: str) -> Iterator[str]:
    known = list(rows(record, "references"))
    lines = [
        [
            str(row["network"]),
            worded(str(row["scalar"])),
            interval_text(row["value"], row["low"], row["high"]),
            number_text(row["images"]),
            str(row["record"]),
        ]
        for row in known
        if row["axis"] == axis
    ]
    if lines:
        yield table(
            ["network", "number", "value", "images", "record"],
            lines,
            "Known networks on the same data, from the records of the book.",
        )
    elif known:
        yield paragraph("No known network was measured in this way along this axis.", "method")


def _examples(record: Record, axis: str, *, several: bool) -> Iterator[str]:
    found = [row for row in rows(record, "examples") if row["axis"] == axis]
    for network in dict.fromkeys(str(row["network"]) for row in found):
        yield heading(3, f"Worst images, {network}" if several else "Worst images")
        items = "\n".join(_example(row) for row in found if row["network"] == network)
        yield f'<ul class="examples">\n{items}\n</ul>'


def _example(row: Row) -> str:
    label, prediction = str(row["label"]), str(row["prediction"])
    pictures = picture(str(row["before"]), f"An image of class {label}")
    if row["after"] is not None:
        pictures += picture(str(row["after"]), f"The same image, changed, taken for {prediction}")
    text = f"{label}, taken for {prediction}, {row['detail']} (image {row['image']})"
    return f"<li>{pictures}<br>{escape(text)}</li>"


def _classes(record: Record, *, several: bool) -> Iterator[str]:
    found = sorted(rows(record, "classes"), key=lambda row: float(row["accuracy"]))
    if not found:
        return
    lines = [
        [
            f"{row['network']}: {row['class']}" if several else str(row["class"]),
            interval_text(row["accuracy"], row["low"], row["high"]),
            number_text(row["images"]),
        ]
        for row in found[:_CLASSES]
    ]
    caption = f"Accuracy by class, the worst {len(lines)} of {len(found)} rows."
    yield folded("By class", table(["class", "accuracy", "images"], lines, caption))


def _cells(record: Record, *, several: bool) -> Iterator[str]:
    found = list(rows(record, "corruption_cells"))
    severities = sorted({int(row["severity"]) for row in found})
    cells = {(row["network"], row["corruption"], int(row["severity"])): _cell(row) for row in found}
    names = dict.fromkeys((row["network"], row["corruption"]) for row in found)
    lines = [
        [
            (f"{network}: " if several else "") + str(name).replace("_", " "),
            *(cells[network, name, severity] for severity in severities),
        ]
        for network, name in names
    ]
    if lines:
        headings = ["corruption", *(f"severity {severity}" for severity in severities)]
        caption = "Accuracy by corruption in percent, each over its interval."
        yield folded("By corruption", table(headings, lines, caption))


def _cell(row: Row) -> str:
    # A line each, so that five severities fit beside each other on a phone.
    share, low, high = (_hundredths(float(row[end])) for end in ("accuracy", "low", "high"))
    return f"{share}\n{low}\N{EN DASH}{high}"


def _hundredths(share: float) -> str:
    hundred = round(100 * share)
    if 0 < share < 1 and hundred in (0, 100):
        return "<1" if hundred == 0 else ">99"
    return str(hundred)
