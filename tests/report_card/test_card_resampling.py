"""Intervals where resampling alone says too much, and who is named the lowest."""

import math

import numpy as np
import pytest

from robustkit.report_card.resampling import paired_means, paired_medians, widened
from robustkit.report_card.rivals import lower_median, other_mean, rival
from robustkit.stats import bootstrap, paired_bootstrap, wilson


@pytest.mark.parametrize("count", [1, 8, 32, 500])
@pytest.mark.parametrize("value", [0, 1])
def test_equal_shares_have_wilsons_interval(count, value):
    values = np.full(count, float(value))
    found, expected = widened(bootstrap(values), values, 0, 1), wilson(value * count, count)
    assert found.estimate == value
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
@pytest.mark.parametrize("count", [10, 32, 500])
def test_the_bound_fails_no_more_often_than_the_level_says(count, level):
    # A population where a share of images differs hides it from all of a sample with probability
    # (1 - share) ** count; at the bound itself that has to be improbable.
    ones = np.ones(count)
    share = 1 - widened(bootstrap(ones, level=level), ones, 0, 1).low
    assert (1 - share) ** count <= 1 - level


def test_equal_differences_may_be_others_in_images_not_seen():
    ones, zeros = np.ones(40), np.zeros(40)
    others = 1 - wilson(40, 40).low
    same, apart = (paired_means(ones, second, 0.95, 0) for second in (ones, zeros))
    assert (same.estimate, same.low, same.high) == pytest.approx((0, -others, others))
    assert (apart.estimate, apart.low, apart.high) == pytest.approx((1, 1 - 2 * others, 1))


def test_values_that_differ_are_resampled_and_no_more():
    generator = np.random.default_rng(0)
    first, second = generator.random((2, 30))
    assert paired_means(first, second, 0.9, 3) == paired_bootstrap(first, second, level=0.9, seed=3)
    assert paired_medians(first, second, 0.9, 3) == paired_bootstrap(
        first, second, "median", level=0.9, seed=3
    )
    almost = np.r_[np.ones(31), 0.5]
    assert widened(bootstrap(almost), almost, 0, 1) == bootstrap(almost)


def infinite(count, missing):
    values = np.linspace(1, 2, count)
    values[count - missing :] = math.inf
    return values


def test_infinite_values_that_no_resampled_median_reaches_change_nothing():
    finite, first = np.linspace(1, 2, 60), infinite(60, 2)
    far = np.where(np.isinf(first), 1e6, first)
    assert paired_medians(first, finite, 0.95, 0) == paired_bootstrap(far, finite, "median")


def test_an_end_is_infinite_where_resampled_medians_are():
    finite = np.linspace(1, 2, 21)
    some = paired_medians(infinite(21, 9), finite, 0.95, 0)
    assert some.estimate == 0
    assert math.isfinite(some.low)
    assert some.high == math.inf
    other = paired_medians(finite, infinite(21, 9), 0.95, 0)
    assert (other.low, other.estimate) == (-math.inf, 0)
    assert math.isfinite(other.high)
    most = paired_medians(infinite(21, 12), finite, 0.95, 0)
    assert (most.estimate, most.high) == (math.inf, math.inf)
    assert math.isfinite(most.low)
    all_of_them = paired_medians(np.full(21, math.inf), finite, 0.95, 0)
    assert all_of_them.low == math.inf


def test_resamples_without_both_medians_may_be_anything():
    found = paired_medians(infinite(21, 9), infinite(21, 9), 0.95, 0)
    assert (found.low, found.estimate, found.high) == (-math.inf, 0, math.inf)
    neither = paired_medians(infinite(21, 12), infinite(21, 12), 0.95, 0)
    assert all(math.isnan(one) for one in (neither.low, neither.estimate, neither.high))


def test_of_two_values_in_the_middle_the_finite_one_counts():
    # As the order statistics of a median do: it is infinite for more than half of the images.
    found = paired_medians(infinite(20, 10), np.zeros(20), 0.95, 0)
    assert found.estimate == infinite(20, 10)[9]


def test_the_rival_is_the_nearest_that_is_not_told_apart():
    values = [3.0, 1.0, 2.0, 4.0]
    assert rival(values, lambda first, second: True) == (1, None)
    assert rival(values, lambda first, second: False) == (1, 2)
    assert rival(values, lambda first, second: second != 2) == (1, 2)
    assert rival(values, lambda first, second: second == 2) == (1, 0)
    assert rival(values, lambda first, second: False, highest=True) == (3, 0)
    assert rival([5.0], lambda first, second: False) == (0, None)


def test_a_row_is_the_lowest_on_more_images_than_chance_allows():
    def rows(count):
        return np.stack([np.ones(count), np.full(count, 2.0), np.full(count, math.inf)])

    # Two rivals: p is 2 * 2 ** -count for each, and twice that has to be below one in twenty.
    assert not lower_median(rows(6), 0.95)(0, 1)
    few = lower_median(rows(7), 0.95)
    assert few(0, 1)
    assert few(1, 2)
    assert not few(1, 0)


def test_means_differ_where_their_interval_leaves_zero_out():
    outcomes = {"a": np.ones(60), "b": np.zeros(60), "c": np.ones(60)}
    differs = other_mean(outcomes, 0.95, 0)
    assert differs(1, 0)
    assert not differs(0, 2)
    assert not other_mean({"a": np.ones(2), "b": np.zeros(2)}, 0.95, 0)(1, 0)
