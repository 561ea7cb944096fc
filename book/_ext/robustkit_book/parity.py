"""The directive `{parity}`: what each corruption is compared with, and how far it may be from it.

The table is made of document nodes, so whatever the file says is shown as text.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from robustkit import project

from .live import mark_live
from .scoreboard import table

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class Parity(SphinxDirective):
    """One table with a row for each corruption of `book/parity.yml`."""

    def run(self) -> list[nodes.Node]:
        mark_live(self.env)
        try:
            return [rows_table(read(project.root() / "book" / "parity.yml"))]
        except (OSError, LookupError, TypeError, AttributeError, yaml.YAMLError) as error:
            raise self.error(f"parity: book/parity.yml: {error!r}") from error


def read(path: Path) -> Mapping[str, Any]:
    """Return the rows of the file by corruption."""
    rows: Mapping[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return rows


def rows_table(rows: Mapping[str, Any]) -> nodes.table:
    """Return the table: corruption and test file, comparisons and limits, what differs."""
    headings = ["corruption", "compared with: largest difference allowed", "different on purpose"]
    lines = [(f"parity-{name.replace('_', '-')}", _cells(name, row)) for name, row in rows.items()]
    caption = [nodes.Text("Tolerances of the tests under "), nodes.literal("", "tests/corruptions")]
    return table(
        "parity",
        [*caption, nodes.Text(".")],
        [[nodes.Text(text)] for text in headings],
        lines,
    )


def _cells(name: str, row: Mapping[str, Any]) -> list[list[nodes.Node]]:
    compared = row["comparisons"].values()
    first: list[nodes.Node] = [nodes.literal("", name)]
    for file in dict.fromkeys(one["file"] for one in compared):
        first += [nodes.Text(" "), nodes.inline("", file, classes=["place"])]
    second = []
    for one in compared:
        line = nodes.inline("", "", classes=["comparison"])
        line += [nodes.Text(f"{one['with']}: "), nodes.inline("", limit(one), classes=["limit"])]
        second += [line, nodes.Text(" ")]
    return [first, second, [nodes.Text(row.get("different", "nothing"))]]


def limit(comparison: Mapping[str, Any]) -> str:
    """Return the largest difference that a comparison allows, as a phrase."""
    largest, share = comparison["largest"], comparison.get("share")
    match comparison["unit"]:
        case "range":
            text = f"{number(largest)} of the range" if largest else "equal"
            return f"{text}, for all but {percent(share)} of the values" if share else text
        case "levels":
            if not largest:
                return "equal in every level"
            text = f"{number(largest)} level{'s' if largest > 1 else ''}"
            return f"{text}, in at most {percent(share)} of the values" if share else text
        case "probability":
            return f"{number(largest)} in total variation"
        case "errors":
            text = f"{number(largest)} standard errors"
            return f"{text} (shares of black and white: {percent(share)} more)" if share else text
        case unit:
            raise LookupError(f"unknown unit {unit!r}")


def number(value: float) -> str:
    """Return a number as text, a small one with a power of ten."""
    if value == 0 or abs(value) >= 0.001:
        return f"{value:g}"
    digits, power = f"{value:e}".split("e")
    raised = "10" + str(int(power)).translate(_RAISED)
    return raised if float(digits) == 1 else f"{float(digits):g} · {raised}"


def percent(share: float) -> str:
    """Return a share of 1 in per cent."""
    return f"{number(100 * share)}\N{NO-BREAK SPACE}%"
