"""References: what a card shows is what the committed records say, in the units of a card."""

import json

import pytest
from card_toys import settings

from robustkit import inputs, project
from robustkit.report_card import AXES
from robustkit.report_card.references import NETWORKS, SHAPES, references
from robustkit.report_card.request import crop_of


@pytest.fixture(scope="module")
def stored():
    found = {}
    for chapter in {network.chapter for network in NETWORKS}:
        path = project.results_path(chapter, "laptop")
        if path.is_file():
            found[chapter] = json.loads(path.read_text())["scalars"]
    return found


def lines(data, shape=None, window=None, **changes):
    shape = SHAPES.get(data, (3, 32, 32)) if shape is None else shape
    window = shape[1:] if window is None else window
    given = settings(**{"crop": crop_of(window, None), **changes})
    table = references(data, AXES, given, shape, window)
    return [dict(zip(table, cells, strict=True)) for cells in zip(*table.values(), strict=True)]


@pytest.mark.parametrize("data", SHAPES)
def test_every_number_is_that_of_the_record(data, stored):
    found = lines(data)
    assert found
    wanted = [
        (network, name, stored[network.chapter][source])
        for network in NETWORKS
        if network.data == data and network.chapter in stored
        for name, source in network.scalars.items()
        if source in stored[network.chapter]
    ]
    assert len(found) == len(wanted)
    for line, (network, name, scalar) in zip(found, wanted, strict=True):
        assert (line["network"], line["scalar"]) == (network.name, name)
        assert line["record"] == f"{network.chapter}, laptop"
        assert line["images"] == scalar["count"]
        percent = scalar["unit"] == "%"
        assert line["value"] == pytest.approx(scalar["value"] / (100 if percent else 1))


def test_networks_of_the_first_chapters_are_found_by_their_names(stored):
    # A record whose scalars were renamed would leave the card without references, silently.
    for network in NETWORKS:
        if network.chapter in stored and network.chapter < "05":
            assert set(network.scalars.values()) <= set(stored[network.chapter]), network


def test_accuracies_are_fractions():
    shares = [line["value"] for line in lines("cifar10") if "accuracy" in line["scalar"]]
    assert len(shares) >= 5
    assert all(0.3 < share < 1 for share in shares)


def test_other_data_have_no_references():
    assert lines("patches") == []
    assert lines("imagefolder:mine") == []
    assert lines("imagefolder:nips17", shape=(3, 224, 224)) == []
    assert inputs.noted().get("book/results/laptop/01_preliminaries.json") is None


def test_what_was_measured_otherwise_is_not_compared():
    axes = {line["axis"] for line in lines("cifar10", severities=(1, 3), radius=2)}
    assert {"clean", "l2", "spectrum"} <= axes
    assert not axes & {"corruptions", "translation", "rics"}
    assert "corruptions" not in {line["axis"] for line in lines("cifar10", preset="tiny")}
    assert lines("cifar10", level=0.9) == []


def test_images_of_another_size_are_not_compared():
    assert lines("cifar10", window=(28, 28)) == []
    assert lines("cifar10", shape=(3, 40, 40), window=(32, 32)) == []
    assert lines("cifar10", shape=(1, 32, 32)) == []


def test_crop_selection_is_compared_for_the_usual_crop_alone(tmp_path, monkeypatch):
    scalar = {"value": 0.5, "low": 0.4, "high": 0.6, "level": 0.95, "unit": "", "count": 9}
    path = tmp_path / "record.json"
    scalars = {"rics_accuracy": scalar, "consistency_1": scalar}
    kept = {"schema": 1, "chapter": "x", "parameters": {}, "scalars": scalars}
    path.write_text(json.dumps({**kept, "tables": {}, "provenance": {}}))
    monkeypatch.setattr(project, "results_path", lambda chapter, profile: path)
    for crop, axes in (((28, 28), {"translation", "rics"}), ((24, 24), {"translation"})):
        assert {line["axis"] for line in lines("cifar10", crop=crop)} == axes
    assert lines("cifar10", radius=2) == []


def test_outside_a_checkout_there_are_none(tmp_path, monkeypatch):
    def nowhere(chapter, profile):
        return tmp_path / f"{chapter}.json"

    monkeypatch.setattr(project, "results_path", nowhere)
    assert lines("cifar10") == []


def test_what_was_read_is_an_input_of_the_run():
    lines("cifar10")
    assert "book/results/laptop/01_preliminaries.json" in inputs.noted()
