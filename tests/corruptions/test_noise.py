"""Noise: the formulas with shared numbers, the exact laws behind them, the published moments."""

import math

import numpy as np
import pytest
import torch
from corruption_parity import held_to
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


NORMAL = {"gaussian_noise": gaussian_noise, "speckle_noise": speckle_noise}


@held_to("gaussian_noise/formula", "gaussian_noise/single")
def test_gaussian_noise_is_its_formula(allowed):
    batch = images(4, (3, 9, 7), dtype=torch.float64)
    noise = draws(4).normal("noise", (3, 9, 7)).double()
    for scale in (0.04, 0.3, 0.38):
        found = gaussian_noise(batch.to(allowed.dtype), draws(4), scale)
        assert found.dtype == allowed.dtype
        allowed.check(found, batch + scale * noise)


@held_to("speckle_noise/formula", "speckle_noise/single")
def test_speckle_noise_is_its_formula(allowed):
    batch = images(4, (3, 9, 7), dtype=torch.float64)
    noise = draws(4).normal("noise", (3, 9, 7)).double()
    for scale in (0.06, 0.3, 0.6):
        found = speckle_noise(batch.to(allowed.dtype), draws(4), scale)
        assert found.dtype == allowed.dtype
        allowed.check(found, batch + batch * noise * scale)


@held_to("gaussian_noise/law", "speckle_noise/law")
@pytest.mark.parametrize("scale", [0.04, 0.38])
def test_normal_noise_has_its_standard_deviation_before_clipping(scale, allowed):
    batch = images(100, (3, 32, 32)).clamp(min=0.1)
    noise = (NORMAL[allowed.name](batch, draws(100), scale) - batch).double()
    noise = noise / (batch if allowed.name == "speckle_noise" else 1) / scale
    count = noise.numel()
    moments = torch.stack([noise.mean(), noise.var()])
    errors = torch.tensor([1, math.sqrt(2)]) / math.sqrt(count)
    allowed.check(moments, torch.tensor([0, 1]), errors)
    assert noise.min() < -4 < 4 < noise.max()


def photons_by_element(levels, bits, table):
    """Return the count that the bits of each element stand for in the row of its level."""
    counts = []
    for level, word in zip(levels.flatten().tolist(), bits.flatten().tolist(), strict=True):
        column, within = divmod(word % 2**32, 2**table.under)
        cell = level * table.size + column % table.size
        alias, own = table.numbers[2 * cell].item(), table.numbers[2 * cell + 1].item()
        counts.append(own if within < table.thresholds[cell].item() else alias)
    return torch.tensor(counts, dtype=torch.float64).reshape(levels.shape)


@held_to("shot_noise/formula", "shot_noise/single")
@pytest.mark.parametrize("rate", [3, 60, 500])
def test_shot_noise_is_looked_up_in_the_tables(rate, allowed):
    batch = images(2, (3, 12, 13), dtype=torch.float64)
    table = poisson._table(rate, torch.device("cpu"))
    bits = draws(2).bits("poisson", (3, 12, 13))
    expected = photons_by_element((batch * 255).round().int(), bits, table) / rate
    allowed.check(shot_noise(batch.to(allowed.dtype), draws(2), rate), expected)


@held_to("shot_noise/between")
@pytest.mark.parametrize("rate", [3, 60, 500])
def test_what_lies_between_two_levels_is_drawn_by_inversion(rate, allowed):
    batch = torch.rand(3, 3, 40, 41, generator=torch.Generator().manual_seed(0)).double()
    table = poisson._table(rate, torch.device("cpu"))
    levels, rest = (batch * 255).floor(), (batch * 255).frac() / 255
    bits = draws(3).bits("poisson", (3, 40, 41))
    uniform = draws(3).uniform("poisson/rest", (3, 40, 41)).double()
    more = scipy_stats.poisson.ppf(uniform.numpy(), rate * rest.numpy()).clip(0)
    expected = photons_by_element(levels.int(), bits, table) + torch.from_numpy(more)
    allowed.check(shot_noise(batch, draws(3), rate), expected / rate)


@held_to("shot_noise/law")
@pytest.mark.parametrize("rate", RATES)
def test_the_tables_hold_the_poisson_law_of_every_level(rate, allowed):
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
    allowed.check(found, expected)
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


@held_to("impulse_noise/formula")
@pytest.mark.parametrize("amount", [0.01, 0.27, 1.0])
def test_impulse_noise_is_its_formula(amount, allowed):
    batch = images(4, (3, 19, 17), dtype=torch.float64)
    signed = draws(4).bits("noise", (3, 19, 17)).double()
    # A number in [0, 1): the lowest share becomes white, the highest black.
    number = (signed + 2**31) / 2**32
    expected = torch.where(number < amount / 2, 1, torch.where(number >= 1 - amount / 2, 0, batch))
    allowed.check(impulse_noise(batch, draws(4), amount), expected)
    allowed.check(impulse_noise(batch.float(), draws(4), amount), expected.float())


@held_to("impulse_noise/law")
@pytest.mark.parametrize("amount", [0.01, 0.27, 1.0])
def test_impulse_noise_sets_elements_with_its_chances(amount, allowed):
    batch = torch.full((200, 3, 40, 40), 0.5)
    result = impulse_noise(batch, draws(200), amount)
    count, half = batch.numel(), amount / 2
    shares = torch.tensor([(result == value).double().mean() for value in (0, 1)])
    allowed.check(shares, torch.tensor([half, half]), math.sqrt(half * (1 - half) / count))
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


@held_to(*(f"{name}_noise/moments" for name in ("gaussian", "shot", "impulse", "speckle")))
@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_the_moments_are_those_of_the_published_code(severity, real_data, allowed):
    published = Published(real_data)
    runs = published.runs(
        lambda seed: corrupt(published.images, allowed.name, severity, seed=seed), 6
    )
    allowed.check_moments(runs, published.moments(allowed.name, severity))
