"""mCE and its relatives: the published table gives 100, published rows give published means."""

import numpy as np
import pandas
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robustkit.corruptions.benchmark.alexnet import (
    CLEAN_ERROR,
    ERRORS,
    EXTRA_MEANS,
    alexnet_table,
    summed_error,
)
from robustkit.corruptions.benchmark.metrics import (
    corruption_accuracy,
    image_scores,
    mce,
    mean_corruption_error,
    relative_mce,
)
from robustkit.corruptions.benchmark.table import CorruptionTable
from robustkit.corruptions.registry import CORRUPTIONS, EXTRA
from robustkit.corruptions.severities import ALL_SEVERITIES
from robustkit.errors import InputError
from robustkit.stats import bootstrap, paired_bootstrap

# RobustBench, accuracy in percent by corruption, mean over the severities; clean accuracy of the
# same models 93.06 (PRIME, ResNet-18).
PRIME = "89.02 90.35 84.34 91.19 85.74 89.41 90.85 88.29 90.02 86.59 92.40 89.77 89.05 89.17 89.60"
AUGMIX = "80.91 86.00 86.71 93.68 82.94 92.08 93.02 89.63 89.35 91.54 94.07 90.32 90.76 83.21 88.10"

# The constants that published code divides by.
ALEXNET_MEANS = """
    gaussian_noise .886428 shot_noise .894468 impulse_noise .922640 defocus_blur .819880
    glass_blur .826268 motion_blur .785948 zoom_blur .798360 snow .866816 frost .826572
    fog .819324 brightness .564592 contrast .853204 elastic_transform .646056
    pixelate .717840 jpeg_compression .606500
"""


def tidy(errors, clean=None):
    """A table of errors (corruptions, severities), of the standard 15 or the first of them."""
    errors = np.asarray(errors, dtype=float)
    rows = [] if clean is None else [("clean", 0, clean)]
    for name, row in zip(CORRUPTIONS, errors, strict=False):
        rows += [(name, severity, error) for severity, error in enumerate(row, 1)]
    return pandas.DataFrame(rows, columns=["corruption", "severity", "error"])


def published(accuracies):
    means = 1 - np.array(accuracies.split(), dtype=float) / 100
    return tidy(np.repeat(means[:, None], 5, axis=1))


def random_table(count=40, seed=0, clean=True):
    generator = torch.Generator().manual_seed(seed)
    cells = tuple((name, severity) for name in CORRUPTIONS for severity in ALL_SEVERITIES)
    rates = torch.rand(75, 1, generator=generator)
    hits = torch.rand(75, count, generator=generator) < rates
    return CorruptionTable(
        cells, hits, torch.rand(count, generator=generator) < 0.9 if clean else None
    )


def test_alexnet_is_its_own_unit():
    assert mce(alexnet_table()) == pytest.approx(100, abs=1e-9)
    assert relative_mce(alexnet_table()) == pytest.approx(100, abs=1e-9)


def test_alexnets_errors_have_the_published_means():
    words = ALEXNET_MEANS.split()
    means = dict(zip(words[::2], map(float, words[1::2]), strict=True))
    assert tuple(means) == CORRUPTIONS
    for name, mean in means.items():
        assert np.mean(ERRORS[name]) == pytest.approx(mean, abs=1e-9)
    assert mean_corruption_error(alexnet_table()) == pytest.approx(78.8993, abs=1e-3)


def test_what_is_judged_is_what_can_be_made():
    assert tuple(ERRORS) == CORRUPTIONS
    assert set(EXTRA_MEANS) == set(EXTRA)


def test_a_perfect_classifier_has_no_error():
    perfect = tidy(np.zeros((15, 5)), clean=0.0)
    assert mce(perfect) == 0
    assert relative_mce(perfect) == 0
    assert mean_corruption_error(perfect) == 0
    assert corruption_accuracy(perfect) == 100


def test_published_rows_have_the_published_means():
    assert corruption_accuracy(published(AUGMIX)) == pytest.approx(88.82, abs=0.005)
    assert corruption_accuracy(published(PRIME)) == pytest.approx(89.05, abs=0.005)


def test_each_corruption_is_divided_by_the_reference_before_the_mean():
    errors = np.full((2, 5), 0.2)
    errors[1] = 0.6
    reference = tidy([[0.1, 0.2, 0.3, 0.4, 0.5], [0.8] * 5], clean=0.1)
    names = CORRUPTIONS[:2]
    # (1.0 / 1.5 + 3.0 / 4.0) / 2, then (0.5 / 1.0 + 2.5 / 3.5) / 2.
    table = tidy(errors, clean=0.1)
    assert mce(table, reference, corruptions=names) == pytest.approx(70.8333333)
    assert relative_mce(table, reference, corruptions=names) == pytest.approx(60.7142857)


