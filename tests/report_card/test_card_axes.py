"""Every axis on classifiers whose numbers are known in closed form."""

import math

import numpy as np
import pytest
import torch
from card_toys import Columns, constant, grey, levels, sample_of, settings, two_classes
from toys import Linear

from robustkit.corruptions import CORRUPTIONS, FAMILIES, corrupt
from robustkit.data import to_float
from robustkit.margins import dct_matrix
from robustkit.report_card import Axis
from robustkit.report_card.clean import measure_clean
from robustkit.report_card.corruption import measure_corruptions
from robustkit.report_card.crop_selection import rics_axis
from robustkit.report_card.perturbations import measure_l2, measure_sparse
from robustkit.report_card.shifts import shifted, translation_axis
from robustkit.report_card.spectrum import bands, frequency, measure_spectrum
from robustkit.stats import wilson


def interval(axis: Axis, name: str):
    return axis.scalars[name].interval


def labels_of(model, images):
    with torch.no_grad():
        return model(images).argmax(dim=1)


def gaps(model, images):
    """How far the logit of the first class is above that of the second."""
    with torch.no_grad():
        return (model(images) @ torch.tensor([1.0, -1.0])).abs().double()


def test_clean_accuracy_by_class_and_the_most_confident_mistakes():
    images, labels = levels(6), torch.tensor([1, 1, 0, 1, 2, 1])
    found = measure_clean(constant(1), sample_of(images, labels), settings(examples=1))
    assert interval(found, "accuracy") == wilson(4, 6)
    assert found.tables["classes"]["class"] == ["a", "b", "c"]
    assert found.tables["classes"]["accuracy"] == [0.0, 1.0, 0.0]
    assert found.tables["classes"]["images"] == [1, 4, 1]
    assert found.outcomes["accuracy"].tolist() == [1, 1, 0, 1, 0, 1]
    assert found.examples.rows.tolist() == [2]
    assert found.examples.labels.tolist() == [0]
    assert found.examples.predictions.tolist() == [1]
    assert torch.equal(found.examples.before, to_float(images[2:3]))
    assert found.reading == "Right on 66.7% [30.0%, 90.3%] of 6 images."


def test_two_classes_of_one_name_are_two_rows():
    labels = torch.tensor([1, 1, 0, 1])
    given = settings(classes=("pet", "pet", "fish"))
    table = measure_clean(constant(1), sample_of(levels(4), labels), given).tables["classes"]
    assert table["class"] == ["pet", "pet"]
    assert table["accuracy"] == [0.0, 1.0]


def test_a_class_is_called_the_worst_where_the_interval_leaves_no_doubt():
    labels = torch.tensor([1] * 40 + [2] * 10)
    found = measure_clean(constant(1), sample_of(levels(50), labels), settings())
    assert found.reading.endswith("Worst at c, 0%.")


def test_of_two_classes_as_bad_neither_is_called_the_worst():
    labels = torch.tensor([1] * 80 + [2] * 20 + [0] * 20)
    found = measure_clean(constant(1), sample_of(levels(120), labels), settings())
    assert found.reading.endswith(
        "Lowest in this sample: a, 0%; this sample does not tell it from c."
    )


def test_of_many_classes_the_worst_by_chance_is_not_named():
    # Alone, four wrong of four would be worse than the whole; one class of twelve may be that.
    labels = torch.tensor([1] * 80 + [place for place in range(2, 12) for _ in range(4)])
    names = tuple("abcdefghijkl")
    model = constant(1, 12)
    found = measure_clean(model, sample_of(levels(120), labels), settings(classes=names))
    low, high = wilson(80, 120).low, wilson(0, 4).high
    assert high < low
    assert found.reading.endswith("of 120 images.")


def test_l2_distances_of_a_linear_classifier():
    model, images = two_classes(), grey()
    labels = labels_of(model, images)
    expected = gaps(model, images) / model.weight.detach().diff(dim=0).norm()
    found = measure_l2(model, sample_of(images, labels), settings())
    assert found.outcomes["l2_median"] == pytest.approx(expected.numpy(), rel=0.01)
    assert interval(found, "l2_median").estimate == pytest.approx(
        float(np.median(expected)), rel=0.01
    )
    assert interval(found, "l2_fooled").estimate == 1
    curve = found.tables["l2_curve"]
    assert curve["radius"][0] == 0
    assert curve["share"][0] == 1
    assert curve["share"][-1] == 0
    assert curve["share"] == sorted(curve["share"], reverse=True)
    nearest = found.examples
    assert nearest.rows.tolist() == np.argsort(expected.numpy(), kind="stable")[:6].tolist()
    assert (nearest.predictions != nearest.labels).all()
    assert torch.equal(labels_of(model, nearest.after), nearest.predictions)


