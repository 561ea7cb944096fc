"""Budgets: what a plan costs, how it divides, and the precision that images buy."""

import itertools
import math

import pytest
import torch
from card_toys import levels, sample_of, settings, two_classes
from hypothesis import given
from hypothesis import strategies as st

from robustkit.errors import InputError
from robustkit.report_card import AXES
from robustkit.report_card.budget import (
    LEAST,
    Passes,
    Rates,
    half_width,
    measure_rates,
    passes_of,
    plan_samples,
)


def total(costs, counts):
    return sum(costs[axis] * count for axis, count in counts.items())


def test_passes_cost_what_the_rates_say():
    rates = Rates(forward=0.5, backward=2.0, corruption=0.25, selection=8.0)
    assert Passes(3, 2, 4, 1).seconds(rates) == 1.5 + 4 + 1 + 8


def test_passes_follow_from_what_is_measured():
    found = passes_of(AXES, (3, 32, 32), settings(severities=(1, 3)))
    assert set(found) == {*AXES} - {"rics"}
    assert found["clean"] == Passes(1)
    assert found["corruptions"] == Passes(31, 0, 30)
    assert found["translation"] == Passes(1.25 * 50, 0, 0, 1)
    assert passes_of(("translation",), (3, 32, 32), settings())["translation"] == Passes(50)
    assert set(passes_of(("rics",), (3, 32, 32), settings())) == {"translation"}
    # 13 bands and the whole space, where 224 pixels have 14.
    assert found["spectrum"].forwards == 14 * 20
    assert passes_of(("spectrum",), (3, 224, 224), settings())["spectrum"].forwards == 15 * 20


def test_equal_costs_get_equal_samples():
    counts = plan_samples({"a": 0.1, "b": 0.1}, available=10_000, minutes=1)
    # Nine tenths of a minute, at a tenth of a second an image, for two axes.
    assert counts == {"a": 270, "b": 270}


def test_what_is_spent_already_buys_nothing():
    assert plan_samples({"a": 0.1}, available=10_000, minutes=1, spent=24) == {"a": 300}
    with pytest.raises(InputError, match=r"take about 1\.1 minutes"):
        plan_samples({"a": 0.5}, available=100, minutes=1, spent=52)


def test_samples_are_inversely_proportional_to_the_root_of_the_cost():
    counts = plan_samples({"a": 0.01, "b": 1.0}, available=10**6, minutes=60)
    assert counts["a"] / counts["b"] == pytest.approx(10, rel=0.01)


def test_no_axis_gets_more_images_than_there_are_and_the_rest_goes_to_the_others():
    counts = plan_samples({"cheap": 1e-6, "dear": 0.1}, available=300, minutes=0.5)
    assert counts == {"cheap": 300, "dear": 269}
    assert plan_samples({"a": 1e-6, "b": 1e-5}, available=300, minutes=5) == {"a": 300, "b": 300}


def test_no_axis_gets_fewer_than_a_handful():
    counts = plan_samples({"cheap": 0.001, "dear": 6.0}, available=10_000, minutes=1)
    assert counts["dear"] == LEAST
    assert plan_samples({"a": 1.0}, available=3, minutes=1) == {"a": 3}


def test_too_small_a_budget_says_how_much_is_needed():
    with pytest.raises(InputError, match=r"8 images an axis take about 2\.7 minutes"):
        plan_samples({"a": 18.0}, available=100, minutes=1)


@pytest.mark.parametrize("minutes", [0, -1, math.inf, math.nan])
def test_a_budget_is_a_positive_number_of_minutes(minutes):
    with pytest.raises(InputError, match="budget must be a positive number"):
        plan_samples({"a": 0.1}, available=100, minutes=minutes)


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.floats(1e-5, 1.0), min_size=1),
    st.integers(LEAST, 5000),
    st.floats(1, 60),
)
def test_a_plan_keeps_to_the_budget_and_leaves_little_of_it(costs, available, minutes):
    counts = plan_samples(costs, available=available, minutes=minutes)
    seconds = 0.9 * 60 * minutes
    assert all(LEAST <= count <= available for count in counts.values())
    assert total(costs, counts) <= seconds
    # What is left would not buy one more image of every axis that has room, and nobody is
    # better off by a cheaper axis having fewer images than a dearer one.
    room = [axis for axis in costs if counts[axis] < available]
    if room:
        steps = sum(costs[axis] * (1 + counts[axis] * 1e-6) for axis in room)
        assert total(costs, counts) + 2 * steps > seconds or min(counts[a] for a in room) == LEAST
    ordered = sorted(costs, key=costs.__getitem__)
    assert all(counts[one] >= counts[other] for one, other in itertools.pairwise(ordered))


@pytest.mark.parametrize("count", [2, 10, 500, 10_000])
def test_half_a_width_is_wilsons_at_one_half(count):
    z = 1.959963984540054
    expected = z / (1 + z**2 / count) * math.sqrt(0.25 / count + z**2 / (4 * count**2))
    assert half_width(count) == pytest.approx(expected, rel=1e-6)


def test_four_times_the_images_halve_the_width():
    assert half_width(400) / half_width(1600) == pytest.approx(2, rel=0.01)
    assert half_width(100, level=0.99) > half_width(100)


def test_rates_are_times_an_image():
    """A clock that adds a fixed time to each look: every block then took that long."""
    ticks = iter(range(1000))
    sample = sample_of(levels(10), torch.zeros(10, dtype=torch.long))
    rates = measure_rates(two_classes(), sample, settings(), clock=lambda: float(next(ticks)))
    # Each of the four is looked at twice; three repeats of ten images, or of four.
    assert rates.forward == pytest.approx(1 / 30)
    assert rates.backward == 0
    assert rates.corruption == pytest.approx(1 / (3 * 4 * 15))
    assert rates.selection == pytest.approx(1 / 12)


def test_rates_leave_the_model_as_it_was():
    model = two_classes()
    sample = sample_of(levels(4), torch.zeros(4, dtype=torch.long))
    with torch.inference_mode():
        measure_rates(model, sample, settings())
    assert all(parameter.grad is None for parameter in model.parameters())
