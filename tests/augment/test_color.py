"""The color primitive: its law, its fixed points, and the table that stands for the curve."""

import math

import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from prime_toys import augmented, drawn, generator, images

from robustkit.augment import Color, ToneCurves, tone_curve
from robustkit.augment.tone_tables import curve_tables, table_cells
from robustkit.errors import InputError

HALF = [torch.float16, torch.bfloat16]
CIFAR, IMAGENET = Color(100, 0.01), Color(500, 0.05, 20)


def curve(values, coefficients, first):
    """The sum of sines in float64, for values (P,), coefficients (R, K) and first (R,)."""
    values, coefficients = values.double(), coefficients.double()
    frequencies = (first[:, None] + torch.arange(coefficients.shape[1])).double()
    waves = (math.pi * frequencies[:, :, None] * values).sin()
    return values + (coefficients[:, :, None] * waves).sum(1)


def strongest(preset, count, seed=0):
    """Curves of the largest strength and the highest frequencies that a preset can draw."""
    width = preset.band or preset.cutoff
    first = torch.full((count,), preset.cutoff - width + 1)
    noise = torch.randn(count, 3, width, generator=generator(seed))
    return first, math.sqrt(preset.temperature) * noise


def cells(preset):
    return table_cells(preset.cutoff, preset.band or preset.cutoff, preset.temperature)


def test_without_strength_it_is_the_identity():
    for band in (None, 20):
        batch = images()
        torch.testing.assert_close(augmented(Color(100, 0.0, band), batch), batch)


@pytest.mark.parametrize("preset", [CIFAR, IMAGENET])
@pytest.mark.parametrize("dtype", [*HALF, torch.float32, torch.float64])
def test_black_and_white_stay_exactly(preset, dtype):
    batch = torch.zeros(50, 3, 2, 1, dtype=dtype)
    batch[:, :, 1] = 1
    assert torch.equal(augmented(preset, batch), batch)


def test_the_law_of_frequencies_and_strengths_without_a_band():
    operation = Color(40, 0.05)
    curves = drawn(operation, 4000, (30, 2, 2))
    assert (curves.first == 1).all()
    used = curves.coefficients != 0
    last = used[:, 0].sum(1)
    assert (used == (torch.arange(1, 41) <= last[:, None])[:, None]).all()
    counts = torch.bincount(last, minlength=41)[1:]
    assert scipy.stats.chisquare(counts.numpy()).pvalue > 1e-3
    # Thirty channels of many coefficients tell the temperature of an image.
    power = curves.coefficients.square().sum((1, 2)) / (30 * last)
    assert scipy.stats.kstest((power / 0.05)[last > 20].numpy(), "uniform").pvalue > 1e-3
    assert abs(scipy.stats.spearmanr(last.numpy(), power.numpy()).statistic) < 0.06


def test_the_law_of_bands():
    operation = Color(60, 0.05, 20)
    curves = drawn(operation, 40_000, (1, 2, 2), seed=1)
    first, width = curves.first, (curves.coefficients != 0).sum((1, 2))
    assert curves.coefficients.shape[2] == 20
    assert (first.min(), width.max()) == (1, 20)
    assert (first + width - 1).max() == 60
    # K is uniform on 1..60 and the first on 1..K: summed over K, a harmonic tail.
    chances = torch.tensor([sum(1 / k for k in range(f, 61)) / 60 for f in range(1, 61)])
    counts = torch.bincount(first, minlength=61)[1:]
    wanted = chances.double() / chances.double().sum() * len(first)
    assert scipy.stats.chisquare(counts.numpy(), wanted.numpy()).pvalue > 1e-3
    # Full bands are those with first <= K - 19.
    full = sum(max(k - 19, 0) / k for k in range(1, 61)) / 60
    assert (width == 20).double().mean().item() == pytest.approx(full, abs=0.01)


