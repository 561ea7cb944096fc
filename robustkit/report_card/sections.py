"""The sections of a card's page, from the tables of its record."""

import math
from collections.abc import Iterator
from html import escape
from typing import Any

from robustkit.claims_table import interval_text, number_text
from robustkit.report_card.markup import Record, definitions, heading, paragraph, rows, table
from robustkit.report_card.references import SHAPES
from robustkit.report_card.words import percent, worded


def head(record: Record, title: str) -> Iterator[str]:
    """Yield the title, what was measured on what, and the cautions."""
    networks = list(rows(record, "networks"))
    yield heading(1, title)
    data = str(networks[0]["data"] or "images that were given")
    read = f" {networks[0]['read']}" if networks[0].get("read") else ""
    yield paragraph(
        f"On {data}: {number_text(networks[0]['images'])} images of "
        f"{number_text(networks[0]['classes'])} classes.{read} Every number stands with its "
        f"interval, which covers the truth in {percent(_level(record))} of such samples; "
        "distances are upper bounds, as attacks find them.",
    )
    for caution in rows(record, "cautions"):
        said = str(caution["caution"])
        name = f"{caution['network']}: " if len(networks) > 1 else ""
        yield paragraph(name + said, "caution")


def summary(record: Record) -> Iterator[str]:
    """Yield one line an axis and network: what the numbers say."""
    axes = list(rows(record, "axes"))
    several = len({row["network"] for row in axes}) > 1
    yield heading(2, "In short")
    for row in axes:
        name = f"{row['network']}, {row['title']}" if several else str(row["title"])
        yield f"<p><strong>{escape(name)}.</strong> {escape(str(row['reading']))}</p>"
    if not any(rows(record, "references")):
        known = " and ".join(
            f"{data} ({' x '.join(map(str, shape[1:]))})" for data, shape in SHAPES.items()
        )
        yield paragraph(
            "No known networks stand beside these numbers: the book has them for the images of "
            f"{known} as they are, measured in the usual way, and in a checkout of it.",
            "method",
        )


def comparison(record: Record) -> Iterator[str]:
    """Yield the paired comparison of two networks, if there is one."""
    for words in rows(record, "comparison_reading"):
        first, second = str(words["first"]), str(words["second"])
        yield heading(2, "Side by side")
        yield paragraph(str(words["reading"]), "reading")
        lines = [
            [
                worded(str(row["scalar"])),
                number_text(row["first"]),
                number_text(row["second"]),
                interval_text(row["difference"], row["low"], row["high"]),
                number_text(row["p"]),
                f"{number_text(row['first larger'])} : {number_text(row['second larger'])}",
            ]
            for row in rows(record, "comparison")
        ]
        yield table(
            ["number", first, second, "difference", "p", "images, larger : smaller"],
            lines,
            "The same images, pair by pair: first minus second with its interval, and the p-value "
            "of an exact test (McNemar's, or the sign test), corrected for the number of tests. "
            "Minimal perturbations are of images that both have right.",
        )
        untested = _untested(record)
        if untested:
            yield paragraph(f"Numbers without a paired test: {', '.join(untested)}.", "method")


def samples(record: Record) -> Iterator[str]:
    """Yield how many images each axis was measured on, what that buys, and what it took."""
    yield heading(2, "Samples and precision")
    budget = next(rows(record, "networks"))["budget"]
    if budget is not None:
        yield paragraph(
            f"The samples were chosen for a budget of {number_text(budget)} minutes, by the speed "
            "of a few passes; those of axes that cost more are smaller."
        )
    lines = [
        [
            f"{row['network']}, {row['title']}",
            number_text(row["images"]),
            f"±{percent(float(row['half_width']))}",
            _seconds(row["planned"]),
            _seconds(row["seconds"]),
        ]
        for row in rows(record, "axes")
    ]
    yield table(
        ["measured", "images", "precision", "planned", "taken"],
        lines,
        "Precision is half the width of the interval of a share near one half, the widest there "
        "is; medians are as precise in the share of images to either side, and those of minimal "
        "perturbations are of the images that are right alone.",
    )


def provenance(record: Record) -> Iterator[str]:
    """Yield with what the card was made."""
    made, given = record["provenance"], record["parameters"]
    entries = {"Parameters": ", ".join(f"{name}={value}" for name, value in given.items())}
    packages = {"robustkit": made.get("robustkit"), "python": made.get("python")}
    packages |= made.get("packages", {})
    entries["Versions"] = ", ".join(f"{name} {text}" for name, text in packages.items() if text)
    hardware = [made.get("cpu"), made.get("gpu"), made.get("platform")]
    entries["Hardware"] = ", ".join(str(part) for part in hardware if part)
    if made.get("commit"):
        entries["Commit"] = str(made["commit"])[:12]
    if made.get("wall_seconds") is not None:
        entries["Time"] = _seconds(made["wall_seconds"])
    yield heading(2, "How this card was made")
    yield definitions({name: text for name, text in entries.items() if text})


def _untested(record: Record) -> list[str]:
    tested = {row["scalar"] for row in rows(record, "comparison")}
    names = [str(row["scalar"]) for row in rows(record, "numbers")]
    return [worded(name) for name in names if name not in tested]


def _level(record: Record) -> float:
    levels = [one["level"] for one in record["scalars"].values() if one.get("level")]
    return float(levels[0]) if levels else math.nan


def _seconds(seconds: Any) -> str:
    return "-" if seconds is None else f"{float(seconds):.1f} s"
