"""The spatial primitive: its law, its folded modes, what a warp does, and certified warps."""

import math

import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from prime_toys import CPU, augmented, drawn, generator, images

from robustkit.augment import (
    Diffeomorphism,
    displacement_field,
    jacobian_determinants,
    make_invertible,
    temperature_range,
    warp,
)
from robustkit.augment.sine_modes import fold, folded_deviations, sine_series
from robustkit.errors import InputError

HALF = [torch.float16, torch.bfloat16]
SIZES = [(32, 32), (8, 13), (5, 4), (3, 3), (3, 9), (2, 7), (1, 6), (1, 1)]


def noise(*shape, seed=0):
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def typical(side, temperatures, cutoffs):
    return side * (math.pi * temperatures * cutoffs.double().log()).sqrt() / 2


def disc(cutoff, c):
    squares = torch.arange(1, cutoff + 1, dtype=torch.float64).square()
    radii = squares[:, None] + squares
    return (radii < (c + 0.5) ** 2) / radii


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("modes", [(1, 2), (7, 5), (40, 71)])
def test_the_series_is_the_sum_of_its_sines(size, modes):
    coefficients = noise(2, *modes)
    y, x = (torch.linspace(0, 1, side, dtype=torch.float64) for side in size)
    down, across = (
        (math.pi * torch.outer(place, torch.arange(1, count + 1).double())).sin()
        for place, count in zip((y, x), modes, strict=True)
    )
    wanted = torch.einsum("nij,yi,xj->nyx", coefficients, down, across)
    torch.testing.assert_close(sine_series(coefficients, *size), wanted, rtol=0, atol=1e-9)
    folded = fold(coefficients, *size)
    assert folded.shape[1] <= max(size[0] - 2, modes[0] if size[0] - 2 >= modes[0] else 0)
    torch.testing.assert_close(sine_series(folded, *size), wanted, rtol=0, atol=1e-9)


@pytest.mark.parametrize("size", [(6, 6), (4, 9), (3, 3), (32, 20), (2, 5)])
@pytest.mark.parametrize("cutoff", [3, 5, 37])
def test_deviations_are_those_of_folded_coefficients(size, cutoff):
    cutoffs = torch.tensor([2, 3, cutoff])
    found = folded_deviations(cutoffs, cutoff, *size, torch.float64)
    for c, deviations in zip(cutoffs.tolist(), found, strict=True):
        variances = disc(cutoff, c)
        # Folding one coefficient at a time tells where it goes: variances add there.
        wanted = torch.zeros(max(size[0] - 2, 0), max(size[1] - 2, 0), dtype=torch.float64)
        for i, j in variances.nonzero().tolist():
            one = torch.zeros_like(variances)
            one[i, j] = 1
            whole = torch.nn.functional.pad(one, (0, max(size[1], 0), 0, max(size[0], 0)))
            wanted += fold(whole, *size).square() * variances[i, j]
        torch.testing.assert_close(deviations.square(), wanted, rtol=1e-12, atol=1e-14)


def test_coefficients_have_the_stated_variances():
    operation = Diffeomorphism(12)
    warps = drawn(operation, 20_000, (3, 16, 18))
    standard = warps.coefficients / warps.temperatures.sqrt()[:, None, None, None]
    for c in (2, 5, 12):
        chosen = standard[warps.cutoffs == c]
        count = len(chosen)
        assert count > 300
        wanted = torch.zeros(14, 16, dtype=torch.float64)
        wanted[:12, :12] = disc(12, c)
        found = chosen.square().mean((0, 1))
        assert (found[wanted == 0] == 0).all()
        ratios = (found / wanted)[wanted > 0]
        assert ((ratios - 1).abs() < 5 * math.sqrt(2 / (2 * count))).all()
        right, down = (chosen[:, side, wanted > 0] for side in (0, 1))
        correlation = (right * down).mean(0) / wanted[wanted > 0]
        assert (correlation.abs() < 5 / math.sqrt(count)).all()


# Typical displacements in pixels, and the shares of draws at the floor and beyond the grid's modes,
# in draws of the published code.
PUBLISHED = {
    (100, 32): ([0.5, 0.5, 0.5, 1.04, 3.95], 0.47, 0.34),
    (500, 224): ([0.5, 0.5, 0.6, 1.95, 17.7], 0.36, 0.22),
}


