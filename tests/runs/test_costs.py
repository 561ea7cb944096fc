"""Costs follow from the rates of records, and say which record is missing."""

import pytest
import yaml

from robustkit import costs, project, records
from robustkit.errors import DataError
from robustkit.records import Record

ENTRY = {"work": "an attack", "images": 36_000, "chapter": "01_tiny"}
BY_SCALAR = ENTRY | {"scalar": "attack_seconds"}
BY_ROW = ENTRY | {
    "table": "times",
    "column": "ms",
    "where": {"network": "large", "method": "slow"},
    "seconds": 0.001,
}


def write(checkout, entries):
    (checkout.folder / "book" / "costs.yml").write_text(yaml.safe_dump(entries))


def commit(profile, provenance, seconds=0.5):
    record = Record("01_tiny", {"profile": profile})
    record.scalar("attack_seconds", seconds)
    record.table(
        "times",
        {
            "network": ["small", "large", "large"],
            "method": ["slow", "fast", "slow"],
            "ms": [1, 2, 4],
        },
    )
    records.write(
        project.results_path("01_tiny", profile), record.as_dict() | {"provenance": provenance}
    )


def test_hours_are_images_times_the_rate(checkout):
    write(checkout, [BY_SCALAR, BY_ROW])
    commit("laptop", {"cores": 4, "threads": 2})
    assert costs.table() == [
        # 36 000 x 0.5 s are 5 hours of two cores; shards of at most four hours are two.
        ["an attack", "36,000", "0.5", "10", "needs a GPU record", "", "2 on the CPU machine"],
        ["an attack", "36,000", "0.004", "0.08", "needs a GPU record", "", "1 on the CPU machine"],
    ]
    commit("paper", {"cores": 16, "threads": 8, "gpu": "a GPU"}, 0.01)
    assert costs.table()[0] == [
        *("an attack", "36,000", "0.5", "10", "0.01", "0.1", "1 on the GPU machine")
    ]


def test_what_no_record_has_is_said(checkout):
    row = ["an attack", "36,000", "needs a CPU record", "", "needs a GPU record", "", ""]
    write(checkout, [BY_SCALAR])
    assert costs.table() == [row]
    commit("laptop", {"cores": 2})
    for changes in ({"where": {"network": "none"}}, {"where": {"no": 1}}, {"column": "s"}):
        write(checkout, [BY_ROW | changes])
        assert costs.table() == [row]
    write(checkout, [BY_SCALAR | {"scalar": "no_seconds"}])
    assert costs.table() == [row]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([BY_SCALAR | {"image": 3}], r"costs.yml, entry 1: .*'image'"),
        ([BY_SCALAR, {"work": "x"}], r"entry 2: .*missing"),
        ([BY_SCALAR | {"images": 0}], "positive numbers"),
        ([BY_SCALAR | {"seconds": -1}], "positive numbers"),
        ([ENTRY], "either a scalar or a table"),
        ([BY_SCALAR | BY_ROW], "either a scalar or a table"),
        ({"a": 1}, "must be a list"),
        (["a"], "entry 1"),
    ],
)
def test_a_file_that_is_not_as_it_must_be_is_refused(checkout, content, message):
    write(checkout, content)
    with pytest.raises(DataError, match=message):
        costs.table()


def test_a_file_that_is_not_there_is_named(checkout):
    with pytest.raises(DataError, match=r"costs.yml cannot be read"):
        costs.load()


def test_the_table_of_the_book_reads_its_records():
    rows = costs.table()
    assert len(rows) == len(costs.load())
    rated = [row for row in rows if not row[2].startswith("needs")]
    # The laptop record times SparseFool on photographs in three ways.
    assert len(rated) >= 3
    assert all(float(row[3].replace(",", "")) > 0 and "machine" in row[6] for row in rated)
