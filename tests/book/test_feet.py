"""The foot of a figure: which records its cell draws from, and where its links lead."""

from typing import Any

import pytest
from docutils import nodes
from robustkit_book import feet


def notebook(*sources: str) -> dict[str, Any]:
    return {"cells": [{"cell_type": "code", "source": [source]} for source in sources]}


LOADED = 'larger = records.committed("01_tiny", "laptop")'


@pytest.mark.parametrize(
    ("source", "uses"),
    [
        ("draw(larger)", True),
        ("draw(other)", False),
        ("both = [record, larger]\ndraw(both[0])", True),
        ("for source in [record, larger]:\n    draw(source)", True),
        ("if larger:\n    draw(record)", True),
        ("def show(other):\n    draw(larger)", False),
        ("def show(larger):\n    draw(larger)\nshow(record)", False),
        ("larger = 1\ndraw(larger)", False),
        ("draw([larger for larger in range(3)])", False),
        ("%matplotlib inline", False),
    ],
)
def test_a_cell_uses_a_committed_record_by_name(source: str, uses: bool) -> None:
    assert (1 in feet.drawn_from_committed(notebook(LOADED, source))) is uses


def test_names_and_functions_carry_the_record_to_later_cells() -> None:
    made = notebook(
        LOADED,
        "def show(axes):\n    axes.plot(larger)",
        "show(axes)",
        "table = frame(larger)",
        "draw(table)",
        "table = frame(record)\ndraw(table)",
        "with opened(record) as axes:\n    show(axes)",
    )
    assert feet.drawn_from_committed(made) == {0, 2, 3, 4, 6}


def test_a_foot_leads_to_cell_records_and_parameters() -> None:
    line = feet.foot("01_tiny", "cell 7", "cell-a", ["smoke", "laptop"], "cell-p")
    links = {link.astext(): link["refuri"] for link in line.findall(nodes.reference)}
    assert links == {
        "cell 7": "#cell-a",
        "smoke record": "../_static/records/smoke/01_tiny.json",
        "laptop record": "../_static/records/laptop/01_tiny.json",
        "parameters": "#cell-p",
    }
    assert line.astext() == "Drawn by cell 7 · smoke record · laptop record · parameters"