@pytest.mark.parametrize("setting", PUBLISHED)
def test_strengths_have_the_published_law(setting):
    (cutoff, side), (quantiles, floor, aliased) = setting, PUBLISHED[setting]
    cutoffs, temperatures = Diffeomorphism(cutoff).strengths(
        40_000, side, generator=generator(), dtype=torch.float64, device=CPU
    )
    assert cutoffs.min() == 2
    assert cutoffs.max() == cutoff
    assert (cutoffs > side - 1).double().mean().item() == pytest.approx(aliased, abs=0.012)
    lowest, highest = temperature_range(cutoffs, side, torch.float64)
    assert (lowest == highest).double().mean().item() == pytest.approx(floor, abs=0.012)
    share = ((temperatures - lowest) / (highest - lowest))[highest > lowest]
    assert scipy.stats.kstest(share.numpy(), scipy.stats.beta(0.5, 0.5).cdf).pvalue > 1e-3
    lengths = typical(side, temperatures, cutoffs)
    found = torch.quantile(lengths, torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95]).double())
    torch.testing.assert_close(found, torch.tensor(quantiles).double(), rtol=0.06, atol=0.02)


def test_cutoffs_follow_the_arcsine_law_below_a_uniform_one():
    source = np.random.default_rng(1)
    largest = source.integers(3, 100, endpoint=True, size=20_000)
    wanted = np.floor(source.beta(0.5, 0.5, size=20_000) * (largest - 1) + 2)
    found = drawn(Diffeomorphism(100), 20_000, (3, 2, 2)).cutoffs.numpy()
    counts = np.stack([np.bincount(c.astype(int), minlength=102)[2:101] for c in (found, wanted)])
    groups = np.add.reduceat(counts, np.arange(0, 99, 6), axis=1)
    assert scipy.stats.chi2_contingency(groups).pvalue > 1e-3


def test_temperatures_give_the_stated_displacements():
    cutoffs = torch.arange(2, 101)
    for side in (32, 224):
        lowest, highest = temperature_range(cutoffs, side, torch.float64)
        torch.testing.assert_close(
            typical(side, lowest, cutoffs), torch.full((99,), 0.5).double(), rtol=1e-12, atol=0
        )
        wanted = (side / (math.pi * cutoffs.double())).clamp(min=0.5)
        torch.testing.assert_close(typical(side, highest, cutoffs), wanted, rtol=1e-12, atol=0)


@pytest.mark.parametrize("c", [10, 25])
def test_displacements_are_as_long_as_is_typical(c):
    cutoffs = torch.full((400,), c)
    deviations = folded_deviations(cutoffs, c, 32, 32, torch.float64)
    field = displacement_field(0.01 * deviations[:, None] * noise(400, 2, 30, 30), 32, 32)
    found = field[..., 8:24, 8:24].square().sum(1).mean().sqrt()
    wanted = typical(32, torch.tensor(1e-4), torch.tensor(c))
    assert found.item() == pytest.approx(wanted.item(), rel=0.15)
    assert (field[..., 0].abs().max(), field[..., -1, :].abs().max()) == (0, 0)


def test_displacements_are_in_units_of_each_side():
    coefficients = torch.zeros(1, 2, 1, 1, dtype=torch.float64)
    coefficients[:] = 0.1
    field = displacement_field(coefficients, 5, 9)
    assert field[0, 0, 2, 4].item() == pytest.approx(0.9)
    assert field[0, 1, 2, 4].item() == pytest.approx(0.5)


@pytest.mark.parametrize("size", [(9, 9), (6, 11)])
def test_a_ramp_shows_the_displacement(size):
    height, width = size
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    ramps = torch.stack([x, y]).double().expand(6, -1, -1, -1)
    displacement = 1.5 * noise(6, 2, *size)
    wanted = (ramps - displacement).clamp(min=0)
    limits = torch.tensor([width - 1.0, height - 1.0]).double()[:, None, None]
    torch.testing.assert_close(
        warp(ramps, displacement), torch.minimum(wanted, limits), rtol=0, atol=1e-10
    )
    single = warp(ramps.float(), displacement.float())
    torch.testing.assert_close(single.double(), torch.minimum(wanted, limits), rtol=0, atol=1e-4)


