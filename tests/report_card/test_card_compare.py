"""Two models on the same images: differences, tests and readings."""

import dataclasses

import numpy as np
import pytest
import torch
from card_toys import constant, grey, levels, two_classes

from robustkit.data import to_float
from robustkit.errors import InputError
from robustkit.records import Record
from robustkit.report_card import add_to_record, compare, mcnemar, report, reports
from robustkit.stats import wilson

AXES = ("clean", "translation")


def pair(first, second, images, labels, **options):
    options = {"axes": AXES, "radius": 1, **options}
    return list(reports({"one": first, "other": second}, images, labels, **options).values())


def by_name(comparison):
    return {one.scalar: one for one in comparison.differences}


def test_a_model_does_not_differ_from_itself():
    images = levels(10)
    labels = torch.arange(10) % 2
    found = compare(*pair(two_classes(), two_classes(), images, labels))
    # Images that are not among the ten may tell them apart: as many as Wilson's bound leaves.
    others = 1 - wilson(10, 10).low
    for one in found.differences:
        assert one.difference.estimate == 0
        assert (one.difference.low, one.difference.high) == pytest.approx((-others, others))
        assert one.p == 1
        assert (one.test.first, one.test.second) == (0, 0)
    assert found.reading == "On these images no test tells the two apart."


def test_accuracies_are_compared_by_mcnemars_test():
    labels = torch.tensor([0] * 28 + [1] * 12)
    first, second = pair(constant(0, 2), constant(1, 2), levels(40), labels)
    found = compare(first, second)
    accuracy = by_name(found)["accuracy"]
    assert (accuracy.first, accuracy.second) == (0.7, 0.3)
    assert accuracy.difference.estimate == pytest.approx(0.4)
    assert accuracy.difference.low < 0.4 < accuracy.difference.high
    assert accuracy.test == mcnemar([1] * 28 + [0] * 12, [0] * 28 + [1] * 12)
    # Holm's correction can only make it larger.
    assert accuracy.p > accuracy.test.p
    assert found.table["scalar"] == [one.scalar for one in found.differences]
    assert set(found.frame()["images"]) == {40}


def test_the_reading_names_who_is_better_at_what():
    labels = torch.zeros(60, dtype=torch.long)
    found = compare(*pair(constant(0, 2), constant(1, 2), levels(60), labels))
    assert found.reading.startswith("Better by tests that hold together: one in accuracy, ")
    assert "robust accuracy within 1 px" in found.reading
    assert "other in" not in found.reading


def test_being_fooled_more_often_is_not_better():
    images = torch.zeros(40, 1, 8, 8, dtype=torch.uint8)
    images[..., 3] = 250

    class Left(torch.nn.Module):
        """Class 0 while the bright column is where it was."""

        def forward(self, images):
            there = images[:, 0, 0, 3] > 0.5
            return torch.nn.functional.one_hot((~there).long(), 2).float()

    steady, moved = constant(0, 2), Left().eval()
    labels = torch.zeros(40, dtype=torch.long)
    found = compare(*pair(moved, steady, images, labels))
    assert by_name(found)["fooled_1"].difference.estimate == 1
    assert "share fooled within 1 px" in found.reading
    assert "one in" not in found.reading


def test_where_mean_and_test_disagree_neither_is_better():
    # On most images the first is a little larger, on a few much smaller: the mean is smaller.
    outcomes = {"one": [0.6] * 30 + [0.0] * 8, "other": [0.5] * 30 + [1.0] * 8}
    labels = torch.zeros(38, dtype=torch.long)
    cards = pair(constant(0, 2), constant(0, 2), levels(38), labels, axes=("clean",))
    one, other = (
        dataclasses.replace(
            card,
            axes={
                "clean": dataclasses.replace(
                    card.axes["clean"], outcomes={"consistency_1": np.array(outcomes[card.name])}
                )
            },
        )
        for card in cards
    )
    found = compare(one, other)
    [only] = found.differences
    assert only.p < 0.001
    assert only.difference.estimate < 0
    assert only.test.first > only.test.second
    assert found.reading == "On these images no test tells the two apart."


def test_distances_are_compared_on_images_that_both_have_right():
    images = grey(10)
    model = two_classes()
    twice = two_classes()
    with torch.no_grad():
        labels = model(images).argmax(dim=1)
        # The same boundary moved away from class 0: those images are farther, the others nearer.
        twice.bias += torch.tensor([0.05, -0.05])
    first, second = pair(model, twice, images, labels, axes=("l2",))
    found = by_name(compare(first, second))["l2_median"]
    right = (first.axes["l2"].outcomes["l2_median"] > 0) & (
        second.axes["l2"].outcomes["l2_median"] > 0
    )
    assert found.test.count == int(right.sum())
    medians = [
        float(np.median(one.axes["l2"].outcomes["l2_median"][right])) for one in (first, second)
    ]
    assert (found.first, found.second) == pytest.approx(medians)
    assert found.difference.estimate == pytest.approx(medians[0] - medians[1])


