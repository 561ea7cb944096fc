import json
import math
from collections import namedtuple

import numpy as np
import pandas
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robustkit import inputs, provenance, records, stats, strict_json
from robustkit.errors import DataError, InputError, UnknownNameError

Interval = namedtuple("Interval", "estimate low high")
numbers = st.floats() | st.integers() | st.booleans()
columns = (
    st.lists(st.floats() | st.integers(), min_size=3, max_size=3)
    | st.lists(st.booleans(), min_size=3, max_size=3)
    | st.lists(st.text().filter(lambda text: "inf" not in text), min_size=3, max_size=3)
)


def refuse_constant(token):
    raise AssertionError(f"{token} is not JSON")


@settings(deadline=None, max_examples=60)
@given(
    scalars=st.dictionaries(st.text(), numbers, max_size=4),
    table=st.dictionaries(st.text(), columns, max_size=4),
)
def test_a_record_comes_back_from_strict_json(scalars, table):
    record = records.Record("01_tiny", {"profile": "smoke"})
    for name, value in scalars.items():
        record.scalar(name, value)
    record.table("curve", table)
    text = strict_json.dumps(record.as_dict())
    parsed = json.loads(text, parse_constant=refuse_constant)
    back = records.decode(parsed, "here")
    # NaN differs from itself; its text does not.
    assert repr(back) == repr(record.as_dict())


def test_a_file_comes_back(tmp_path):
    record = records.Record("01_tiny", {"profile": "smoke", "norm": math.inf, "sizes": (1, 2)})
    record.scalar("share", 0.5, 0.25, math.inf, unit="%", count=7, note="of all")
    path = tmp_path / "new" / "record.json"
    records.write(path, record.as_dict())
    back = records.read(path)
    assert back["parameters"] == {"profile": "smoke", "norm": "inf", "sizes": [1, 2]}
    assert back["scalars"]["share"] == {
        "value": 0.5,
        "low": 0.25,
        "high": math.inf,
        "level": None,
        "unit": "%",
        "count": 7,
        "note": "of all",
    }


@pytest.mark.parametrize(
    "value",
    [2.5, np.float32(2.5), np.array(2.5), torch.tensor(2.5), torch.tensor([2.5])],
)
def test_scalars_of_the_array_libraries_become_plain(value):
    record = records.Record("01_tiny", {})
    record.scalar("x", value)
    assert type(record.value("x")) is float
    assert record.value("x") == 2.5


def test_integers_and_flags_stay_what_they_are():
    record = records.Record("01_tiny", {})
    record.scalar("count", torch.tensor(3))
    record.scalar("exact", np.bool_(True))
    assert type(record.value("count")) is int
    assert record.value("exact") is True


def test_an_interval_object_brings_its_bounds():
    record = records.Record("01_tiny", {})
    record.scalar("share", Interval(0.5, np.float64(0.4), float("nan")))
    assert record.scalars["share"]["low"] == 0.4
    assert record.scalars["share"]["high"] is None


def test_an_interval_object_brings_its_level_and_count():
    record = records.Record("01_tiny", {})
    record.scalar("share", stats.wilson(3, 10, level=0.9))
    record.scalar("of_images", stats.wilson(3, 10), count=5)
    record.scalar("bare", Interval(0.5, 0.4, 0.6))
    record.scalar("unknown", stats.Interval(0.5, 0.4, 0.6))
    assert [(made["level"], made["count"]) for made in record.scalars.values()] == [
        *((0.9, 10), (0.95, 5), (None, None), (0.95, None))
    ]
    stored = strict_json.encode(record.as_dict())
    assert records.decode(stored, "here") == record.as_dict()
    # A file from before levels were kept is read all the same.
    del stored["scalars"]["share"]["level"]
    assert records.decode(stored, "here")["scalars"]["share"]["value"] == 0.3


@pytest.mark.parametrize("value", ["2.5", None, torch.zeros(2), np.zeros(3), [1.0], 1j])
def test_what_is_not_a_number_is_refused(value):
    with pytest.raises(InputError, match="'x' must be"):
        records.Record("01_tiny", {}).scalar("x", value)


def test_names_are_unique_and_intervals_upright():
    record = records.Record("01_tiny", {})
    record.scalar("x", 1)
    record.table("t", {"a": [1]})
    with pytest.raises(InputError, match="has a scalar 'x' already"):
        record.scalar("x", 2)
    with pytest.raises(InputError, match="has a table 't' already"):
        record.table("t", {})
    with pytest.raises(InputError, match="upside down"):
        record.scalar("y", 1, 3, 2)


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        ([1, "one"], "mixes numbers and text"),
        ([True, 1], "mixes flags and numbers"),
        ([[1, 2]], "must be a number"),
        (["inf"], "stand for infinite"),
        ("abc", "must be a list"),
    ],
)
def test_ambiguous_columns_are_refused(column, reason):
    with pytest.raises(InputError, match=reason):
        records.Record("01_tiny", {}).table("t", {"a": column})


def test_columns_of_unequal_length_are_refused():
    with pytest.raises(InputError, match="differ in length"):
        records.Record("01_tiny", {}).table("t", {"a": [1], "b": torch.zeros(2)})


@pytest.mark.parametrize("value", [float("nan"), {"a": 1}, object()])
def test_odd_parameters_are_refused(value):
    with pytest.raises(InputError, match="parameter 'p'"):
        records.Record("01_tiny", {"p": value})


def test_absent_cells_come_back():
    record = records.Record("01_tiny", {})
    record.table("t", {"name": ["a", None], "flag": [None, True], "number": [None, 1]})
    back = records.decode(strict_json.encode(record.as_dict()), "here")
    assert back["tables"]["t"]["name"] == ["a", None]
    assert back["tables"]["t"]["flag"] == [None, True]
    assert repr(back["tables"]["t"]["number"]) == "[nan, 1]"


