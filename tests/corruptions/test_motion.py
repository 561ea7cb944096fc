"""Motion blur: the shift-sum by plain indexing, in every direction, and the published moments."""

import math

import numpy as np
import pytest
import torch
from corruption_parity import held_to
from corruption_toys import Published, draws, images
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from robustkit.corruptions import corrupt, parameters
from robustkit.corruptions.draws import Draws
from robustkit.corruptions.motion import SPAN, draw_angles, motion_blur, motion_blur_layer

SPANS = [(-45.0, 45.0), (-135.0, -45.0), (-180.0, 180.0), (10.0, 20.0), (90.0, 180.0)]


def reference(layers, radius, sigma, angle):
    """Copies moved by whole pixels, read with clamped places."""
    height, width = layers.shape[-2:]
    weights = np.exp(-(np.arange(2 * radius + 1) ** 2) / (2 * sigma**2))
    total = np.zeros(layers.shape)
    for i, weight in enumerate(weights / weights.sum()):
        down = math.ceil(i * math.sin(math.radians(angle)) - 0.5)
        across = math.ceil(i * math.cos(math.radians(angle)) - 0.5)
        rows = np.clip(np.arange(height) + down, 0, height - 1)
        columns = np.clip(np.arange(width) + across, 0, width - 1)
        total += weight * layers[..., rows[:, None], columns]
    return total


@held_to("motion_blur/formula", "motion_blur/single")
@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize(("radius", "sigma"), [(0, 1.0), (6, 2), (9, 2.5), (20, 15)])
def test_it_is_the_sum_of_moved_copies(span, radius, sigma, allowed):
    batch = images(9, (2, 23, 17), dtype=torch.float64)
    angles = torch.linspace(*span, 9, dtype=torch.float64)
    found = motion_blur_layer(batch.to(allowed.dtype), angles, radius, sigma, span=span)
    expected = np.stack(
        [
            reference(one, radius, sigma, angle)
            for one, angle in zip(batch.numpy(), angles.tolist(), strict=True)
        ]
    )
    allowed.check(found, expected)


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    channels=st.integers(1, 4),
    radius=st.integers(0, 9),
    angle=st.floats(-180, 180),
)
def test_any_size_and_angle(height, width, channels, radius, angle):
    batch = images(1, (channels, height, width), dtype=torch.float64)
    found = motion_blur_layer(batch, torch.tensor([angle]).double(), radius, 3)
    expected = reference(batch.numpy(), radius, 3, angle)
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=0, atol=1e-12)
    # A narrower span moves less memory and changes nothing.
    angles = torch.tensor([angle]).double()
    narrow = motion_blur_layer(batch, angles, radius, 3, span=(angle - 1, angle + 2))
    assert torch.equal(narrow, found)


def test_a_point_is_drawn_out_along_the_line():
    point = torch.zeros(2, 1, 31, 31)
    point[..., 15, 15] = 1
    angles = torch.tensor([0.0, -90.0])
    blurred = motion_blur_layer(point, angles, 3, 2.0)
    weights = torch.exp(-(torch.arange(7.0) ** 2) / 8)
    weights /= weights.sum()
    # At angle 0 a pixel reads to its right, so that the point is drawn out to the left.
    torch.testing.assert_close(blurred[0, 0, 15, 9:16], weights.flip(0))
    torch.testing.assert_close(blurred[1, 0, 15:22, 15], weights)
    torch.testing.assert_close(blurred.sum(dim=(1, 2, 3)), torch.ones(2))


def test_a_constant_stays_and_inputs_are_not_changed():
    constant = torch.full((3, 3, 12, 9), 0.3)
    constant = motion_blur_layer(constant, torch.zeros(3), 9, 2.5)
    torch.testing.assert_close(constant, torch.full((3, 3, 12, 9), 0.3))
    batch = images(3, (3, 12, 9))
    kept = batch.clone()
    motion_blur(batch, draws(3), 6, 1)
    assert torch.equal(batch, kept)


@held_to("motion_blur/rounded")
def test_angles_are_uniform_and_keyed_by_image(allowed):
    angles = draw_angles(draws(5000), SPAN)
    assert scipy_stats.kstest(angles.numpy(), scipy_stats.uniform(-45, 90).cdf).pvalue > 1e-3
    batch, rows = images(6, (3, 12, 9)), torch.tensor([5, 0, 3])
    whole = motion_blur(batch, draws(6), 6, 1.5)
    part = motion_blur(batch[rows], Draws(0, "test/1", rows), 6, 1.5)
    assert torch.equal(part, whole[rows])
    for row in range(6):
        angle = draw_angles(draws(6), SPAN)[row].item()
        expected = np.round(reference(batch[row].double().numpy(), 6, 1.5, angle) * 255) / 255
        allowed.check(whole[row], expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_the_result_is_rounded_to_levels_whatever_the_entry_does(dtype):
    batch = images(4, (3, 20, 20))
    blurred = motion_blur(batch.to(dtype), draws(4), 8, 2)
    levels = (blurred.double() * 255).round()
    assert torch.equal((levels / 255).to(dtype), blurred)
    white = motion_blur(torch.ones(4, 3, 20, 20, dtype=dtype), draws(4), 8, 2)
    assert (white == 1).all()
    pixels = (batch * 255).round().to(torch.uint8)
    for severity in (1, 5):
        one, two = (
            corrupt(pixels, "motion_blur", severity, rounding=rounding)
            for rounding in ("truncate", "round")
        )
        assert torch.equal(one, two)


@held_to("motion_blur/moments")
@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_the_moments_are_those_of_the_published_code(real_data, severity, allowed):
    published = Published(real_data)
    row = parameters("motion_blur", severity, "imagenet").values()

    def blurred(seed):
        angles = draw_angles(draws(4, seed), SPAN)
        # That code leaves the image file out and truncates, rounding errors included.
        return motion_blur_layer(published.images.double(), angles, *row, span=SPAN).floor()

    # Four images share four angles a run, and the angle matters: six runs against six.
    allowed.check_moments(published.runs(blurred, 6), published.moments("motion_blur", severity))
