"""Pixelate equals Pillow's box filter in every level, for any size."""

import numpy as np
import pytest
import torch
from corruption_parity import held_to
from corruption_toys import Published, draws, images
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from robustkit.corruptions import corrupt
from robustkit.corruptions.pixelate import pixelate
from robustkit.errors import InputError


def by_pillow(batch, factor):
    """Return 8-bit images (N, C, H, W) shrunk, width first, and enlarged, channel by channel."""
    _, _, height, width = batch.shape
    box = Image.Resampling.BOX
    result = np.empty(batch.shape, np.uint8)
    for row, image in enumerate(batch.numpy()):
        for channel, plane in enumerate(image):
            picture = Image.fromarray(plane).resize((int(width * factor), height), box)
            picture = picture.resize((int(width * factor), int(height * factor)), box)
            result[row, channel] = picture.resize((width, height), box)
    return torch.from_numpy(result)


def levels(result):
    return (result * 255).round().to(torch.uint8)


@held_to("pixelate/pillow")
@settings(max_examples=150, deadline=None)
@given(
    height=st.integers(1, 80),
    width=st.integers(1, 80),
    factor=st.floats(0.02, 1) | st.sampled_from([0.95, 0.9, 0.85, 0.75, 0.65, 0.5, 0.25, 0.1]),
    seed=st.integers(0, 1000),
)
def test_it_is_the_box_filter_of_pillow(height, width, factor, seed, allowed):
    if min(int(height * factor), int(width * factor)) < 1:
        with pytest.raises(InputError, match="leaves no pixel"):
            pixelate(torch.zeros(1, 1, height, width), draws(1), factor)
        return
    batch = torch.randint(256, (2, 2, height, width), generator=torch.Generator().manual_seed(seed))
    batch = batch.to(torch.uint8)
    result = pixelate(batch.double() / 255, draws(2), factor)
    allowed.check(levels(result), by_pillow(batch, factor))


@held_to("pixelate/pillow")
@pytest.mark.parametrize("side", [32, 64, 224, 299])
@pytest.mark.parametrize("factor", [0.95, 0.9, 0.85, 0.75, 0.65, 0.6, 0.5, 0.4, 0.3, 0.25])
def test_it_is_the_box_filter_at_the_published_sizes(side, factor, allowed):
    batch = images(2, (3, side, side))
    expected = by_pillow(levels(batch), factor)
    allowed.check(levels(pixelate(batch, draws(2), factor)), expected)


def test_halves_are_means_of_squares_rounded_up_twice():
    batch = torch.tensor([[0, 1, 4, 4], [2, 2, 4, 5]], dtype=torch.float64)[None, None] / 255
    # Rows first: (0 + 1) / 2 and (2 + 2) / 2 give 1 and 2, whose mean 1.5 rounds up to 2.
    expected = torch.tensor([[2, 2, 5, 5], [2, 2, 5, 5]], dtype=torch.float64) / 255
    torch.testing.assert_close(pixelate(batch, draws(1), 0.5)[0, 0], expected, rtol=0, atol=1e-15)


def test_factor_one_rounds_to_levels_only():
    batch = torch.rand(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    expected = (batch * 255).round() / 255
    torch.testing.assert_close(pixelate(batch, draws(2), 1), expected, rtol=0, atol=1e-7)


@held_to("pixelate/outputs")
@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_the_published_outputs_are_met(real_data, severity, allowed):
    published = Published(real_data)
    result = corrupt(published.images, "pixelate", severity)
    allowed.check(result, published.output("pixelate", severity))