def test_an_image_that_is_wrong_has_distance_zero_and_no_part_in_the_median():
    model, images = two_classes(), grey()
    labels = labels_of(model, images)
    labels[:5] = 1 - labels[:5]
    found = measure_l2(model, sample_of(images, labels), settings())
    expected = gaps(model, images) / model.weight.detach().diff(dim=0).norm()
    assert (found.outcomes["l2_median"][:5] == 0).all()
    assert interval(found, "l2_median").count == 7
    assert interval(found, "l2_median").estimate == pytest.approx(
        float(np.median(expected[5:])), rel=0.01
    )
    assert found.tables["l2_curve"]["share"][0] == pytest.approx(7 / 12)


def fewest(model, images):
    """The fewest pixels of a one-channel image whose attainable gains exceed the gap."""
    with torch.no_grad():
        predicted = labels_of(model, images)
        normal = model.weight.diff(dim=0)[0] * torch.where(predicted == 0, 1.0, -1.0)[:, None]
        pixels = images.flatten(1)
        room = torch.where(normal > 0, 1 - pixels, pixels)
        gains = (normal.abs() * room).sort(dim=1, descending=True).values.cumsum(dim=1).double()
    return (gains <= gaps(model, images)[:, None]).sum(dim=1) + 1


def test_pixels_of_a_linear_classifier():
    model, images = two_classes(), grey(20, spread=0.15)
    expected = fewest(model, images).double().numpy()
    assert expected.max() > 1
    labels = labels_of(model, images)
    found = measure_sparse(model, sample_of(images, labels), settings())
    assert found.outcomes["pixels_50"].tolist() == expected.tolist()
    assert interval(found, "pixels_50").estimate == float(np.median(expected))
    assert interval(found, "pixels_90").estimate == float(
        np.quantile(expected, 0.9, method="inverted_cdf")
    )
    curve = found.tables["sparse_curve"]
    shares = [float((expected > budget).mean()) for budget in curve["pixels"]]
    assert curve["share"] == pytest.approx(shares)


def test_margins_of_a_linear_classifier_are_those_of_its_projected_normal():
    model, images = two_classes(), grey(5)
    found = measure_spectrum(model, sample_of(images, labels_of(model, images)), settings())
    basis = dct_matrix(8).double()
    normal = model.weight.detach().diff(dim=0)[0].double().reshape(8, 8)
    spectrum = basis @ normal @ basis.T
    medians = []
    for block in bands((1, 8, 8)):
        inside = spectrum[block.top : block.top + 2, block.left : block.left + 2]
        medians.append(float((gaps(model, images) / inside.norm()).median()))
    assert found.tables["spectrum"]["median"] == pytest.approx(medians, rel=0.01)
    whole = float((gaps(model, images) / normal.norm()).median())
    assert interval(found, "margin_whole").estimate == pytest.approx(whole, rel=0.01)
    # Blocks of 4 coefficients in 64 dimensions.
    assert found.tables["spectrum"]["null"] == pytest.approx([4 * whole] * len(medians), rel=0.01)
    assert interval(found, "margin_high_over_low").estimate == pytest.approx(
        medians[-1] / medians[0], rel=0.01
    )
    # Five images agree, and five do not tell one of seven bands from the others.
    nearest, runner_up = (
        f"{frequency(bands((1, 8, 8))[place]):.3g} cycles" for place in np.argsort(medians)[:2]
    )
    assert found.reading.startswith(f"Nearest in this sample: the boundary at {nearest}")
    assert f"does not tell it from the one at {runner_up}" in found.reading


def test_the_nearest_band_is_named_where_the_images_leave_no_doubt():
    model, images = two_classes(), grey(10)
    found = measure_spectrum(model, sample_of(images, labels_of(model, images)), settings())
    medians = found.tables["spectrum"]["median"]
    nearest = frequency(bands((1, 8, 8))[int(np.argmin(medians))])
    assert found.reading.startswith(f"The boundary is nearest at {nearest:.3g} cycles a pixel")


