"""The report as a whole: its samples, what it checks, and that an image's outcome is its own."""

import numpy as np
import pytest
import torch
from card_toys import constant, grey, levels, two_classes

import robustkit
from robustkit import report_card
from robustkit.data import to_float
from robustkit.errors import InputError, UnknownNameError
from robustkit.report_card import AXES, Report, measure, report, reports
from robustkit.report_card.budget import Rates

CHEAP = ("clean", "translation", "rics")


def labels_of(model, images):
    with torch.no_grad():
        return model(images).argmax(dim=1)


def cheap(model, images, labels, **options):
    return report(model, images, labels, **{"axes": CHEAP, "radius": 1, **options})


def test_it_is_one_import():
    assert robustkit.report is report_card.report


def test_every_axis_is_there_with_its_tables_and_a_reading():
    model, images = two_classes(), grey(6)
    found = report(model, images, labels_of(model, images), samples=6, severities=(1,), radius=1)
    assert isinstance(found, Report)
    assert tuple(found.axes) == AXES
    assert all(len(axis) == 6 for axis in found.axes.values())
    assert all(reading.endswith(".") for reading in found.readings.values())
    assert set(found.tables) == {
        *("classes", "l2_curve", "sparse_curve", "spectrum", "corruption_cells"),
        *("corruption_families", "translation", "rics"),
    }
    for table in found.tables.values():
        assert len({len(column) for column in table.values()}) == 1
    assert found.scalar("accuracy").estimate == 1
    assert list(found.frame("translation")["measure"]) == ["consistency", "fooled", "robust"]
    assert "Clean images: Right on 100%" in repr(found)
    for one in found.scalars.values():
        low, high = one.interval.low, one.interval.high
        assert low <= one.interval.estimate <= high or np.isnan(low)
    # Every outcome that is compared is that of a number on the card, one value an image.
    for axis in found.axes.values():
        assert set(axis.outcomes) <= set(axis.scalars)
        assert all(values.shape == (6,) for values in axis.outcomes.values())


def test_a_smaller_sample_is_the_beginning_of_a_larger_one():
    model, images = two_classes(), levels(20)
    labels = labels_of(model, to_float(images))
    small, large = (cheap(model, images, labels, samples=count) for count in (5, 15))
    for axis in CHEAP:
        assert torch.equal(small.axes[axis].rows, large.axes[axis].rows[:5])
        for name, values in small.axes[axis].outcomes.items():
            assert values.tolist() == large.axes[axis].outcomes[name][:5].tolist()
    assert sorted(cheap(model, images, labels).axes["clean"].rows.tolist()) == list(range(20))


