"""The picture of the landing page shows the committed record."""

import runpy
from pathlib import Path

import pytest

from robustkit import records

BOOK = Path(__file__).resolve().parents[2] / "book"


def test_the_picture_draws_the_curves_of_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    module = runpy.run_path(str(BOOK / "overview.py"))
    record = records.committed("01_preliminaries", "laptop")
    assert record is not None
    drawn = module["draw"](record)
    points = records.frame(record, "curves")
    for line, (role, name) in zip(drawn.axes[0].lines, module["NAMES"].items(), strict=True):
        expected = points[(points["role"] == role) & (points["norm"] == "2")]
        assert line.get_label() == name
        assert line.get_ydata().tolist() == expected["share"].tolist()


@pytest.mark.parametrize("name", ["overview.svg", "overview-dark.svg"])
def test_the_picture_is_of_the_committed_record(name: str) -> None:
    record = records.committed("01_preliminaries", "laptop")
    assert record is not None
    assert record["key"] in (BOOK / "_static" / name).read_text(encoding="utf-8")
