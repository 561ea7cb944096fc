"""The page on reliability says what its record says, and no number by hand."""

import re
import runpy
import sys
from pathlib import Path

import pytest

from robustkit import records

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "book" / "reliability.md"

sys.path.insert(0, str(ROOT / "book" / "_ext"))
values = pytest.importorskip("robustkit_book.values")
record_table = pytest.importorskip("robustkit_book.record_table")


@pytest.fixture
def asked() -> list[str]:
    """What the page asks of its record."""
    return re.findall(r"\{value\}`([^`]+)`", PAGE.read_text(encoding="utf-8"))


def test_every_number_of_the_page_is_in_the_record(asked: list[str]) -> None:
    assert len(asked) >= 10
    for text in asked:
        assert re.search(r"\d", values.resolve(text, "")), text


def test_the_page_has_no_number_of_its_own() -> None:
    prose = runpy.run_path(str(ROOT / "tests" / "notebooks" / "prose.py"))
    assert prose["numbers"](PAGE.read_text(encoding="utf-8")) == []
    assert prose["numbers"]("It was killed 7 times.") == ["7"]


def test_the_record_holds_the_guarantees() -> None:
    record = records.committed("faults", "laptop")
    assert record is not None
    value = {name: scalar["value"] for name, scalar in record["scalars"].items()}
    assert value["killed"] == value["kills_at_operations"] + value["kills_at_moments"]
    assert min(value["kills_at_operations"], value["kills_at_moments"], value["full"]) > 0
    assert value["killed_resumed"] == value["killed"]
    assert value["full_resumed"] == value["full_clear"] == value["full"]
    assert value["killed_damaged"] == value["full_damaged"] == value["calls_wrong"] == 0
    table = record["tables"]["faults"]
    assert len(table["task"]) >= value["killed"] + value["full"]
    assert len(set(table["task"])) == len(record["tables"]["tasks"]["task"]) == value["tasks"]
    assert sum(record["tables"]["modules"]["refused"]) == value["calls_refused"]


def test_every_table_of_the_page_is_in_the_record() -> None:
    names = re.findall(r"\{record-table\} (\S+)", PAGE.read_text(encoding="utf-8"))
    assert len(names) == 3
    for name in names:
        assert len(set(map(len, record_table.found(name).values()))) == 1
