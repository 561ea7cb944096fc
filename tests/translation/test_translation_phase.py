"""Between pixels: all real circular shifts of a band-limited image have one canonical form."""

import math

import pytest
import torch

from robustkit.errors import InputError
from robustkit.translation.phase import phase_canonical

SIZES = [(16, 16), (15, 15), (15, 18), (8, 9), (32, 5)]


def waves(height, width, count=12, seed=0):
    """Frequencies below the Nyquist one, amplitudes and phases, for two channels."""
    generator = torch.Generator().manual_seed(seed)
    high, wide = (height - 1) // 2, (width - 1) // 2
    down = torch.randint(-high, high + 1, (count,), generator=generator)
    across = torch.randint(-wide, wide + 1, (count,), generator=generator)
    down[:2], across[:2] = torch.tensor([1, 0]), torch.tensor([0, 1])
    amplitude, phase = torch.rand(2, 2, count, generator=generator, dtype=torch.float64)
    return down, across, 0.4 / count * (amplitude + 0.2), 2 * math.pi * phase


def drawn(height, width, shifts, seed=0):
    """The sum of the waves at every pixel, moved by real shifts: no transform is involved."""
    down, across, amplitude, phase = waves(height, width, seed=seed)
    rows = torch.arange(height, dtype=torch.float64)[:, None, None] - shifts[:, 0, None, None, None]
    columns = torch.arange(width, dtype=torch.float64)[:, None] - shifts[:, 1, None, None, None]
    angle = 2 * math.pi * (rows * down / height + columns * across / width)
    return 0.5 + (amplitude[:, None, None] * torch.cos(angle[:, None] + phase[:, None, None])).sum(
        4
    )


def real_shifts(count, seed=0):
    return 40 * torch.rand(count, 2, generator=torch.Generator().manual_seed(seed)).double() - 20


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("seed", range(4))
def test_all_real_shifts_have_one_canonical_form(size, seed):
    images = drawn(*size, torch.cat([torch.zeros(1, 2).double(), real_shifts(20, seed)]), seed)
    assert (images[1:] - images[:1]).abs().amax(dim=(1, 2, 3)).min() > 1e-2
    found = phase_canonical(images)
    torch.testing.assert_close(found, found[:1].expand_as(found), rtol=0, atol=1e-9)
    # It is a shift of the image, and its own canonical form.
    torch.testing.assert_close(phase_canonical(found), found, rtol=0, atol=1e-12)
    torch.testing.assert_close(
        found.square().sum(dim=(1, 2, 3)), images.square().sum(dim=(1, 2, 3)), rtol=1e-12, atol=0
    )


@pytest.mark.parametrize("shift", [(0.0, 0.0), (3.0, 5.0), (0.37, -2.81)])
def test_the_lowest_waves_have_phase_zero(shift):
    rows = torch.arange(12, dtype=torch.float64)[:, None] - shift[0]
    columns = torch.arange(9, dtype=torch.float64) - shift[1]
    image = 0.5 + 0.2 * torch.cos(2 * math.pi * rows / 12 + 1.1)
    image = (image + 0.1 * torch.cos(2 * math.pi * columns / 9 - 0.4))[None, None]
    down = torch.cos(2 * math.pi * torch.arange(12).double() / 12)[:, None]
    across = torch.cos(2 * math.pi * torch.arange(9).double() / 9)
    expected = (0.5 + 0.2 * down + 0.1 * across)[None, None]
    torch.testing.assert_close(phase_canonical(image), expected, rtol=0, atol=1e-13)