def test_a_table_becomes_a_frame():
    record = records.Record("01_tiny", {})
    record.table("t", {"b": torch.arange(2), "a": np.array([0.5, np.inf])})
    expected = pandas.DataFrame({"b": [0, 1], "a": [0.5, math.inf]})
    pandas.testing.assert_frame_equal(records.frame(record.as_dict(), "t"), expected)
    with pytest.raises(UnknownNameError, match="unknown table 's'"):
        records.frame(record.as_dict(), "s")


def test_an_unknown_scalar_gets_the_near_match():
    record = records.Record("01_tiny", {})
    record.scalar("accuracy", 1)
    with pytest.raises(UnknownNameError, match="Did you mean 'accuracy'"):
        record.value("acuracy")


def damaged():
    record = records.Record("01_tiny", {})
    record.scalar("x", 1.0)
    record.table("t", {"a": [1.0]})
    whole = strict_json.encode(record.as_dict())
    yield "truncated", json.dumps(whole)[:-20]
    yield "a list", "[]"
    yield "another schema", json.dumps({**whole, "schema": 99})
    yield "no tables", json.dumps({key: whole[key] for key in whole if key != "tables"})
    yield "chapter", json.dumps({**whole, "chapter": 1})
    yield "scalar", json.dumps({**whole, "scalars": {"x": {"value": "one"}}})
    yield "bound", json.dumps({**whole, "scalars": {"x": {"value": 1, "low": [], "high": 1}}})
    yield "column", json.dumps({**whole, "tables": {"t": {"a": 1}}})
    yield "cell", json.dumps({**whole, "tables": {"t": {"a": [[1]]}}})


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in damaged()])
def test_a_damaged_file_is_named(tmp_path, text):
    path = tmp_path / "damaged.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"damaged\.json.*Run the chapter again"):
        records.read(path)


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"absent\.json"):
        records.read(tmp_path / "absent.json")


def test_finish_writes_only_into_a_run(tmp_path, monkeypatch, capsys):
    record = records.Record("01_tiny", {})
    record.scalar("x", 1)
    monkeypatch.delenv(records.RUN_FOLDER, raising=False)
    monkeypatch.chdir(tmp_path)
    record.finish()
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out == "record 01_tiny: 1 scalars, 0 tables\n"


def test_inputs_are_those_of_the_start_unless_there_are_more(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(inputs, "_noted", {})
    monkeypatch.setenv(records.RUN_FOLDER, str(tmp_path))
    kept, grown, later = (tmp_path / name for name in ("kept", "grown", "later"))
    for file in (kept, grown, later):
        file.write_text("first")
    inputs.note("kept", [kept])
    inputs.note("grown", [grown])
    at_first = inputs.digest([kept])
    record = records.Record("01_tiny", {})
    kept.write_text("edited during the run")
    inputs.note("grown", [grown, later])
    record.finish()
    written = records.read(tmp_path / "record.json")["provenance"]["inputs"]
    assert written["kept"] == at_first != inputs.digest([kept])
    assert written["grown"] == inputs.digest([grown, later])
    listed = strict_json.read(tmp_path / "inputs.json")
    assert {name: entry["digest"] for name, entry in listed.items()} == written
    assert listed["grown"]["files"] == [str(grown), str(later)]


def test_the_commit_is_that_of_the_start(tmp_path, monkeypatch):
    monkeypatch.setenv(records.RUN_FOLDER, str(tmp_path))
    monkeypatch.setattr(provenance, "commit", lambda: {"commit": "first", "changed": False})
    record = records.Record("01_tiny", {})
    monkeypatch.setattr(provenance, "commit", lambda: {"commit": "later", "changed": True})
    record.finish()
    written = records.read(tmp_path / "record.json")["provenance"]
    assert (written["commit"], written["changed"]) == ("first", False)


def test_committed_records_are_found_by_profile(checkout):
    record = records.Record("01_tiny", {"profile": "laptop"})
    record.scalar("x", 1)
    results = checkout.folder / "book" / "results" / "laptop" / "01_tiny.json"
    assert records.committed("01_tiny", "laptop") is None
    assert records.committed("01_tiny", "smoke") is None
    records.write(results, record.as_dict())
    assert records.committed("01_tiny", "laptop") == record.as_dict()
    checkout.notebook.write_text('{"metadata": {}}')
    assert records.committed("01_tiny", "smoke") is None
    shown = strict_json.dumps({"metadata": {"robustkit": {"record": record.as_dict()}}})
    checkout.notebook.write_text(shown)
    assert records.committed("01_tiny", "smoke") == record.as_dict()
    checkout.notebook.write_text("[]")
    with pytest.raises(DataError, match="is not a notebook"):
        records.committed("01_tiny", "smoke")
    with pytest.raises(UnknownNameError, match="Did you mean 'laptop'"):
        records.committed("01_tiny", "labtop")


def test_tables_of_two_records_stand_side_by_side():
    def made(profile, cells):
        record = records.Record("01_tiny", {"profile": profile})
        record.table("curve", {"radius": cells})
        return record.as_dict()

    laptop, smoke = made("laptop", [1.0, math.inf]), made("smoke", [3.0])
    both = records.side_by_side(laptop, smoke, "curve")
    assert both["radius"].tolist() == [1.0, math.inf, 3.0]
    assert both.index.get_level_values(0).tolist() == ["laptop", "laptop", "smoke"]
    assert records.side_by_side(None, smoke, "curve")["radius"].tolist() == [3.0]
    assert records.side_by_side(made("laptop", []), smoke, "curve")["radius"].tolist() == [3.0]
    assert records.side_by_side(laptop, smoke, "absent").empty