@pytest.mark.parametrize("preset", [CIFAR, IMAGENET])
def test_the_variance_of_the_curve(preset):
    first, coefficients = strongest(preset, 1000)
    values = torch.tensor([0.1, 0.25, 0.5])
    batch = values.reshape(1, 1, 1, 3).expand(1000, 3, -1, -1).double()
    moved = tone_curve(batch, coefficients.double(), first, cells=cells(preset)) - batch
    frequencies = first[0] + torch.arange(coefficients.shape[2])
    sines = (math.pi * frequencies * values[:, None].double()).sin()
    wanted = preset.temperature * sines.square().sum(1)
    found = moved.square().mean((0, 1, 2))
    assert ((found / wanted - 1).abs() < 5 * math.sqrt(2 / 3000)).all()
    # Channels and images have curves of their own.
    parts = moved[:, :, 0, 1]
    assert abs((parts[:, 0] * parts[:, 1]).mean() / wanted[1]) < 5 / math.sqrt(1000)
    assert abs((parts[:-1] * parts[1:]).mean() / wanted[1]) < 5 / math.sqrt(3000)


@pytest.mark.parametrize("preset", [CIFAR, IMAGENET])
def test_both_presets_reach_the_same_strength(preset):
    first, coefficients = strongest(preset, 400, seed=1)
    values = torch.linspace(0, 1, 2001).reshape(1, 1, 1, -1).expand(400, 3, -1, -1)
    moved = tone_curve(values, coefficients, first, cells=cells(preset)) - values
    assert moved.square().mean().sqrt().item() == pytest.approx(math.sqrt(0.5), rel=0.03)


@pytest.mark.parametrize("preset", [CIFAR, IMAGENET])
def test_the_table_is_off_by_less_than_half_a_step_of_eight_bits(preset):
    first, coefficients = strongest(preset, 100, seed=2)
    values = torch.rand(2, 1000, generator=generator()).flatten()
    batch = values.reshape(1, 1, 1, -1).expand(100, 3, -1, -1)
    found = tone_curve(batch, coefficients, first, cells=cells(preset))
    wanted = curve(values, coefficients.flatten(0, 1), first.repeat_interleave(3))
    errors = (found.flatten(0, 2).double() - wanted).abs()
    assert errors.max() < 1 / 510
    frequencies = (first[0] + torch.arange(coefficients.shape[2])).double()
    bound = coefficients.flatten(0, 1).double().abs() @ frequencies.square()
    bound *= math.pi**2 / (16 * cells(preset) ** 2)
    assert (errors.amax(1) <= 1.01 * bound + 1e-4).all()


@pytest.mark.parametrize("first", [None, torch.tensor([1, 4, 17])])
def test_the_table_has_the_curve_at_its_knots_and_the_error_on_both_sides(first):
    coefficients = torch.randn(3, 2, 6, generator=generator(), dtype=torch.float64)
    cells = 2048
    tables = curve_tables(coefficients, first, cells=cells)
    knots = torch.linspace(0, 1, cells + 1, dtype=torch.float64)
    lowest = torch.ones(3, dtype=torch.int64) if first is None else first
    rows, starts = coefficients.flatten(0, 1), lowest.repeat_interleave(2)
    above = tables.flatten(0, 1) - curve(knots, rows, starts)
    middle = (tables[..., 1:] + tables[..., :-1]).flatten(0, 1) / 2
    below = middle - curve((knots[1:] + knots[:-1]) / 2, rows, starts)
    # What linear interpolation on the curve itself would be off by in the middles.
    usual = (curve(knots[1:], rows, starts) + curve(knots[:-1], rows, starts)) / 2
    usual = usual - curve((knots[1:] + knots[:-1]) / 2, rows, starts)
    torch.testing.assert_close(below, usual / 2, rtol=0, atol=1e-3 * usual.abs().max().item())
    assert above.abs().max() < 0.51 * usual.abs().max()
    assert (tables[..., 0] == 0).all()
    assert (tables[..., -1] == 1).all()


def test_it_is_pointwise():
    batch = images(3, (3, 6, 7))
    curves = drawn(CIFAR, 3, dtype=torch.float32)
    order = torch.randperm(42, generator=generator())
    shuffled = batch.flatten(2)[..., order].reshape(batch.shape)
    whole = CIFAR.apply(batch, curves).flatten(2)[..., order].reshape(batch.shape)
    assert torch.equal(CIFAR.apply(shuffled, curves), whole)


def test_it_clips_and_nothing_else_does():
    batch = torch.linspace(0, 1, 500).reshape(1, 1, 1, -1)
    curves = ToneCurves(torch.tensor([1]), torch.tensor([[[0.0, 2.0]]]))
    bare = tone_curve(batch, curves.coefficients, cells=500)
    assert bare.min() < -0.5
    assert bare.max() > 1.5
    torch.testing.assert_close(
        bare[0, 0],
        curve(batch.flatten(), torch.tensor([[0, 2.0]]), curves.first).float(),
        rtol=0,
        atol=2e-3,
    )
    torch.testing.assert_close(
        Color(2, 1.0).apply(batch, curves),
        bare.clamp(0, 1),
        rtol=0,
        atol=2e-3,
    )


