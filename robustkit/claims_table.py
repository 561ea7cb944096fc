"""Tables of claims: plain aligned text, and HTML in which every text of the user is escaped."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class Line:
    """One claim of a table: who says what, the cells under the headings, verdict and why."""

    id: str
    statement: str
    source: str
    cells: tuple[str, ...]
    status: str
    detail: str


@dataclass(frozen=True, repr=False)
class ClaimsTable:
    """Claims against measurements; shows itself as HTML in a notebook and as text elsewhere."""

    caption: str
    headings: tuple[str, ...]
    lines: tuple[Line, ...]
    note: str = ""

    def __repr__(self) -> str:
        rows = [[line.id, *line.cells, _verdict(line)] for line in self.lines]
        table = text_table(["claim", *self.headings, "verdict"], rows)
        return "\n".join(part for part in (self.caption, table, self.note) if part)

    def _repr_html_(self) -> str:
        headings = ("claim", *self.headings, "verdict")
        head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in headings)
        body = "\n".join(_html_row(line) for line in self.lines)
        note = f"\n<p>{escape(self.note)}</p>" if self.note else ""
        return (
            f'<table class="table robustkit-claims">\n<caption>{escape(self.caption)}</caption>\n'
            f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>{note}"
        )


def text_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows of texts under their headings, columns aligned, without trailing blanks."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    lines = [headings, ["-" * width for width in widths], *rows]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def number_text(value: float | int | bool | None, unit: str = "") -> str:
    """Return a number to four significant digits with its unit, a flag as yes or no."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if math.isnan(value):
        return "undefined"
    if math.isinf(value):
        return "infinite" if value > 0 else "-infinite"
    text = f"{value:.0f}" if value == int(value) and abs(value) < 1e9 else f"{value:.4g}"
    return f"{text}{'' if unit in ('', '%') else ' '}{unit}"


def interval_text(
    value: float | int | bool | None, low: float | None, high: float | None, unit: str = ""
) -> str:
    """Return a number with its interval in brackets, where it has one."""
    if value is None or (low is None and high is None):
        return number_text(value, unit)
    return f"{number_text(value, unit)} [{number_text(low)}, {number_text(high)}]"


def _verdict(line: Line) -> str:
    return f"{line.status}: {line.detail}" if line.detail else line.status


def _html_row(line: Line) -> str:
    claim = f"{escape(line.statement)}<br><small>{escape(line.source)}</small>"
    cells = "".join(f"<td>{escape(cell)}</td>" for cell in line.cells)
    detail = f"<br><small>{escape(line.detail)}</small>" if line.detail else ""
    kind = line.status.split(" (")[0].replace(" ", "-")
    return (
        f'<tr id="claim-{escape(line.id)}"><th scope="row">{claim}</th>{cells}'
        f'<td class="robustkit-verdict robustkit-{escape(kind)}">'
        f"<strong>{escape(line.status)}</strong>{detail}</td></tr>"
    )