def test_the_order_of_images_is_random_and_follows_the_seed():
    model, images = two_classes(), levels(40)
    labels = labels_of(model, to_float(images))
    first, again, other = (
        cheap(model, images, labels, axes=["clean"], seed=seed).axes["clean"].rows.tolist()
        for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other
    assert first != sorted(first)


def test_samples_by_axis_and_by_default():
    model, images = two_classes(), levels(12)
    labels = labels_of(model, to_float(images))
    found = cheap(model, images, labels, samples={"translation": 3})
    assert {name: len(axis) for name, axis in found.axes.items()} == {
        "clean": 12,
        "translation": 3,
        "rics": 3,
    }
    with pytest.raises(UnknownNameError, match="Did you mean 'translation'"):
        cheap(model, images, labels, samples={"translations": 3})


def test_a_budget_says_what_it_planned():
    model, images = two_classes(), levels(12)
    labels = labels_of(model, to_float(images))
    found = cheap(model, images, labels, budget=5)
    assert found.budget == 5
    assert set(found.planned) == {"clean", "translation"}
    assert 0 < sum(found.planned.values()) <= 0.9 * 300
    assert len(found.axes["rics"]) == len(found.axes["translation"])


def test_how_long_it_will_take_is_said_before(monkeypatch):
    def measured(*given):
        assert said == []
        return Rates(forward=1.0, backward=0.0, corruption=0.0, selection=0.0)

    said = []
    monkeypatch.setattr(measure, "measure_rates", measured)
    model, images = two_classes(), levels(12)
    labels = labels_of(model, to_float(images))
    axes = ("clean", "translation")
    found = reports({"it": model}, images, labels, axes=axes, radius=1, announce=said.append)
    # Twelve images once as they are and ten times for shifts, a second each.
    assert said == [
        "The measurements take about 3 minutes on this machine, by the speed of a few passes."
    ]
    assert found["it"].planned == {"clean": 12, "translation": 120}
    assert len(found["it"].axes["translation"]) == 12
    assert cheap(model, images, labels, axes=axes).planned == {}


def test_known_networks_are_added_unless_they_are_not_wanted():
    images = levels(3, side=32, channels=3)
    given = ({"it": two_classes(32, 3)}, images, torch.tensor([0, 1, 1]))
    for wanted in (True, False):
        found = reports(*given, data="cifar10", axes=("clean",), references=wanted)["it"]
        assert any(found.references.values()) is wanted
    assert not any(reports(*given, axes=("clean",))["it"].references.values())


def test_larger_images_are_seen_through_a_window():
    images = torch.zeros(5, 1, 12, 12, dtype=torch.uint8)
    images[..., 2:10, 2:10] = levels(5)
    model = two_classes()
    labels = labels_of(model, to_float(images[..., 2:10, 2:10]))
    found = cheap(model, images, labels, size=8)
    assert found.scalar("accuracy").estimate == 1
    assert "inside the larger image" in found.axes["translation"].method
    assert "mirrored" in cheap(model, images[..., 2:10, 2:10], labels).axes["translation"].method


def test_images_of_8_bits_and_floating_ones_have_one_card():
    model, images = two_classes(), levels(8)
    labels = labels_of(model, to_float(images))
    first, second = (cheap(model, given, labels) for given in (images, to_float(images)))
    for name in first.scalars:
        assert first.scalar(name) == second.scalar(name)
    assert first.cautions == ()
    assert "rounded to 8-bit levels" in second.cautions[0]


def test_the_model_of_a_row_does_not_matter_to_another():
    images = levels(6)
    labels = labels_of(two_classes(), to_float(images))
    alone = cheap(two_classes(), images, labels)
    both = reports({"a": two_classes(), "b": constant(0, 2)}, images, labels, axes=CHEAP, radius=1)
    assert list(both) == ["a", "b"]
    assert [both["a"].scalar(name) for name in alone.scalars] == [
        alone.scalar(name) for name in alone.scalars
    ]
    assert both["b"].scalar("consistency_1").estimate == 1


class TestCautions:
    def test_a_classifier_that_guesses(self):
        labels = torch.tensor([0, 0, 2, 1, 0, 2])
        found = cheap(constant(1), levels(6), labels)
        # One of six is less than a third, and may well be a third.
        assert found.cautions[0].startswith("This sample does not tell the network from guessing")

    def test_a_classifier_that_is_worse_than_guessing(self):
        found = cheap(constant(1), levels(20), torch.zeros(20, dtype=torch.long))
        assert found.cautions[0].startswith("The network is worse than guessing here")

    def test_other_numbers_of_classes(self):
        found = cheap(constant(1), levels(3), torch.ones(3, dtype=torch.long), classes=["a", "b"])
        assert "3 outputs and the data name 2 classes" in found.cautions[0]

    def test_attacks_that_fail(self):
        # The image that is wrong as it is was not attacked, and so nothing was found for it.
        labels = torch.tensor([1, 1, 0, 1])
        found = report(constant(1), levels(4), labels, axes=["l2", "sparse"])
        for caution, what in zip(found.cautions, ("perturbation", "set of pixels"), strict=True):
            assert caution.startswith(f"A {what} that changes the class was found for only 0% of")
            assert "gradients may be masked" in caution

    def test_attacks_that_succeed(self):
        model, images = two_classes(), grey(6)
        labels = labels_of(model, images)
        labels[:5] = 1 - labels[:5]
        assert report(model, images, labels, axes=["l2", "sparse"]).cautions == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"axes": ["corruption"]}, "Did you mean 'corruptions'"),
        ({"axes": []}, "nothing to measure"),
        ({"axes": ["corruptions"], "severities": (0,)}, "severities must lie in 1 to 5"),
        ({"axes": ["corruptions"], "severities": ()}, "severities must lie in 1 to 5"),
        ({"axes": ["corruptions"], "preset": "cifer"}, "Did you mean 'cifar'"),
        ({"radius": 0}, "radius must be at least 1"),
        ({"radius": 8}, "too large for 8 x 8"),
        ({"samples": 0}, "sample of clean must be at least 1"),
        ({"budget": 5, "samples": 3}, "either a budget"),
        ({"budget": -1}, "positive number of minutes"),
        ({"size": 9}, "sees 9 x 9 pixels, and the images have 8 x 8"),
        ({"crop": 9}, "does not fit into 8 x 8"),
        ({"level": 1.0}, "level must lie in"),
        ({"examples": -1}, "examples must be at least 0"),
        ({"classes": ["a"]}, "labels reach 2, but only 1 classes"),
    ],
)
def test_what_cannot_be_measured_is_refused(changes, message):
    labels = torch.tensor([0, 1, 2])
    with pytest.raises(InputError, match=message):
        cheap(constant(), levels(3), labels, **changes)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (levels(3)[0], torch.tensor([0, 1, 2]), "batch"),
        (levels(3), torch.tensor([0, 1]), r"labels must have shape \(3,\)"),
        (levels(3), torch.tensor([0, 1, 3]), "model has 3 classes"),
        (levels(3).float(), torch.tensor([0, 1, 2]), r"must lie in \[0, 1\]"),
        (levels(0), torch.zeros(0, dtype=torch.long), "empty"),
    ],
)
def test_images_and_labels_that_do_not_fit_are_refused(images, labels, message):
    with pytest.raises(InputError, match=message):
        cheap(constant(), images, labels)