def test_without_a_reference_it_is_the_mean_error():
    table = tidy(np.random.default_rng(0).random((15, 5)), clean=0.05)
    assert mce(table, None) == mean_corruption_error(table)
    assert mean_corruption_error(table) == pytest.approx(100 - corruption_accuracy(table))
    assert relative_mce(table, None) == pytest.approx(mean_corruption_error(table) - 5)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), factor=st.floats(0.05, 1.0))
def test_mce_follows_the_errors(seed, factor):
    generator = np.random.default_rng(seed)
    errors = generator.random((15, 5))
    table, shuffled = tidy(errors), tidy(errors).sample(frac=1, random_state=seed % 1000)
    assert mce(shuffled) == pytest.approx(mce(table), rel=1e-12)
    assert mce(tidy(factor * errors)) == pytest.approx(factor * mce(table), rel=1e-12)
    reference = tidy(generator.random((15, 5)) + 0.0)
    expected = sum(errors[c].sum() / reference["error"][5 * c : 5 * c + 5].sum() for c in range(15))
    assert mce(table, reference) == pytest.approx(100 * expected / 15, rel=1e-12)
    assert mce(table, table) == pytest.approx(100, abs=1e-9)


@pytest.mark.parametrize("metric", [mce, relative_mce, corruption_accuracy, mean_corruption_error])
def test_missing_cells_are_named(metric):
    table = tidy(np.full((15, 5), 0.3), clean=0.1)
    with pytest.raises(InputError, match=r"the table lacks fog. It is not judged without"):
        metric(table[table["corruption"] != "fog"])
    gaps = table[(table["corruption"] != "snow") | (table["severity"] % 2 == 0)]
    with pytest.raises(InputError, match="lacks snow at severity 1, 3, 5"):
        metric(gaps)
    rest = [name for name in CORRUPTIONS if name != "snow"]
    assert metric(gaps, corruptions=rest) > 0
    assert metric(gaps, severities=(2, 4)) > 0


def test_duplicate_cells_are_named():
    table = tidy(np.full((15, 5), 0.3), clean=0.1)
    with pytest.raises(InputError, match="more than one row for frost at severity 2"):
        mce(pandas.concat([table, table[(table["corruption"] == "frost") & (table.severity == 2)]]))
    with pytest.raises(InputError, match="more than one row for clean"):
        relative_mce(pandas.concat([table, table.head(1)]))
    with pytest.raises(InputError, match="Pass the rows of one model"):
        mce(pandas.concat([table, table]))


def test_what_is_not_judged_does_not_count():
    table = tidy(np.full((15, 5), 0.3))
    held_out = pandas.DataFrame(
        {"corruption": "spatter", "severity": [1, 2, 2], "error": [0.9, 0.9, 7.0]}
    )
    assert mce(pandas.concat([table, held_out])) == mce(table)


def test_the_four_further_corruptions_have_means_only():
    assert summed_error("spatter", ALL_SEVERITIES) == pytest.approx(5 * EXTRA_MEANS["spatter"])
    table = pandas.DataFrame(
        {"corruption": "spatter", "severity": ALL_SEVERITIES, "error": EXTRA_MEANS["spatter"]}
    )
    assert mce(table, corruptions=["spatter"]) == pytest.approx(100)
    with pytest.raises(InputError, match="judge all five"):
        mce(table, corruptions=["spatter"], severities=(1, 2))
    with pytest.raises(InputError, match="Did you mean 'frost'"):
        summed_error("frosst", ALL_SEVERITIES)
    with pytest.raises(InputError, match="severities 1 to 5"):
        summed_error("fog", (1, 6))


def test_arguments_are_checked():
    table = tidy(np.full((15, 5), 0.3))
    with pytest.raises(InputError, match="no column error"):
        mce(table.drop(columns="error"))
    for wrong in (30.0, np.nan, -0.1):
        with pytest.raises(InputError, match="divide percent by 100"):
            mce(table.assign(error=wrong))
    with pytest.raises(InputError, match=r"unknown reference 'alexnets'. Did you mean 'alexnet'"):
        mce(table, "alexnets")
    with pytest.raises(InputError, match="fog more than once"):
        mce(table, corruptions=["fog", "fog"])
    with pytest.raises(InputError, match="severities is empty"):
        mce(table, severities=[])
    with pytest.raises(InputError, match=r"corruptions must be a list.*pass \['fog'\]"):
        mce(table, corruptions="fog")
    with pytest.raises(InputError, match="the reference lacks fog"):
        mce(table, table[table["corruption"] != "fog"])
    with pytest.raises(InputError, match=r"table has no row .*clean"):
        relative_mce(table)
    clean = tidy(np.full((15, 5), 0.3), clean=0.3)
    with pytest.raises(InputError, match=r"reference has no row .*clean"):
        relative_mce(clean, table)
    with pytest.raises(InputError, match=r"gaussian_noise.*adds nothing to the clean error"):
        relative_mce(clean, clean)
    with pytest.raises(InputError, match="fog is never an error"):
        mce(table, table.assign(error=0.3 * (table["corruption"] != "fog")))


