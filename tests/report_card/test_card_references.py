"""References: what a card shows is what the committed records say, in the units of a card."""

import json

import pytest
from card_toys import settings

from robustkit import inputs, project
from robustkit.report_card import AXES
from robustkit.report_card.references import NETWORKS, references


@pytest.fixture(scope="module")
def stored():
    found = {}
    for chapter in {network.chapter for network in NETWORKS}:
        path = project.results_path(chapter, "laptop")
        if path.is_file():
            found[chapter] = json.loads(path.read_text())["scalars"]
    return found


def lines(data, **changes):
    table = references(data, AXES, settings(**changes))
    return [dict(zip(table, cells, strict=True)) for cells in zip(*table.values(), strict=True)]


@pytest.mark.parametrize("data", ["cifar10", "mnist", "imagefolder:nips17"])
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
        percent = scalar["unit"] == "%" and name != "mce"
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
    assert inputs.noted().get("book/results/laptop/01_preliminaries.json") is None


def test_what_was_measured_otherwise_is_not_compared():
    axes = {line["axis"] for line in lines("cifar10", severities=(1, 3), radius=2)}
    assert {"clean", "l2", "spectrum"} <= axes
    assert not axes & {"corruptions", "translation", "rics"}
    assert "corruptions" not in {line["axis"] for line in lines("cifar10", preset="tiny")}


def test_outside_a_checkout_there_are_none(tmp_path, monkeypatch):
    def nowhere(chapter, profile):
        return tmp_path / f"{chapter}.json"

    monkeypatch.setattr(project, "results_path", nowhere)
    assert lines("cifar10") == []


def test_what_was_read_is_an_input_of_the_run():
    lines("cifar10")
    assert "book/results/laptop/01_preliminaries.json" in inputs.noted()