def test_a_model_that_returns_no_tensor_is_refused_by_what_it_returns():
    class Pair(torch.nn.Module):
        def forward(self, images):
            return images.flatten(1), images

    with pytest.raises(InputError, match="network returns an object of type tuple"):
        cheap(Pair().eval(), levels(3), torch.tensor([0, 1, 2]))


def test_a_model_that_returns_nan_is_refused():
    class Broken(torch.nn.Module):
        def forward(self, images):
            logits = images.flatten(1)[:, :3].clone()
            logits[images.mean(dim=(1, 2, 3)) > 0.9, 1] = torch.nan
            return logits

    images = levels(4)
    assert len(cheap(Broken().eval(), images, torch.tensor([0, 1, 2, 0]), axes=["clean"]).axes)
    images[2] = 255
    with pytest.raises(InputError, match="returns NaN"):
        cheap(Broken().eval(), images, torch.tensor([0, 1, 2, 0]), axes=["clean"])


def test_labels_of_another_whole_type_are_labels():
    images, labels = levels(3), torch.tensor([0, 1, 2])
    assert cheap(constant(), images, labels.to(torch.int16), axes=["clean"]).scalar("accuracy")


def test_a_model_in_training_mode_is_refused():
    with pytest.raises(InputError, match="training mode"):
        cheap(constant().train(), levels(3), torch.tensor([0, 1, 2]))


def test_models_of_other_classes_cannot_share_a_card():
    with pytest.raises(InputError, match="different numbers of classes"):
        reports({"a": constant(0, 2), "b": constant(0, 3)}, levels(2), torch.tensor([0, 1]))
    with pytest.raises(InputError, match="no model"):
        reports({}, levels(2), torch.tensor([0, 1]))


def test_unknown_numbers_and_tables_have_a_near_match():
    found = cheap(constant(), levels(3), torch.tensor([0, 1, 2]))
    with pytest.raises(UnknownNameError, match="Did you mean 'accuracy'"):
        found.scalar("acuracy")
    with pytest.raises(UnknownNameError, match="Did you mean 'translation'"):
        found.frame("translations")
