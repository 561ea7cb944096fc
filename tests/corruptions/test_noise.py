"""Noise: the formulas with shared numbers, the exact laws behind them, the published moments."""

import math

import numpy as np
import pytest
import torch
from corruption_toys import Published, draws, images
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from robustkit.corruptions import corrupt, poisson
from robustkit.corruptions.noise import (
    gaussian_noise,
    impulse_noise,
    shot_noise,
    speckle_noise,
)

RATES = [3, 5, 12, 15, 25, 30, 50, 60, 75, 100, 250, 500]
FUNCTIONS = [(gaussian_noise, 0.1), (shot_noise, 60), (impulse_noise, 0.1), (speckle_noise, 0.2)]


def flat(level, count=400, side=50):
    return torch.full((count, 1, side, side), level / 255)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gaussian_and_speckle_are_their_formulas(dtype):
    batch = images(4, (3, 9, 7), dtype=dtype)
    noise = draws(4).normal("noise", (3, 9, 7)).to(dtype)
    gaussian, speckle = gaussian_noise(batch, draws(4), 0.3), speckle_noise(batch, draws(4), 0.3)
    assert gaussian.dtype == speckle.dtype == dtype
    torch.testing.assert_close(gaussian, batch + 0.3 * noise, rtol=0, atol=1e-6)
    torch.testing.assert_close(speckle, batch + batch * noise * 0.3, rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", [0.04, 0.38])
def test_gaussian_noise_has_its_standard_deviation_before_clipping(scale):
    batch = images(100, (3, 32, 32))
    noise = (gaussian_noise(batch, draws(100), scale) - batch).double()
    count = noise.numel()
    assert abs(noise.mean()) < 4 * scale / math.sqrt(count)
    assert abs(noise.var() / scale**2 - 1) < 4 * math.sqrt(2 / count)
    assert noise.min() < -4 * scale < 4 * scale < noise.max()


@pytest.mark.parametrize("rate", RATES)
def test_the_tables_hold_the_poisson_law_of_every_level(rate):
    table = poisson._table(float(rate), torch.device("cpu"))
    size, under = table.size, table.under
    thresholds = table.thresholds.reshape(256, size).double().numpy()
    # What a draw of 32 uniform bits returns, counted over all of them.
    alias, own = table.numbers.reshape(256, size, 2).unbind(-1)
    highest = int(max(alias.max(), own.max()))
    found = np.zeros((256, highest + 1))
    levels = np.arange(256)[:, None]
    np.add.at(found, (levels, own.long().numpy()), thresholds / 2**under / size)
    np.add.at(found, (levels, alias.long().numpy()), (1 - thresholds / 2**under) / size)
    expected = scipy_stats.poisson.pmf(np.arange(highest + 1), rate * levels / 255)
    assert np.abs(found - expected).sum(axis=1).max() / 2 < 1e-6
    assert np.abs(found - expected).max() < 1e-8


@pytest.mark.parametrize("rate", [3, 60, 500])
@pytest.mark.parametrize("level", [1, 100, 255])
def test_shot_noise_follows_the_law(rate, level):
    counts = shot_noise(flat(level), draws(400), rate).mul(rate).round().long()
    mean = rate * level / 255
    low, high = int(scipy_stats.poisson.ppf(1e-3, mean)), int(scipy_stats.poisson.isf(1e-3, mean))
    inside = torch.bincount(counts.flatten().clamp(low, high) - low).numpy()
    expected = scipy_stats.poisson.pmf(np.arange(low, high + 1), mean)
    expected[0] = scipy_stats.poisson.cdf(low, mean)
    expected[-1] = scipy_stats.poisson.sf(high - 1, mean)
    assert scipy_stats.chisquare(inside, expected * counts.numel()).pvalue > 1e-4


@pytest.mark.parametrize("fraction", [0.0021, 0.3333, 0.9999])
@pytest.mark.parametrize("rate", [5, 500])
def test_shot_noise_of_a_number_between_two_levels_follows_the_law(fraction, rate):
    batch = torch.full((400, 1, 50, 50), fraction, dtype=torch.float64)
    result = shot_noise(batch, draws(400), rate)
    assert result.dtype == torch.float64
    counts = (result * rate).round()
    mean, count = rate * fraction, counts.numel()
    assert abs(counts.mean() - mean) < 4 * math.sqrt(mean / count)
    spread = math.sqrt((mean + 2 * mean**2) / count)
    assert abs(counts.var() - mean) < 4 * spread
    for number in range(4):
        expected = float(scipy_stats.poisson.pmf(number, mean))
        found = (counts == number).double().mean().item()
        assert abs(found - expected) < 4 * math.sqrt(expected / count) + 1e-6


def test_shot_noise_keeps_black_and_knows_8_bit_levels():
    assert (shot_noise(flat(0), draws(400), 500) == 0).all()
    batch = images(5, (3, 8, 8))
    # Levels over 255 in any precision have no part between two levels.
    for dtype in (torch.float32, torch.float64):
        levels = (batch * 255).round().to(dtype) / 255
        _, rest = poisson._split(levels)
        assert (rest == 0).all()
    # One image with such a part leaves the numbers of the others alone.
    mixed = torch.cat([batch[:4], batch[4:] * 0.9937])
    whole = shot_noise(batch, draws(5), 50)
    assert torch.equal(shot_noise(mixed, draws(5), 50)[:4], whole[:4])


@pytest.mark.parametrize("amount", [0.01, 0.27, 1.0])
def test_impulse_noise_sets_elements_with_its_chances(amount):
    batch = torch.full((200, 3, 40, 40), 0.5)
    result = impulse_noise(batch, draws(200), amount)
    count = batch.numel()
    for value in (0, 1):
        found = int((result == value).sum())
        assert abs(found - amount / 2 * count) < 4 * math.sqrt(amount / 2 * count)
    assert ((result == 0) | (result == 1) | (result == 0.5)).all()
    # Channels are hit independently: all three together with the third power.
    all_three = (result != 0.5).all(dim=1).double().mean().item()
    pixels = count / 3
    assert abs(all_three - amount**3) <= 4 * math.sqrt(amount**3 / pixels) + 1e-9


def test_impulse_noise_without_amount_is_the_identity():
    batch = images(3, (3, 9, 9))
    assert torch.equal(impulse_noise(batch, draws(3), 0.0), batch)


@pytest.mark.parametrize(("function", "parameter"), FUNCTIONS)
@given(order=st.permutations(range(5)), count=st.integers(1, 5))
@settings(max_examples=10, deadline=None)
def test_an_image_is_changed_alike_in_any_batch(function, parameter, order, count):
    batch, rows = images(5, (3, 7, 6)), torch.tensor(order)[:count]
    whole = function(batch, draws(5), parameter)
    kept = batch.clone()
    part = function(batch[rows], type(draws(1))(0, "test/1", rows), parameter)
    assert torch.equal(part, whole[rows])
    assert torch.equal(batch, kept)


@pytest.mark.parametrize("name", ["gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise"])
def test_the_moments_are_those_of_the_published_code(name, real_data):
    published = Published(real_data)
    for severity in range(1, 6):
        expected = published.moments(name, severity)
        found = published.moments_of(corrupt(published.images, name, severity))
        # Seven runs in all; the published ones say how far runs lie apart.
        spread = expected.std(axis=0, ddof=1)
        assert (np.abs(found - expected.mean(axis=0)) < 6 * spread + 1e-4).all()