def test_a_handful_of_pairs_has_no_interval_of_a_median():
    images, model = grey(12), two_classes()
    with torch.no_grad():
        labels = model(images).argmax(dim=1)
    for count, known in ((5, False), (6, True)):
        cards = pair(model, model, images[:count], labels[:count], axes=("l2",))
        difference = by_name(compare(*cards))["l2_median"].difference
        assert difference.estimate == 0
        assert np.isfinite([difference.low, difference.high]).tolist() == [known, known]


def test_infinite_distances_are_larger_than_any_other():
    images = grey(8)
    model = two_classes()
    with torch.no_grad():
        labels = model(images).argmax(dim=1)
    never = constant(0, 2)
    labels[:] = 0
    first, second = pair(model, never, images, labels, axes=("l2",))
    found = by_name(compare(first, second))["l2_median"]
    assert found.test.second == found.test.count > 0
    assert np.isnan(found.difference.low)
    assert found.second == np.inf


def test_reports_of_other_images_or_samples_are_refused():
    labels = torch.tensor([0, 1, 0, 1])
    options = {"axes": ("clean",)}
    first = report(constant(0, 2), levels(4), labels, name="first", **options)
    other = report(constant(0, 2), levels(4, seed=9), labels, **options)
    with pytest.raises(InputError, match="measured on other images"):
        compare(first, other)
    fewer = report(constant(0, 2), levels(4), labels, samples=2, **options)
    with pytest.raises(InputError, match="samples of axis 'clean' differ"):
        compare(first, fewer)
    spectrum = report(two_classes(), levels(4), labels, axes=("spectrum",))
    with pytest.raises(InputError, match="no axis in common"):
        compare(first, spectrum)


def test_reports_of_one_name_are_refused():
    found = report(constant(0, 2), levels(2), torch.tensor([0, 1]), axes=("clean",))
    with pytest.raises(InputError, match=r"both called 'network'.*name="):
        compare(found, found)
    with pytest.raises(InputError, match=r"both called 'network'.*name="):
        add_to_record(Record("06_report_card", {}), [found, found])


@pytest.mark.parametrize(
    ("axes", "changes", "message"),
    [
        (AXES, {"radius": 2}, r"radius \(1 and 2\)"),
        (AXES, {"level": 0.9}, r"level \(0.95 and 0.9\)"),
        (AXES, {"seed": 3}, r"seed \(0 and 3\)"),
        (AXES, {"size": 7}, r"size \(\(8, 8\) and \(7, 7\)\)"),
        (("rics",), {"crop": 6}, r"crop \(\(7, 7\) and \(6, 6\)\)"),
        (("corruptions",), {"severities": (2,)}, r"severities \(\(1,\) and \(2,\)\)"),
        (("corruptions",), {"preset": "tiny"}, r"preset \(None and tiny\)"),
    ],
)
def test_reports_that_were_measured_otherwise_are_refused(axes, changes, message):
    class First(torch.nn.Module):
        """Class 0 for images of any size."""

        def forward(self, images):
            return torch.tensor([[1.0, 0.0]]).repeat(len(images), 1)

    given = (First().eval(), levels(2), torch.tensor([0, 1]))
    usual = {"axes": axes, "radius": 1, "severities": (1,)}
    first = report(*given, name="first", **usual)
    second = report(*given, name="second", **{**usual, **changes})
    for one, other in ((first, second), (second, first)):
        with pytest.raises(InputError, match="were not measured in the same way, they differ in"):
            compare(one, other)
    with pytest.raises(InputError, match=message):
        compare(first, second)


def test_what_other_axes_were_measured_under_makes_no_difference():
    given = (constant(0, 2), levels(4), torch.tensor([0, 1, 0, 1]))
    first = report(*given, name="first", axes=AXES, radius=1)
    second = report(
        *given, name="second", axes=("clean",), radius=3, severities=(2,), preset="tiny", crop=5
    )
    assert [one.scalar for one in compare(first, second).differences] == ["accuracy"]


def test_floating_images_are_told_apart_from_their_levels():
    labels = torch.tensor([0, 1])
    first = report(constant(0, 2), levels(2), labels, axes=("clean",), name="first")
    other = report(constant(0, 2), to_float(levels(2)), labels, axes=("clean",))
    with pytest.raises(InputError, match="other images"):
        compare(first, other)