def test_a_boundary_that_one_band_alone_crosses():
    # Only the mean of an image counts: higher bands never reach the boundary.
    weight = torch.stack([torch.full((64,), 0.5), torch.full((64,), -0.5)])
    model, images = Linear(weight, -weight.sum(1) / 2), grey()
    found = measure_spectrum(model, sample_of(images, labels_of(model, images)), settings())
    assert math.isfinite(interval(found, "margin_low").high)
    high, ratio = interval(found, "margin_high"), interval(found, "margin_high_over_low")
    assert (high.low, high.estimate, high.high) == (math.inf,) * 3
    assert (ratio.low, ratio.estimate, ratio.high) == (math.inf,) * 3
    assert "in the highest band no boundary was found for more than half" in found.reading


@pytest.mark.parametrize(
    ("side", "count", "height"), [(8, 7, 2), (28, 22, 7), (32, 13, 8), (64, 13, 16), (224, 14, 16)]
)
def test_bands_of_any_size(side, count, height):
    found = bands((3, side, side))
    assert len(found) == count
    assert {block.height for block in found} == {height}


def test_corruptions_are_those_of_the_benchmark_keyed_by_the_row():
    model, images = two_classes(), levels(5)
    labels = torch.tensor([0, 1, 1, 0, 1])
    sample = sample_of(images, labels)
    found = measure_corruptions(model, sample, settings(severities=(2,)))
    hits = {}
    for name in CORRUPTIONS:
        spoilt = corrupt(images, name, 2, seed=0, indices=torch.arange(5))
        hits[name] = (labels_of(model, to_float(spoilt)) == labels).double()
    cells = found.tables["corruption_cells"]
    assert cells["corruption"] == list(CORRUPTIONS)
    assert cells["accuracy"] == pytest.approx([float(one.mean()) for one in hits.values()])
    mean = torch.stack(list(hits.values())).mean()
    assert interval(found, "corruption_accuracy").estimate == pytest.approx(float(mean))
    assert interval(found, "mce").estimate == pytest.approx(100 * (1 - float(mean)))
    families = found.tables["corruption_families"]
    assert families["family"] == [*FAMILIES, "all"]
    assert families["accuracy"][-1] == pytest.approx(float(mean))
    noise = torch.stack([hits[name] for name in FAMILIES["noise"]]).mean()
    assert interval(found, "noise_accuracy").estimate == pytest.approx(float(noise))
    shown = found.examples
    assert (shown.predictions != shown.labels).all()
    assert torch.equal(labels_of(model, shown.after), shown.predictions)


class OneOfThousand(torch.nn.Module):
    """A network of 1000 classes that always says class 1."""

    def forward(self, images):
        labels = torch.ones(len(images), dtype=torch.long)
        return torch.nn.functional.one_hot(labels, 1000).float()


def test_alexnets_errors_are_the_unit_for_networks_and_images_like_those_of_imagenet():
    labels, model = torch.tensor([1, 0]), OneOfThousand().eval()
    sample = sample_of(levels(2, 130), labels)
    in_alexnets = measure_corruptions(model, sample, settings())
    assert in_alexnets.scalars["mce"].note == "mean corruption error, of AlexNet's"
    assert "published numbers are not comparable" in in_alexnets.method
    # AlexNet's published errors are 75 to 85 percent by corruption, ours 50.
    assert 55 < interval(in_alexnets, "mce").estimate < 70


@pytest.mark.parametrize(
    ("model", "side", "changes"),
    [
        (constant(size=400), 20, {}),
        (OneOfThousand().eval(), 20, {"preset": "imagenet"}),
        (constant(size=130**2), 130, {"severities": (1,)}),
        (OneOfThousand().eval(), 130, {"severities": (1,)}),
    ],
)
def test_elsewhere_the_mean_corruption_error_is_plain(model, side, changes):
    sample = sample_of(levels(2, side), torch.tensor([1, 0]))
    found = measure_corruptions(model, sample, settings(**changes))
    assert found.scalars["mce"].note == "plain mean error"
    assert interval(found, "mce").estimate == pytest.approx(50)
    assert "AlexNet" not in found.method


