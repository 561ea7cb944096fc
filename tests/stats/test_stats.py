"""Intervals against closed forms, simulated coverage and scipy."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from robustkit import stats
from robustkit.errors import InputError


def test_wilson_equals_its_closed_form():
    successes, count, z = 92, 100, scipy_stats.norm.ppf(0.975)
    share = successes / count
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    found = stats.wilson(successes, count)
    assert (found.estimate, found.count) == (share, count)
    assert found.low == pytest.approx(centre - half, abs=1e-12)
    assert found.high == pytest.approx(centre + half, abs=1e-12)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@settings(max_examples=50, deadline=None)
def test_wilson_holds_the_estimate_and_stays_a_proportion(pair: tuple[int, int]):
    found = stats.wilson(*pair)
    assert -1e-12 <= found.low <= found.estimate + 1e-12
    assert found.estimate - 1e-12 <= found.high <= 1 + 1e-12


def test_median_interval_uses_the_textbook_order_statistics():
    # n = 101: the 41st and 61st order statistics cover the median with probability 0.954.
    found = stats.median(np.arange(1.0, 102.0))
    assert (found.low, found.estimate, found.high) == (41.0, 51.0, 61.0)


@pytest.mark.parametrize("count", [6, 25, 101])
def test_median_interval_covers_at_least_as_often_as_it_says(count: int):
    generator = np.random.default_rng(0)
    samples = generator.exponential(size=(2000, count))
    truth = math.log(2)
    covered = sum(
        found.low <= truth <= found.high for found in (stats.median(row) for row in samples)
    )
    # Three standard errors of a share estimated from 2,000 samples.
    assert covered / 2000 > 0.95 - 3 * math.sqrt(0.95 * 0.05 / 2000)


def test_a_sample_too_small_for_the_level_has_infinite_bounds():
    found = stats.median([1.0, 2.0, 3.0])
    assert (found.low, found.estimate, found.high) == (-math.inf, 2.0, math.inf)


def test_censored_values_count_as_larger_than_any_other():
    values = np.r_[np.arange(60.0), np.full(41, np.inf)]
    found = stats.median(values)
    assert found.estimate == 50.0
    assert found.low == 40.0
    assert found.high == math.inf
    assert stats.median(np.r_[np.arange(10.0), np.full(11, np.inf)]).estimate == math.inf


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
@settings(max_examples=50, deadline=None)
def test_median_is_numpys_median(values: list[float]):
    assert stats.median(values).estimate == np.median(values)


def test_bootstrap_of_a_mean_agrees_with_the_normal_interval():
    values = np.random.default_rng(1).normal(3.0, 2.0, size=400)
    found = stats.bootstrap(values, resamples=4000)
    half = 1.96 * values.std(ddof=1) / math.sqrt(400)
    assert found.estimate == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_bootstrap_agrees_with_scipy_for_a_function_of_rows():
    values = np.random.default_rng(2).exponential(size=80)
    found = stats.bootstrap(values, lambda rows: rows.max(axis=1) - rows.min(axis=1))
    peer = scipy_stats.bootstrap(
        (values,),
        lambda rows, axis: rows.max(axis=axis) - rows.min(axis=axis),
        method="percentile",
        n_resamples=2000,
        rng=np.random.default_rng(0),
    ).confidence_interval
    assert found.high == pytest.approx(peer.high, abs=0.05)
    assert found.low == pytest.approx(peer.low, abs=0.5)


def test_pairing_removes_what_the_pairs_share():
    generator = np.random.default_rng(3)
    shared = generator.normal(scale=100.0, size=200)
    first, second = shared + 1.0 + generator.normal(size=200), shared + generator.normal(size=200)
    paired = stats.paired_bootstrap(first, second)
    assert 0 < paired.low < 1 < paired.high
    assert paired.high - paired.low < 1.0
    assert stats.bootstrap(first).high - stats.bootstrap(first).low > 10.0


def test_bootstrap_repeats_with_its_seed_and_leaves_the_global_generator_alone():
    values = np.arange(20.0)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    assert stats.bootstrap(values, seed=5) == stats.bootstrap(values, seed=5)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


@pytest.mark.parametrize(
    "call",
    [
        lambda: stats.wilson(3, 2),
        lambda: stats.wilson(0, 0),
        lambda: stats.median([]),
        lambda: stats.median([1.0, float("nan")]),
        lambda: stats.median([[1.0]]),
        lambda: stats.median([1.0], level=1.0),
        lambda: stats.quantile_interval([1.0], 0.0),
        lambda: stats.bootstrap([1.0], resamples=0),
        lambda: stats.paired_bootstrap([1.0], [1.0, 2.0]),
    ],
)
def test_bad_input_gets_a_clear_error(call):
    with pytest.raises(InputError):
        call()