def test_a_warp_is_bilinear_with_the_border_continued():
    batch, displacement = images(3, (2, 7, 9), dtype=torch.float64), 3 * noise(3, 2, 7, 9)
    result = warp(batch, displacement)
    y, x = np.mgrid[:7, :9]
    for row in range(3):
        right, down = displacement[row].numpy()
        for channel in range(2):
            wanted = scipy.ndimage.map_coordinates(
                batch[row, channel].numpy(), [y - down, x - right], order=1, mode="nearest"
            )
            np.testing.assert_allclose(result[row, channel].numpy(), wanted, atol=1e-12)


@pytest.mark.parametrize("dtype", [*HALF, torch.float32, torch.float64])
def test_without_displacement_it_is_the_identity(dtype):
    batch = images(dtype=dtype)
    result = warp(batch, torch.zeros(4, 2, 12, 10))
    torch.testing.assert_close(result, batch, rtol=0, atol=1e-6)


@pytest.mark.parametrize("certified", [False, True])
def test_a_constant_image_and_the_border_stay(certified):
    operation = Diffeomorphism(20, certified)
    constant = torch.full((5, 3, 9, 14), 0.3)
    torch.testing.assert_close(augmented(operation, constant), constant)
    batch = images(5, (3, 9, 14))
    result = augmented(operation, batch)
    assert (result - batch).abs().max() > 0.01
    border = torch.ones(9, 14, dtype=torch.bool)
    border[1:-1, 1:-1] = False
    torch.testing.assert_close(result[..., border], batch[..., border], rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [*HALF, torch.float32, torch.float64])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_black_and_white_images_stay_in_the_box(value, dtype):
    constant = torch.full((40, 3, 64, 64), value, dtype=dtype)
    result = augmented(Diffeomorphism(), constant)
    torch.testing.assert_close(result, constant, rtol=0, atol=1e-6)
    assert result.min() >= 0
    assert result.max() <= 1


@pytest.mark.parametrize("half", HALF)
def test_autocast_around_it_changes_nothing(half):
    batch, warps = images(), drawn(Diffeomorphism(20), 4, (3, 12, 10), dtype=torch.float32)
    many = noise(4, 2, 20, 20).float()

    def results():
        field = displacement_field(warps.coefficients, 12, 10)
        return [
            field,
            displacement_field(many, 12, 10),
            fold(many, 12, 10),
            make_invertible(field),
            jacobian_determinants(field),
            warp(batch, field),
            Diffeomorphism(20, certified=True).apply(batch, warps),
        ]

    with torch.autocast("cpu", half):
        inside = results()
    for found, wanted in zip(inside, results(), strict=True):
        assert found.dtype == wanted.dtype
        assert torch.equal(found, wanted)


def test_every_image_has_its_warp_unless_they_share_one():
    apart, shared = drawn(Diffeomorphism(), 6), drawn(Diffeomorphism(shared=True), 6)
    assert len(apart.temperatures.unique()) == 6
    fields = displacement_field(apart.coefficients, 32, 32)
    assert (fields[0] - fields[1]).abs().max() > 0.1
    fields = displacement_field(shared.coefficients, 32, 32)
    assert (fields == fields[:1]).all()
    assert (shared.cutoffs == shared.cutoffs[0]).all()
    assert (fields[:, 0] - fields[:, 1]).abs().max() > 0.1


def corners(displacement):
    """The determinant at each corner of each cell, by loops."""
    _, height, width = displacement.shape
    place = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"))
    moved = place.double() - displacement.flip(0)
    found = torch.empty(4, height - 1, width - 1, dtype=torch.float64)
    for y in range(height - 1):
        for x in range(width - 1):
            for corner, (below, beside) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
                across = moved[:, y + below, x + 1] - moved[:, y + below, x]
                down = moved[:, y + 1, x + beside] - moved[:, y, x + beside]
                found[corner, y, x] = across[1] * down[0] - across[0] * down[1]
    return found


def test_determinants_are_those_of_the_cells():
    displacement = noise(2, 2, 5, 6)
    for row, found in zip(displacement, jacobian_determinants(displacement), strict=True):
        torch.testing.assert_close(found, corners(row))


