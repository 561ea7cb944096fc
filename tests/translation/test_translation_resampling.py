"""Shifts by parts of a pixel against closed forms and slow references, and zooms."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from shift_toys import levels

from robustkit.errors import InputError
from robustkit.translation.resampling import SubpixelShift, Zoom, subpixel_shifts, zooms
from robustkit.translation.shifts import circular_shifts, crop_shifts, neighbourhood
from robustkit.translation.windows import ShiftModel

METHODS = ["fourier", "bilinear"]
DOUBLE = torch.float64


def pixels(*shape, seed=0, dtype=DOUBLE):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE).to(dtype)


def real(*shifts):
    return torch.tensor(shifts, dtype=DOUBLE)


def wave(height, width, rows, columns, shift=(0.0, 0.0)):
    """A cosine of whole periods, sampled where the camera stands after the shift."""
    y = torch.arange(height, dtype=DOUBLE)[:, None] + shift[0]
    x = torch.arange(width, dtype=DOUBLE) + shift[1]
    return (2 * math.pi * (rows * y / height + columns * x / width) + 0.3).cos()[None, None]


numbers = st.floats(-9, 9, allow_nan=False)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 9), (8, 5)])
@pytest.mark.parametrize("shift", [(0.5, 0.0), (0.0, -0.25), (1.3, 2.7), (-11.5, 0.1)])
def test_the_ideal_shift_moves_waves_by_the_formula(height, width, shift):
    for rows in range(-((height - 1) // 2), (height - 1) // 2 + 1):
        for columns in range((width - 1) // 2 + 1):
            before = wave(height, width, rows, columns)
            after = wave(height, width, rows, columns, shift)
            found = subpixel_shifts(before, real(shift))[:, 0]
            torch.testing.assert_close(found, after, rtol=0, atol=1e-12)


def test_the_nyquist_wave_keeps_what_is_real():
    # An alternating row moved by d is the cosine of pi d times itself: half a pixel removes it.
    image = torch.tensor([1.0, -1.0] * 4, dtype=DOUBLE).expand(1, 1, 6, 8).clone()
    for moved in (0.5, 0.25, 1.0):
        found = subpixel_shifts(image, real((0.0, moved)))[:, 0]
        torch.testing.assert_close(found, image * math.cos(math.pi * moved), rtol=0, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(
    sides=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    shifts=st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=1, max_size=3),
    method=st.sampled_from(METHODS),
)
def test_whole_pixels_are_a_roll(sides, shifts, method):
    images, whole = pixels(2, 2, *sides), torch.tensor(shifts)
    expected = circular_shifts(images, whole)
    for given_shifts in (whole, whole.double()):
        found = subpixel_shifts(images, given_shifts, method=method)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    single = subpixel_shifts(images.float(), whole, method=method)
    torch.testing.assert_close(single.double(), expected, rtol=0, atol=1e-6)
    eight = levels(2, 2, *sides)
    found = subpixel_shifts(eight, whole, method=method)
    assert torch.equal(found, circular_shifts(eight, whole))


@settings(max_examples=30, deadline=None)
@given(
    sides=st.sampled_from([(5, 7), (7, 3), (9, 9)]),
    first=st.tuples(numbers, numbers),
    second=st.tuples(numbers, numbers),
)
def test_ideal_shifts_compose_on_odd_sides(sides, first, second):
    images = pixels(2, 1, *sides)
    there = subpixel_shifts(images, real(first))[:, 0]
    both = subpixel_shifts(there, real(second))[:, 0]
    total = subpixel_shifts(images, real(first) + real(second))[:, 0]
    torch.testing.assert_close(both, total, rtol=0, atol=1e-11)
    # The ideal shift loses nothing.
    assert there.norm().item() == pytest.approx(images.norm().item(), rel=1e-12)


def bilinear_value(image, y, x, *, wrap):
    """One value by the four pixels around it, written out."""
    total = 0.0
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            weight = (1 - abs(y - row)) * (1 - abs(x - column))
            if wrap:
                row_in, column_in = row % len(image), column % len(image[0])
            else:
                row_in, column_in = row, column
            if weight > 0:
                total += weight * image[row_in][column_in]
    return total


@settings(max_examples=30, deadline=None)
@given(data=st.data(), size=st.sampled_from([None, (4, 3), (6, 7)]))
def test_bilinear_shifts_are_means_of_four_pixels(data, size):
    images = pixels(1, 1, 8, 7)
    image = images[0, 0].tolist()
    rows, columns = size or (8, 7)
    top, left = (8 - rows) // 2, (7 - columns) // 2
    far = [(-9.0, 9.0), (-9.0, 9.0)]
    if size is not None:
        far = [(-top, 8 - rows - top), (-left, 7 - columns - left)]
    down, right = (data.draw(st.floats(*map(float, bounds))) for bounds in far)
    found = subpixel_shifts(images, real((down, right)), size, method="bilinear")[0, 0, 0]
    for row in range(rows):
        for column in range(columns):
            y, x = top + down + row, left + right + column
            expected = bilinear_value(image, y, x, wrap=size is None)
            assert found[row, column].item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_a_window_is_cut_after_the_shift(method):
    images = pixels(2, 3, 12, 11)
    shifts = torch.cat([neighbourhood(2).double(), real((0.5, -0.5), (-1.25, 2.0), (3.0, 3.0))])
    found = subpixel_shifts(images, shifts, (6, 5), method=method)
    whole = subpixel_shifts(images, shifts, method=method)
    torch.testing.assert_close(found, whole[..., 3:9, 3:8], rtol=0, atol=1e-12)
    crops = crop_shifts(images, neighbourhood(2), (6, 5))
    torch.testing.assert_close(found[:, :24], crops, rtol=0, atol=1e-12)
    model = SubpixelShift((6, 5), method)
    assert torch.equal(model.base(images), images[:, :, 3:9, 3:8])
    assert model.largest(images) == (3, 3)
    assert SubpixelShift(method=method).largest(images) is None
    assert SubpixelShift(method=method).base(images) is not None
    # To the very edge of the source, on both sides.
    edge = subpixel_shifts(images, real((-3, -3), (3, 3)), (6, 5), method=method)
    torch.testing.assert_close(edge[:, 0], images[:, :, :6, :5], rtol=0, atol=1e-12)
    torch.testing.assert_close(edge[:, 1], images[:, :, 6:, 6:], rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_levels_are_clipped_and_rounded(method):
    images = levels(2, 3, 9, 8)
    shifts = real((0.5, 0.25), (-0.3, 1.0))
    found = subpixel_shifts(images, shifts, method=method)
    exact = subpixel_shifts(images.double() / 255, shifts, method=method)
    assert found.dtype == torch.uint8
    expected = (exact * 255).clamp(0, 255)
    assert (found.double() - expected).abs().max() <= 0.5 + 1e-3
    if method == "fourier":
        assert exact.min() < 0
        assert exact.max() > 1


@pytest.mark.parametrize("model", [SubpixelShift(6), SubpixelShift(6, "bilinear"), SubpixelShift()])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32, DOUBLE])
def test_an_image_may_have_real_shifts_of_its_own(model, dtype):
    images = levels(3, 2, 9, 10) if dtype == torch.uint8 else pixels(3, 2, 9, 10, dtype=dtype)
    kept = images.clone()
    shifts = 2 * pixels(3, 4, 2, seed=3) - 1
    found = model.apply(images, shifts)
    assert isinstance(model, ShiftModel)
    assert found.dtype == dtype
    for row in range(3):
        alone = model.apply(images[row : row + 1], shifts[row])[0]
        torch.testing.assert_close(found[row], alone, rtol=0, atol=1e-6)
    assert torch.equal(images, kept)


# --- zooms ---------------------------------------------------------------------------------------


def test_a_zoom_is_a_window_resized_as_pillow_does():
    image = pixels(1, 1, 20, 23, dtype=torch.float32)
    found = zooms(image, torch.tensor([-3, -1, 0, 1, 4]), (12, 10))
    for place, change in enumerate([-3, -1, 0, 1, 4]):
        rows, columns = 12 + change, 10 + change
        top, left = (20 - rows) // 2, (23 - columns) // 2
        window = image[0, 0, top : top + rows, left : left + columns].numpy()
        resized = Image.fromarray(window).resize((10, 12), Image.Resampling.BILINEAR)
        np.testing.assert_allclose(found[0, place, 0].numpy(), np.asarray(resized), atol=2e-6)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, DOUBLE])
def test_zoom_by_nothing_is_the_base(dtype):
    images = levels(3, 2, 9, 10)
    images = images if dtype == torch.uint8 else images.to(dtype) / 255
    model = Zoom((4, 5))
    found = model.apply(images, torch.tensor([0, 2, 0]))
    assert isinstance(model, ShiftModel)
    assert found.shape == (3, 3, 2, 4, 5)
    assert found.dtype == dtype
    assert torch.equal(found[:, 0], images[:, :, 2:6, 2:7])
    assert torch.equal(found[:, 0], found[:, 2])
    assert torch.equal(model.base(images), found[:, 0])
    assert not torch.equal(found[:, 1], found[:, 0])
    assert model.largest(images) == (3,)
    for change in (-3, 3):
        model.apply(images, torch.tensor([change]))


def test_a_flat_image_stays_flat():
    flat = torch.full((1, 3, 12, 12), 77, dtype=torch.uint8)
    assert (zooms(flat, torch.arange(-4, 5), 7) == 77).all()
    shifts = real((0.5, 0.5), (0.1, -0.9))
    for method in METHODS:
        assert (subpixel_shifts(flat, shifts, 7, method=method) == 77).all()


IMAGES = pixels(2, 3, 10, 12)
HALF = real((0.5, 0.0))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SubpixelShift(4, "cubic"), "method 'cubic'"),
        (lambda: SubpixelShift(4, "bilinaer"), "'bilinear'"),
        (lambda: SubpixelShift(0), "whole number"),
        (lambda: subpixel_shifts(IMAGES, HALF, 11), "does not fit"),
        (lambda: SubpixelShift(11).base(IMAGES), "does not fit"),
        (lambda: subpixel_shifts(IMAGES, real((2.5, 0)), 6), "2.5 to 2.5 rows"),
        (lambda: subpixel_shifts(IMAGES, real((0, -3.01)), 6, method="bilinear"), "-3 to 3"),
        (lambda: subpixel_shifts(IMAGES, real((math.nan, 0))), "NaN"),
        (lambda: subpixel_shifts(IMAGES, real((0, math.inf)), method="bilinear"), "NaN"),
        (lambda: subpixel_shifts(IMAGES, HALF[0]), r"\(K, 2\)"),
        (lambda: subpixel_shifts(IMAGES, HALF.to(torch.int32)), "int64 or floating"),
        (lambda: subpixel_shifts(IMAGES[0], HALF), "unsqueeze"),
        (lambda: Zoom((3, -1)), "whole number"),
        (lambda: zooms(IMAGES, torch.tensor([5]), 6), "does not fit"),
        (lambda: zooms(IMAGES, torch.tensor([-6]), 6), "no window"),
        (lambda: zooms(IMAGES, HALF, 6), r"\(K,\)"),
        (lambda: zooms(IMAGES, torch.tensor([0.5]), 6), "int64"),
        (lambda: zooms(IMAGES, torch.tensor([], dtype=torch.int64), 6), r"\(K,\)"),
        (lambda: zooms(IMAGES[0], torch.tensor([1]), 6), "unsqueeze"),
        (lambda: Zoom(11).largest(IMAGES), "does not fit"),
    ],
)
def test_what_cannot_be_resampled_is_refused_with_a_reason(call, message):
    with pytest.raises(InputError, match=message):
        call()
