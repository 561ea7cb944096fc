"""Tolerances: a row for every corruption, a test for every row, and what a row means."""

from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
import torch
from corruption_parity import ROWS, Allowed, require_check

from robustkit.corruptions import C_BAR, CORRUPTIONS, EXTRA

KEYS = [f"{name}/{one}" for name, row in ROWS.items() for one in row["comparisons"]]
FIELDS = {"with", "largest", "unit", "share", "file"}


@cache
def held(file):
    """Return the rows that the tests of a file take as `allowed`."""
    module = import_module(Path(file).stem)
    marks = [
        mark
        for name, item in vars(module).items()
        if name.startswith("test_")
        for mark in getattr(item, "pytestmark", [])
    ]
    return {one.key for mark in marks if mark.args[:1] == ("allowed",) for one in mark.args[1]}


def test_every_corruption_has_a_row_in_the_order_of_the_benchmarks():
    assert list(ROWS) == [*CORRUPTIONS, *EXTRA, *C_BAR]


@pytest.mark.parametrize("key", KEYS)
def test_every_comparison_is_made_by_the_file_that_it_names(key):
    row = Allowed(key).row
    assert {"with", "largest", "unit", "file"} <= row.keys() <= FIELDS
    assert row["unit"] in {"range", "levels", "errors", "probability"}
    assert isinstance(row["with"], str)
    assert row["largest"] >= 0
    assert key in held(row["file"])


@pytest.mark.parametrize("name", ROWS)
def test_every_corruption_is_compared_number_by_number(name):
    row = ROWS[name]
    assert row.keys() <= {"comparisons", "different"}
    shared = [row["comparisons"].get(one) for one in ("formula", "pillow")]
    assert any(one and one["unit"] in {"range", "levels"} for one in shared)


def test_no_file_holds_a_corruption_to_the_row_of_another_file():
    for file in sorted(Path(__file__).parent.glob("test_*.py")):
        assert {Allowed(key).row["file"] for key in held(file.name)} <= {file.name}


def allowed(**row):
    """Return a comparison that is not in the file."""
    made = Allowed("fog/formula")
    made.row = row
    return made


@pytest.mark.parametrize(
    ("row", "near", "far"),
    [
        ({"unit": "range", "largest": 0.1}, [0, 0.1, -0.1, 0], [0, 0, 0, -0.11]),
        ({"unit": "range", "largest": 0}, [0, 0, 0, 0], [0, 0, 0, 1e-300]),
        ({"unit": "range", "largest": 0.1, "share": 0.25}, [9, 0, 0, 0], [9, 0.2, 0, 0]),
        ({"unit": "range", "largest": 0.1, "share": 0.5}, [9, 9, 0, 0], [torch.nan] * 4),
        ({"unit": "levels", "largest": 1}, [1 / 255] * 4, [0, 0, 0, 1.1 / 255]),
        ({"unit": "levels", "largest": 1}, [0] * 4, [0, 0, 0, torch.nan]),
        ({"unit": "levels", "largest": 1, "share": 0.25}, [0, 0, -1 / 255, 0], [1 / 255] * 4),
        ({"unit": "levels", "largest": 0}, [1e-7] * 4, [0, 0, 0, 0.5 / 255]),
        ({"unit": "probability", "largest": 0.2}, [0.1, 0.1, -0.2, 0], [0.2, 0, -0.3, 0]),
    ],
)
def test_a_row_passes_what_is_near_and_fails_what_is_far(row, near, far):
    base = torch.full((4,), 0.5, dtype=torch.float64)
    # The sum of one half and a tiny number is one half.
    base = base * 0 if row["largest"] == 0 else base
    near, far = (base + torch.tensor(gap, dtype=torch.float64) for gap in (near, far))
    allowed(**row).check(near, base)
    with pytest.raises(AssertionError):
        allowed(**row).check(far, base)
    with pytest.raises(AssertionError):
        allowed(**row).check(base[:3], base)


def test_integers_are_levels():
    levels = torch.tensor([7, 8, 0], dtype=torch.uint8)
    allowed(unit="levels", largest=1).check(levels, levels + 1)
    with pytest.raises(AssertionError, match="up to 2"):
        allowed(unit="levels", largest=1).check(levels, levels + 2)


def test_standard_errors_leave_room_besides_for_shares():
    found, error = torch.tensor([3.9, 0, 0, 0.021, 0]).double(), torch.tensor([1, 1, 1, 0.005, 1])
    row = {"unit": "errors", "largest": 4, "share": 0.002}
    allowed(**row).check(found, 0 * found, error)
    for tighter in ({"share": 0.0005}, {"largest": 3.85}):
        with pytest.raises(AssertionError):
            allowed(**row | tighter).check(found, 0 * found, error)
    with pytest.raises(AssertionError):
        allowed(**row).check(found + 0.2, 0 * found, error)


def test_moments_are_means_of_runs_with_their_standard_errors():
    generator = torch.Generator().manual_seed(0)
    runs = torch.randn(400, 5, generator=generator, dtype=torch.float64)
    known = torch.randn(100, 5, generator=generator, dtype=torch.float64)
    # The standard error of the difference is sqrt(1 / 400 + 1 / 100) = 0.11.
    allowed(unit="errors", largest=4).check_moments(runs, known)
    with pytest.raises(AssertionError):
        allowed(unit="errors", largest=4).check_moments(runs + 1, known)


@pytest.mark.parametrize("checks", [True, False])
def test_a_test_that_holds_nothing_to_its_tolerance_fails(checks):
    class Item:
        funcargs = {"allowed": allowed(unit="range", largest=1)}  # noqa: RUF012

    call = require_check(Item())
    next(call)
    if checks:
        Item.funcargs["allowed"].check(torch.zeros(1), torch.zeros(1))
    with pytest.raises(StopIteration if checks else AssertionError):
        call.send(None)