@pytest.mark.parametrize("preset", [CIFAR, IMAGENET])
def test_every_image_has_its_strength_unless_they_share_one(preset):
    count = 200
    apart = drawn(preset, count)
    shared = drawn(Color(preset.cutoff, preset.temperature, preset.band, shared=True), count)
    powers = shared.coefficients.square().sum((1, 2))
    # Draws of one variance: their spread is that of chi-square, and no coefficients are equal.
    used = (shared.coefficients[0, 0] != 0).sum() * 3
    assert powers.std() / powers.mean() < 2 * math.sqrt(2 / used)
    assert powers.unique().numel() == count
    assert (shared.first == shared.first[0]).all()
    assert ((shared.coefficients != 0) == (shared.coefficients[:1] != 0)).all()
    assert (apart.coefficients != 0).sum(2)[:, 0].unique().numel() > 5


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    count=st.integers(1, 3),
    channels=st.integers(1, 4),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    band=st.sampled_from([None, 1, 5, 200]),
    dtype=st.sampled_from([*HALF, torch.float32, torch.float64]),
)
def test_any_image_stays_in_the_box_and_rows_are_alone(
    seed, count, channels, height, width, band, dtype
):
    batch = images(count, (channels, height, width), seed, dtype)
    kept = batch.clone()
    operation = Color(50, 0.1, band)
    curves = drawn(operation, count, batch.shape[1:], seed, dtype)
    result = operation.apply(batch, curves)
    assert torch.equal(batch, kept)
    assert (result.dtype, result.shape) == (dtype, batch.shape)
    assert ((result >= 0) & (result <= 1)).all()
    alone = operation.apply(batch[-1:], ToneCurves(curves.first[-1:], curves.coefficients[-1:]))
    torch.testing.assert_close(result[-1:], alone, rtol=0, atol=1e-5 + torch.finfo(dtype).eps)


@pytest.mark.parametrize("first", [None, torch.tensor([1, 40, 170])])
def test_by_default_each_sine_is_off_by_no_more_than_stated(first):
    values = torch.rand(3000, generator=generator(), dtype=torch.float64)
    batch = values.reshape(1, 1, 1, -1).expand(3, 2, -1, -1)
    lowest = torch.ones(3, dtype=torch.int64) if first is None else first
    for k in (0, 6):
        coefficients = torch.zeros(3, 2, 7, dtype=torch.float64)
        coefficients[:, :, k] = 1
        found = tone_curve(batch, coefficients, first).flatten(0, 2)
        wanted = curve(values, coefficients.flatten(0, 1), lowest.repeat_interleave(2))
        errors = (found - wanted).abs().amax(1)
        assert errors.max() < 0.0007
    # The highest frequency of all is off by as much.
    assert errors.max() > 0.0005
    still = tone_curve(batch, torch.zeros(3, 2, 0, dtype=torch.float64))
    torch.testing.assert_close(still, batch)


@pytest.mark.parametrize("preset", [CIFAR, IMAGENET])
@pytest.mark.parametrize("half", HALF)
def test_autocast_around_it_changes_nothing(preset, half):
    batch, curves = images(), drawn(preset, 4, dtype=torch.float32)
    with torch.autocast("cpu", half):
        found = preset.apply(batch, curves)
        bare = tone_curve(batch, curves.coefficients, curves.first)
    assert torch.equal(found, preset.apply(batch, curves))
    assert torch.equal(bare, tone_curve(batch, curves.coefficients, curves.first))


def test_what_cannot_be_done_is_refused():
    for arguments in ({"cutoff": 0}, {"band": 0}, {"temperature": -0.1}, {"temperature": math.inf}):
        with pytest.raises(InputError, match="at least"):
            Color(**arguments)
    with pytest.raises(InputError, match="a row a channel"):
        tone_curve(images(), torch.zeros(4, 2, 5), cells=100)
    with pytest.raises(InputError, match="cells"):
        tone_curve(images(), torch.zeros(4, 3, 5), cells=0)