def test_a_certified_warp_never_folds_over_and_goes_as_far_as_it_may():
    field = displacement_field(
        noise(60, 2, 5, 5) * torch.logspace(-3, -0.5, 60)[:, None, None, None], 20, 24
    )
    kept = field.clone()
    folds = jacobian_determinants(field).flatten(1).amin(1) <= 0
    assert 10 < folds.sum() < 50
    safe = make_invertible(field)
    assert torch.equal(field, kept)
    assert (jacobian_determinants(safe).flatten(1).amin(1) > 0).all()
    shrunk = (safe != field).flatten(1).any(1)
    assert shrunk[folds].all()
    # Those that it shrank are at 95 % of the way to the first fold; 5.4 % more and they fold.
    beyond = jacobian_determinants(safe[shrunk] / 0.95 * 1.001).flatten(1).amin(1)
    assert (beyond < 0).all()
    within = jacobian_determinants(safe[shrunk] / 0.95 * 0.999).flatten(1).amin(1)
    assert (within > 0).all()


@pytest.mark.parametrize("size", [(32, 32), (20, 31)])
def test_the_certified_operation_has_positive_determinants(size):
    height, width = size
    warps = drawn(Diffeomorphism(8), 300, (3, *size))
    field = displacement_field(warps.coefficients, *size)
    assert (jacobian_determinants(field).flatten(1).amin(1) <= 0).any()
    # What the warp does to coordinates is the map itself.
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    ramps = (torch.stack([x, y]).double() / 32).expand(300, -1, -1, -1)
    moved = Diffeomorphism(8, certified=True).apply(ramps, warps) * 32
    found = ramps * 32 - moved
    assert (jacobian_determinants(found).flatten(1).amin(1) > 0).all()


def test_a_small_warp_is_inverted_by_its_fixed_points():
    field = make_invertible(displacement_field(0.02 * noise(3, 2, 3, 3), 24, 24), share=0.25)
    y, x = np.mgrid[:24, :24].astype(float)
    for right, down in field.numpy():
        for part in (right, down):
            assert sum(np.abs(np.diff(part, axis=axis)).max() for axis in (0, 1)) < 0.7

        def at(part, y, x):
            return scipy.ndimage.map_coordinates(part, [y, x], order=1, mode="nearest")

        back_y, back_x = y, x
        for _ in range(20):
            back_y, back_x = y + at(down, back_y, back_x), x + at(right, back_y, back_x)
        np.testing.assert_allclose(back_y - at(down, back_y, back_x), y, atol=1e-3)
        np.testing.assert_allclose(back_x - at(right, back_y, back_x), x, atol=1e-3)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    count=st.integers(1, 3),
    channels=st.integers(1, 4),
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    certified=st.booleans(),
    dtype=st.sampled_from([*HALF, torch.float32, torch.float64]),
)
def test_any_image_stays_in_the_box_and_rows_are_alone(
    seed, count, channels, height, width, certified, dtype
):
    batch = images(count, (channels, height, width), seed, dtype)
    kept = batch.clone()
    operation = Diffeomorphism(30, certified)
    warps = drawn(operation, count, batch.shape[1:], seed, dtype)
    result = operation.apply(batch, warps)
    assert torch.equal(batch, kept)
    assert (result.dtype, result.shape) == (dtype, batch.shape)
    assert ((result >= 0) & (result <= 1)).all()
    alone = operation.apply(
        batch[-1:],
        type(warps)(warps.cutoffs[-1:], warps.temperatures[-1:], warps.coefficients[-1:]),
    )
    torch.testing.assert_close(result[-1:], alone, rtol=0, atol=1e-5 + torch.finfo(dtype).eps)


def test_what_cannot_be_done_is_refused():
    with pytest.raises(InputError, match="at least 3"):
        Diffeomorphism(2)
    for shape in [(4, 2, 10, 12), (3, 2, 12, 10), (4, 3, 12, 10), (2, 12, 10)]:
        with pytest.raises(InputError, match="displacement must be"):
            warp(images(), torch.zeros(shape))
    wrong = [torch.zeros(2, 5, 5), torch.zeros(3, 3, 5, 5), torch.zeros(3, 2, 5, 5).long()]
    for values in wrong:
        with pytest.raises(InputError, match="coefficients must be"):
            displacement_field(values, 8, 8)
        for function in (make_invertible, jacobian_determinants):
            with pytest.raises(InputError, match="displacement must be"):
                function(values)
    with pytest.raises(InputError, match="height and width"):
        displacement_field(torch.zeros(3, 2, 5, 5), 0, 8)
    with pytest.raises(InputError, match="8-bit"):
        warp(torch.zeros(1, 3, 4, 4, dtype=torch.uint8), torch.zeros(1, 2, 4, 4))
    with pytest.raises(InputError, match="unsqueeze"):
        warp(torch.zeros(3, 4, 4), torch.zeros(1, 2, 4, 4))
