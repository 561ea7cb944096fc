"""Cards as records: the numbers and tables of one network or two, with all that a page shows."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from robustkit.errors import InputError
from robustkit.records import Record
from robustkit.report_card.budget import half_width
from robustkit.report_card.card import Axis, Examples, Report, Table, table_of
from robustkit.report_card.comparison import Comparison, check_names
from robustkit.report_card.pictures import data_uri

# What the names of numbers begin with: nothing for the first network.
PREFIXES = ("", "second_")

# The number that the precision of an axis is about, where it is not of all images.
_NUMBERS = {"l2": "l2_median", "sparse": "pixels_50"}

_AXES = ("axis", "title", "method", "reading", "images", "half_width", "planned", "seconds")
_EXAMPLES = ("axis", "image", "label", "prediction", "detail", "before", "after")


def add_to_record(
    record: Record, reports: Sequence[Report], comparison: Comparison | None = None
) -> None:
    """Add one report or two of the same images, and their comparison, to a record.

    Scalars keep their names, those of the second network begin with `second_`. Tables of the cards
    get a column `network`. Besides them there are `networks`, `axes` (method, reading, images, half
    width of a share and seconds of every axis), `numbers` (which scalar belongs to which axis),
    `examples` with pictures, `cautions`, `references`, `comparison` and `comparison_reading`, the
    last five where there are any. Raises `InputError` for other numbers of reports, reports of one
    name, or names that are in the record already.
    """
    if not 1 <= len(reports) <= len(PREFIXES):
        raise InputError(f"a card shows one network or two, got {len(reports)}.")
    check_names(reports)
    for prefix, report in zip(PREFIXES, reports, strict=False):
        for name, one in report.scalars.items():
            record.scalar(prefix + name, one.interval, unit=one.unit, note=one.note)
    record.table("networks", _networks(reports))
    _add(record, "axes", _stacked(reports, [_axes(one) for one in reports]))
    record.table("numbers", _numbers(reports[0]))
    for name in dict.fromkeys(name for report in reports for name in report.tables):
        tables = [report.tables.get(name, {}) for report in reports]
        _add(record, name, _stacked(reports, tables))
    _add(record, "examples", _stacked(reports, [_examples(one) for one in reports]))
    _add(record, "cautions", _stacked(reports, [{"caution": [*one.cautions]} for one in reports]))
    _add(record, "references", reports[0].references)
    if comparison is not None:
        record.table("comparison", comparison.table)
        words = (comparison.first, comparison.second, comparison.level, comparison.reading)
        record.table(
            "comparison_reading", table_of(("first", "second", "level", "reading"), [words])
        )


def _add(record: Record, name: str, columns: Mapping[str, list[Any]]) -> None:
    if any(columns.values()):
        record.table(name, columns)


def _networks(reports: Sequence[Report]) -> dict[str, list[Any]]:
    return table_of(
        ("network", "data", "images", "classes", "read", "budget", "digest"),
        [
            (
                *(one.name, one.data, one.count, len(one.classes), one.read),
                *(one.budget, one.digest),
            )
            for one in reports
        ],
    )


def _numbers(report: Report) -> dict[str, list[Any]]:
    """Return which axis each number belongs to."""
    return table_of(
        ("axis", "scalar"),
        [(axis.name, name) for axis in report.axes.values() for name in axis.scalars],
    )


def _stacked(reports: Sequence[Report], tables: Sequence[Table]) -> dict[str, list[Any]]:
    """Return the tables of all reports below each other, with the network's name before them."""
    columns: dict[str, list[Any]] = {}
    for report, table in zip(reports, tables, strict=True):
        length = len(next(iter(table.values()), []))
        for name, cells in {"network": [report.name] * length, **table}.items():
            columns.setdefault(name, []).extend(cells)
    return columns


def _axes(report: Report) -> dict[str, list[Any]]:
    return table_of(_AXES, [_axis(report, axis) for axis in report.axes.values()])


def _axis(report: Report, axis: Axis) -> tuple[Any, ...]:
    planned = report.planned.get(axis.name)
    seconds = None if math.isnan(axis.seconds) else axis.seconds
    # A median is of the images that are right alone; of no image a share may be anything.
    count = axis.scalars[_NUMBERS[axis.name]].interval.count if axis.name in _NUMBERS else len(axis)
    width = half_width(count, level=report.level) if count else 0.5
    return (
        *(axis.name, axis.title, axis.method, axis.reading),
        *(len(axis), width, planned, seconds),
    )


def _examples(report: Report) -> dict[str, list[Any]]:
    rows = []
    for axis in report.axes.values():
        if axis.examples is not None:
            rows += [
                (axis.name, *_example(report, axis.examples, place))
                for place in range(len(axis.examples))
            ]
    return table_of(_EXAMPLES, rows)


def _example(report: Report, examples: Examples, place: int) -> tuple[Any, ...]:
    before, after = (data_uri(images[place]) for images in (examples.before, examples.after))
    label, prediction = (
        _class_name(report, int(which[place])) for which in (examples.labels, examples.predictions)
    )
    # A mistake on a clean image has no second picture.
    shown = None if after == before else after
    return int(examples.rows[place]), label, prediction, examples.details[place], before, shown


def _class_name(report: Report, index: int) -> str:
    return report.classes[index] if index < len(report.classes) else f"class {index}"
