"""Brightness, saturation and contrast: the standard library's colour space, pixel by pixel."""

import colorsys

import numpy as np
import pytest
import torch
from corruption_parity import held_to
from corruption_toys import Published, draws, images
from hypothesis import given, settings
from hypothesis import strategies as st

from robustkit.corruptions import corrupt
from robustkit.corruptions.color import brightness, contrast, saturate


def by_pixel(image, change):
    """Return an image (3, H, W) whose hue, saturation and value `change` maps, pixel by pixel."""
    pixels = image.permute(1, 2, 0).reshape(-1, 3).tolist()
    mapped = [colorsys.hsv_to_rgb(*change(*colorsys.rgb_to_hsv(*pixel))) for pixel in pixels]
    _, height, width = image.shape
    return torch.tensor(mapped, dtype=torch.float64).reshape(height, width, 3).permute(2, 0, 1)


def brighter(amount):
    return lambda hue, saturation, value: (hue, saturation, min(value + amount, 1))


def fuller(factor, offset):
    return lambda hue, full, value: (hue, min(max(full * factor + offset, 0), 1), value)


SPECIAL = torch.tensor(
    [[0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.5], [1, 0, 0], [0, 0.2, 0.2], [0.3, 0.3, 0.1], [1, 0.9, 1]],
    dtype=torch.float64,
).T.reshape(1, 3, 1, 7)


@held_to("brightness/formula", "brightness/single")
@pytest.mark.parametrize("batch", [images(2, (3, 9, 7), dtype=torch.float64), SPECIAL])
@pytest.mark.parametrize("amount", [0.05, 0.3, 0.5, 1])
def test_brightness_is_that_of_the_colour_space(batch, amount, allowed):
    result = brightness(batch.to(allowed.dtype), draws(len(batch)), amount)
    expected = torch.stack([by_pixel(image, brighter(amount)) for image in batch])
    allowed.check(result, expected)


@held_to("saturate/formula", "saturate/single")
@pytest.mark.parametrize("batch", [images(2, (3, 9, 7), dtype=torch.float64), SPECIAL])
@pytest.mark.parametrize(
    ("factor", "offset"), [(0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2), (30, 0.2)]
)
def test_saturation_is_that_of_the_colour_space(batch, factor, offset, allowed):
    result = saturate(batch.to(allowed.dtype), draws(len(batch)), factor, offset)
    expected = torch.stack([by_pixel(image, fuller(factor, offset)) for image in batch])
    allowed.check(result, expected)


@held_to("contrast/formula", "contrast/single")
@pytest.mark.parametrize("factor", [0.05, 0.4, 0.75, 1])
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 7, 40)])
def test_contrast_is_its_formula(factor, shape, allowed):
    batch = images(3, shape, dtype=torch.float64)
    expected = np.empty(batch.shape)
    for row, image in enumerate(batch.numpy()):
        for channel, plane in enumerate(image):
            mean = sum(plane.ravel().tolist()) / plane.size
            expected[row, channel] = (plane - mean) * factor + mean
    allowed.check(contrast(batch.to(allowed.dtype), draws(3), factor), expected)


def test_one_channel_is_its_own_value():
    batch = images(3, (1, 6, 5), dtype=torch.float64)
    raised = brightness(batch, draws(3), 0.2)
    torch.testing.assert_close(raised, (batch + 0.2).clamp(max=1), rtol=0, atol=1e-15)
    assert torch.equal(saturate(batch, draws(3), 20, 0.2), batch)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000),
    channels=st.integers(1, 5),
    factor=st.sampled_from([0.05, 0.4, 0.75, 1]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_contrast_keeps_means_and_scales_deviations(seed, channels, factor, dtype):
    batch = images(2, (channels, 7, 6), seed=seed, dtype=dtype)
    result = contrast(batch, draws(2), factor)
    assert result.dtype == dtype
    torch.testing.assert_close(result.mean((2, 3)), batch.mean((2, 3)))
    torch.testing.assert_close(result.std((2, 3)), factor * batch.std((2, 3)), rtol=1e-4, atol=1e-6)
    # Affine in each channel.
    for row in range(2):
        for channel in range(channels):
            line = np.polyfit(batch[row, channel].flatten(), result[row, channel].flatten(), 1)
            assert line[0] == pytest.approx(factor, abs=1e-4)


def test_nothing_changes_at_the_neutral_parameters():
    batch = images(2, (3, 8, 8), dtype=torch.float64)
    for result in (
        brightness(batch, draws(2), 0),
        saturate(batch, draws(2), 1, 0),
        contrast(batch, draws(2), 1),
    ):
        torch.testing.assert_close(result, batch, rtol=0, atol=1e-15)


@held_to("brightness/outputs", "saturate/outputs", "contrast/outputs")
@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_the_published_outputs_are_met(real_data, severity, allowed):
    published, name = Published(real_data), allowed.name
    result, expected = corrupt(published.images, name, severity), published.output(name, severity)
    allowed.check(result, expected)
    gap = (result.int() - expected.int()).abs()
    # The published code truncates what two colour conversions left of a whole level.
    exact = corrupt(published.images.double() / 255, name, severity) * 255
    assert ((exact - exact.round()).abs()[gap > 0] < 1e-3).all()