@pytest.mark.parametrize("metric", [mce, relative_mce, corruption_accuracy, mean_corruption_error])
def test_shares_of_images_have_the_metric_as_their_mean(metric):
    results = random_table()
    value = metric(results)
    assert value == pytest.approx(metric(results.frame()), rel=1e-12)
    shares = image_scores(results, metric.__name__)
    assert shares.shape == (40,)
    assert shares.mean() == pytest.approx(value, rel=1e-12)
    interval = bootstrap(shares)
    assert interval.low < value < interval.high


@pytest.mark.parametrize("metric", [corruption_accuracy, mean_corruption_error])
def test_what_uses_no_reference_asks_nothing_of_it(metric):
    hits = torch.tensor([[True, False], [True, True]])
    results = CorruptionTable((("lines", 1), ("plasma_noise", 1)), hits)
    judged = {"corruptions": ["lines", "plasma_noise"], "severities": [1]}
    shares = image_scores(results, metric.__name__, **judged)
    assert shares.mean() == pytest.approx(metric(results, **judged))
    assert image_scores(results, metric.__name__, "nothing", **judged).tolist() == shares.tolist()
    with pytest.raises(InputError, match="AlexNet's table 'lines'"):
        image_scores(results, "mce", **judged)


def test_models_are_compared_image_by_image():
    first, hits = random_table(), random_table().hits.clone()
    # The second model has a tenth of the images wrong everywhere, and the rest as the first.
    hits[:, :4] = False
    second = CorruptionTable(first.cells, hits)
    found = paired_bootstrap(image_scores(first), image_scores(second))
    assert found.estimate == pytest.approx(100 * first.hits[:, :4].double().sum() / (75 * 40))
    assert 0 < found.low < found.estimate < found.high
    assert image_scores(first, "mce", second).mean() == pytest.approx(mce(first, second))
    with pytest.raises(InputError, match="unknown metric 'mces'"):
        image_scores(first, "mces")


def test_a_table_counts_its_cells():
    hits = torch.tensor([[True, False, True], [False, False, False]])
    table = CorruptionTable((("fog", 2), ("snow", 5)), hits, torch.tensor([True, True, True]))
    frame = table.frame()
    names = ["corruption", "severity", "correct", "count", "error", "low", "high"]
    assert list(frame.columns) == names
    assert frame["corruption"].tolist() == ["clean", "fog", "snow"]
    assert frame["severity"].tolist() == [0, 2, 5]
    assert frame["correct"].tolist() == [3, 2, 0]
    assert frame["count"].tolist() == [3, 3, 3]
    assert frame["error"].tolist() == pytest.approx([0, 1 / 3, 1])
    # Wilson's interval of 1 in 3, and its ends at the extremes.
    assert frame["low"].tolist() == pytest.approx([0, 0.0615, 0.4385], abs=1e-3)
    assert frame["high"].tolist() == pytest.approx([0.5615, 0.7923, 1], abs=1e-3)
    assert torch.equal(table.cell("fog", 2), hits[0])
    assert table.cell("clean", 0).all()
    assert repr(table) == "CorruptionTable(3 images, 2 corruptions, 2 cells, mean error 0.6667)"
    with pytest.raises(InputError, match="no cell 'fog' at severity 3"):
        table.cell("fog", 3)
    with pytest.raises(InputError, match="2 cells need as many rows, got 1"):
        CorruptionTable(table.cells, hits[:1])
    with pytest.raises(InputError, match="more than once"):
        CorruptionTable((("fog", 2), ("fog", 2)), hits)
    with pytest.raises(InputError, match="3 images are corrupted, 2 clean"):
        CorruptionTable(table.cells, hits, torch.tensor([True, True]))


def test_the_clean_error_of_alexnet_is_the_published_one():
    assert CLEAN_ERROR == 0.435
    assert alexnet_table().iloc[0].tolist() == ["clean", 0, 0.435]
