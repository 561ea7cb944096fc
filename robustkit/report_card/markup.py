"""Pieces of HTML, each made of plain texts that are escaped here and nowhere else."""

import base64
import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from robustkit.plots import DARK, recolour

Record = Mapping[str, Any]

_PICTURES = ("data:image/png;base64,", "data:image/jpeg;base64,")


def rows(record: Record, name: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table of a record; none where there is no such table.

    An absent number is None, also where the record was read from its file, which makes it NaN.
    """
    columns = record["tables"].get(name, {})
    for cells in zip(*columns.values(), strict=True):
        yield dict(zip(columns, map(_present, cells), strict=True))


def paragraph(text: str, kind: str = "") -> str:
    """Return a paragraph, of a class of the style sheet if there is a `kind`."""
    return f"<p{_class(kind)}>{escape(text)}</p>"


def heading(level: int, text: str) -> str:
    """Return a heading of level 1 to 3."""
    return f"<h{level}>{escape(text)}</h{level}>"


def table(headings: Sequence[str], lines: Sequence[Sequence[str]], caption: str) -> str:
    """Return a table that may be wider than the page; the first cell of a line is its heading."""
    head = "".join(f'<th scope="col">{escape(one)}</th>' for one in headings)
    body = "".join(
        f'<tr><th scope="row">{escape(line[0])}</th>'
        + "".join(f'<td class="number">{escape(cell)}</td>' for cell in line[1:])
        + "</tr>\n"
        for line in lines
    )
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n"
        f"<tbody>{body}</tbody></table></div>"
    )


def drawing(svg: str, alternative: str) -> str:
    """Return an SVG drawing as a figure, with its dark twin for dark pages."""
    light, dark = (_address(one) for one in (svg, recolour(svg, DARK)))
    return (
        f'<figure><picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img class="drawing" src="{light}" alt="{escape(alternative)}"></picture></figure>'
    )


def picture(address: str, alternative: str) -> str:
    """Return a small picture, or nothing for an address that holds none."""
    if not address.startswith(_PICTURES):
        return ""
    return f'<img src="{escape(address)}" alt="{escape(alternative)}">'


def folded(title: str, html: str) -> str:
    """Return a part that opens when its title is chosen; `html` is HTML already."""
    return f"<details><summary>{escape(title)}</summary>{html}</details>"


def definitions(entries: Mapping[str, str]) -> str:
    """Return terms with what they are."""
    inner = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in entries.items()
    )
    return f"<dl>{inner}</dl>"


def _present(cell: Any) -> Any:
    return None if isinstance(cell, float) and math.isnan(cell) else cell


def _class(kind: str) -> str:
    return f' class="{escape(kind)}"' if kind else ""


def _address(svg: str) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