def test_of_even_sides_the_highest_frequency_is_left_out():
    noise = torch.rand(1, 3, 16, 12, generator=torch.Generator().manual_seed(0)).double()
    spectrum = torch.fft.fft2(noise)
    spectrum[..., 8, :], spectrum[..., :, 6] = 0, 0
    limited = torch.fft.ifft2(spectrum).real.clamp(0, 1)
    assert (limited - noise).abs().max() > 0.05
    spectrum = torch.fft.fft2(noise)
    rolls = torch.cat([noise.roll(move, (2, 3)) for move in [(0, 0), (1, 0), (7, 5), (15, 11)]])
    found = phase_canonical(rolls)
    torch.testing.assert_close(found, found[:1].expand_as(found), rtol=0, atol=1e-12)
    kept = torch.fft.fft2(found)
    assert kept[..., 8, :].abs().max() < 1e-12
    assert kept[..., :, 6].abs().max() < 1e-12
    # The other waves are as strong as they were.
    spectrum[..., 8, :], spectrum[..., :, 6] = 0, 0
    torch.testing.assert_close(kept[0].abs(), spectrum[0].abs(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("axis", [2, 3])
def test_an_image_without_its_lowest_wave_is_refused(axis):
    # Two periods along one axis: a shift by half the image changes nothing, so nothing is lowest.
    image = levels_of(drawn(7, 7, torch.zeros(1, 2).double()))
    twice = torch.cat([image, image], dim=axis)
    name = "rows" if axis == 2 else "columns"
    with pytest.raises(InputError, match=f"image 1 has no wave of one period over its {name}"):
        phase_canonical(torch.cat([twice.roll(1, axis) * 0 + 0.5, twice]))


def levels_of(images):
    return (images * 255).round() / 255


def test_a_lowest_wave_near_nothing_is_refused_unless_the_tolerance_is_lowered():
    columns = torch.arange(9, dtype=torch.float64)
    weak = 1e-7 * torch.cos(2 * math.pi * columns / 9 + 0.3)
    image = 0.5 + 0.2 * torch.cos(4 * math.pi * columns / 9) + weak
    image = image.expand(1, 1, 6, 9)
    with pytest.raises(InputError, match="lower tolerance"):
        phase_canonical(image)
    found = phase_canonical(image, tolerance=1e-9)
    lowest = torch.fft.fft(found[0, 0, 0])[1]
    assert abs(lowest.angle().item()) < 1e-6


@pytest.mark.parametrize("size", [(6, 7), (1, 1), (2, 2), (1, 9), (2, 7)])
def test_constant_images_stay_as_they_are(size):
    image = torch.full((2, 3, *size), 0.3, dtype=torch.float64)
    torch.testing.assert_close(phase_canonical(image), image, rtol=0, atol=1e-14)
    black = torch.zeros_like(image)
    assert torch.equal(phase_canonical(black), black)


def test_an_axis_along_which_nothing_changes_stays():
    columns = torch.cos(2 * math.pi * torch.arange(9).double() / 9 + 0.7)
    image = (0.5 + 0.3 * columns).expand(1, 1, 6, 9)
    expected = 0.5 + 0.3 * torch.cos(2 * math.pi * torch.arange(9).double() / 9)
    torch.testing.assert_close(
        phase_canonical(image), expected.expand(1, 1, 6, 9), rtol=0, atol=1e-13
    )


def test_the_position_is_read_from_all_channels_together():
    images = drawn(15, 11, torch.zeros(1, 2).double())
    both = phase_canonical(images)
    alone = torch.cat([phase_canonical(images[:, c : c + 1]) for c in (0, 1)], dim=1)
    assert (both - alone).abs().max() > 1e-3


def test_rows_depend_on_themselves_and_types_stay():
    images = drawn(15, 12, real_shifts(3))
    found = phase_canonical(images)
    for row in range(3):
        torch.testing.assert_close(phase_canonical(images[row : row + 1])[0], found[row])
    for dtype, size in ((torch.float32, 1e-6), (torch.float16, 2e-3)):
        half = phase_canonical(images.to(dtype))
        assert half.dtype == dtype
        torch.testing.assert_close(half.double(), found, rtol=0, atol=size)
    levels = (images * 255).round().to(torch.uint8)
    kept = levels.clone()
    from_levels = phase_canonical(levels)
    assert from_levels.dtype == torch.float32
    torch.testing.assert_close(from_levels, phase_canonical(levels.float() / 255))
    assert torch.equal(levels, kept)


def test_bad_arguments_are_refused():
    with pytest.raises(InputError, match=r"\(N, C, H, W\)"):
        phase_canonical(torch.rand(3, 8, 8))
    with pytest.raises(InputError, match=r"lie in \[0, 1\]"):
        phase_canonical(2 * torch.rand(1, 3, 8, 8) + 1)