def test_a_network_that_is_always_right_was_measured_on_a_sample():
    sample = sample_of(levels(8), torch.ones(8, dtype=torch.long))
    found = measure_corruptions(constant(), sample, settings(severities=(2,)))
    low = wilson(8, 8).low
    for name in ("corruption_accuracy", "noise_accuracy"):
        share = interval(found, name)
        assert (share.low, share.estimate, share.high) == pytest.approx((low, 1, 1))
    error = interval(found, "mce")
    assert (error.low, error.estimate) == (0, 0)
    assert error.high == pytest.approx(100 * (1 - low))
    assert found.reading.endswith("does not tell the families of corruptions apart.")


def columns(count=4, side=14):
    """Images with one bright column, in the middle; the window of 8 moves over it."""
    images = torch.zeros(count, 1, side, side, dtype=torch.uint8)
    images[..., side // 2] = 200
    return images


def test_shifts_of_a_window_in_closed_form():
    labels = torch.zeros(4, dtype=torch.long)
    sample = sample_of(columns(), labels, (8, 8))
    model = Columns()
    found = shifted(model, sample, settings())
    axis = translation_axis(found, sample, settings())
    # The column is at 7 - 3 = 4 of the window, even: class 0. Odd shifts of columns change it.
    one, three = 2 / 8, (7 * 3 - 1) / 48
    for radius, kept in ((1, one), (3, three)):
        assert interval(axis, f"consistency_{radius}").estimate == pytest.approx(kept)
        assert interval(axis, f"fooled_{radius}") == wilson(4, 4)
        assert interval(axis, f"robust_{radius}") == wilson(0, 4)
    assert "inside the larger image" in axis.method
    assert axis.tables["translation"]["radius"] == [1, 1, 1, 3, 3, 3]
    assert axis.examples.predictions.tolist() == [1] * 4
    assert axis.examples.details[0].startswith("+0 rows, -1 columns; 28 of 48")


def test_images_that_are_wrong_as_they_are_are_no_examples():
    # A change would make them right.
    sample = sample_of(columns(), torch.tensor([0, 1, 1, 0]), (8, 8))
    axis = translation_axis(shifted(Columns(), sample, settings()), sample, settings())
    assert axis.examples.rows.tolist() == [0, 3]
    model, images = two_classes(), grey(6)
    labels = labels_of(model, images)
    labels[:2] = 1 - labels[:2]
    spectrum = measure_spectrum(model, sample_of(images, labels), settings())
    assert sorted(spectrum.examples.rows.tolist()) == [2, 3, 4, 5]
    assert (spectrum.examples.predictions != spectrum.examples.labels).all()


def test_images_no_larger_than_the_window_are_mirrored_and_the_method_says_so():
    sample = sample_of(columns(side=8), torch.zeros(4, dtype=torch.long))
    axis = translation_axis(shifted(Columns(), sample, settings()), sample, settings())
    assert "what enters is mirrored" in axis.method
    assert interval(axis, "consistency_1").estimate == pytest.approx(2 / 8)


def test_crop_selection_of_a_constant_classifier_changes_nothing():
    labels = torch.tensor([1, 1, 0, 1])
    sample = sample_of(levels(4), labels)
    plain = shifted(constant(), sample, settings())
    axis = rics_axis(constant(), plain, sample, settings())
    assert interval(axis, "rics_accuracy") == wilson(3, 4)
    kept, cost = interval(axis, "rics_consistency_3"), interval(axis, "rics_cost")
    low = wilson(4, 4).low
    assert (kept.low, kept.estimate, kept.high) == pytest.approx((low, 1, 1))
    assert interval(axis, "rics_gain_3").estimate == 0
    assert (cost.low, cost.estimate, cost.high) == pytest.approx((low - 1, 0, 1 - low))
    assert "resized to what the network sees, which takes no other size" in axis.method
    assert "does not tell" in axis.reading
    assert axis.examples is None


class OfSize(torch.nn.Module):
    """Class 1, but class 0 for crops of 7 rows, for which `error` is raised if there is one."""

    def __init__(self, error=None):
        super().__init__()
        self.error = error
        self.eval()

    def forward(self, images):
        small = images.shape[2] == 7
        if small and self.error is not None:
            raise self.error
        labels = torch.full((len(images),), 0 if small else 1)
        return torch.nn.functional.one_hot(labels, 3).float()


def rics_of(model, labels, others=None):
    sample = sample_of(levels(4), torch.tensor(labels))
    return rics_axis(model, shifted(model, sample, settings()), sample, settings(), others)


def test_the_form_of_crop_selection_is_chosen_on_other_images():
    others = sample_of(levels(32), torch.zeros(32, dtype=torch.long))
    found = rics_of(OfSize(), [1, 1, 1, 1], others)
    assert "as it is, since on 32 images beside those measured here" in found.method
    assert interval(found, "rics_accuracy") == wilson(0, 4)
    found = rics_of(OfSize(), [0, 0, 0, 0], sample_of(levels(32), torch.ones(32).long()))
    assert "resized to what the network sees, since on 32 images beside" in found.method
    assert interval(found, "rics_accuracy") == wilson(0, 4)


def test_without_other_images_the_sample_chooses_and_the_method_says_so():
    few = sample_of(levels(31), torch.ones(31, dtype=torch.long))
    for others in (None, few):
        found = rics_of(OfSize(), [0, 0, 0, 1], others)
        assert "as it is, since on these very images, which flatters RICS" in found.method
        assert interval(found, "rics_accuracy") == wilson(3, 4)


@pytest.mark.parametrize("error", [RuntimeError("size"), AssertionError("size")])
def test_a_network_of_one_size_gets_crops_resized(error):
    found = rics_of(OfSize(error), [0, 0, 0, 0])
    assert "resized to what the network sees, which takes no other size" in found.method


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError, KeyboardInterrupt])
def test_what_has_nothing_to_do_with_the_size_passes(error):
    with pytest.raises(error):
        rics_of(OfSize(error("full")), [0, 0, 0, 0])


class FirstColumn(torch.nn.Module):
    """Class 1 where the first column of the window is bright, else class 0."""

    def forward(self, images):
        bright = images[..., 0].mean(dim=(1, 2)) > 0.3
        return torch.nn.functional.one_hot(bright.long(), 2).float()


def test_crop_selection_follows_content_that_is_in_every_window():
    images = torch.zeros(4, 1, 14, 14, dtype=torch.uint8)
    images[..., ::2] = 200
    sample = sample_of(images, torch.zeros(4, dtype=torch.long), (8, 8))
    model = FirstColumn().eval()
    plain = shifted(model, sample, settings())
    # Stripes: an odd shift of columns moves a bright one to the front, or away from it.
    assert plain.consistent.tolist() == pytest.approx([(7 * 3 - 1) / 48] * 4)
    found = rics_axis(model, plain, sample, settings(crop=(3, 3)))
    assert interval(found, "rics_consistency_3").estimate == 1
    assert interval(found, "rics_fooled_3").estimate == 0
    assert found.scalars["rics_gain_3"].note.startswith("robust accuracy with RICS minus without")


class TestConstant:
    """A classifier without a boundary: every distance is infinite, every image invariant."""

    labels = torch.tensor([1, 1, 0, 1])

    def sample(self):
        return sample_of(levels(4), self.labels)

    def test_l2(self):
        found = measure_l2(constant(), self.sample(), settings())
        assert interval(found, "l2_median").estimate == math.inf
        assert interval(found, "l2_fooled") == wilson(1, 4)
        assert found.examples is None
        assert found.tables["l2_curve"]["share"] == [0.75] * 41

    def test_sparse(self):
        found = measure_sparse(constant(), self.sample(), settings())
        assert interval(found, "pixels_50").estimate == math.inf
        assert "no set of pixels was found" in found.reading

    def test_spectrum(self):
        found = measure_spectrum(constant(), self.sample(), settings())
        assert set(found.tables["spectrum"]["median"]) == {math.inf}
        assert set(found.tables["spectrum"]["found"]) == {0.0}
        assert found.examples is None
        assert "no band" in found.reading
        assert math.isnan(interval(found, "margin_high_over_low").estimate)

    def test_translation(self):
        sample = self.sample()
        found = translation_axis(shifted(constant(), sample, settings()), sample, settings())
        assert interval(found, "consistency_3").estimate == 1
        assert interval(found, "fooled_3") == wilson(0, 4)
        assert interval(found, "robust_3") == wilson(3, 4)

    @pytest.mark.parametrize("measure", [measure_l2, measure_sparse])
    def test_no_image_right_leaves_the_quantiles_undefined(self, measure):
        sample = sample_of(levels(3), torch.zeros(3, dtype=torch.long))
        found = measure(constant(), sample, settings())
        name = "l2_median" if measure is measure_l2 else "pixels_50"
        assert math.isnan(interval(found, name).estimate)
        assert found.reading.startswith("No image is right")
