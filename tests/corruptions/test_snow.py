"""Snow: the published chain in NumPy with the same numbers, closed forms, and the moments."""

import math

import numpy as np
import pytest
import torch
from corruption_parity import held_to
from corruption_toys import Published, draws, images
from scipy import ndimage

from robustkit.corruptions import corrupt
from robustkit.corruptions.severities import SEVERITIES
from robustkit.corruptions.snow import snow
from robustkit.errors import InputError


def falling(layer, radius, sigma, angle):
    """Return one layer averaged along a line, pixel by pixel."""
    height, width = layer.shape
    weights = np.exp(-0.5 * (np.arange(2 * radius + 1) / sigma) ** 2)
    weights /= weights.sum()
    y, x = np.mgrid[:height, :width]
    total = np.zeros_like(layer)
    for i, weight in enumerate(weights):
        down = math.ceil(i * math.sin(math.radians(angle)) - 0.5)
        across = math.ceil(i * math.cos(math.radians(angle)) - 0.5)
        total += weight * layer[(y + down).clip(0, height - 1), (x + across).clip(0, width - 1)]
    return total


def reference(image, row, count, parameters):
    """Return one image (3, H, W) in double precision."""
    location, scale, zoom, threshold, radius, sigma, blend = parameters
    _, height, width = image.shape
    kept = (math.ceil(height / zoom), math.ceil(width / zoom))
    layer = draws(count).normal("layer", (1, *kept))[row, 0].double().numpy() * scale + location
    layer = ndimage.zoom(layer, zoom, order=1)
    top, left = (layer.shape[0] - height) // 2, (layer.shape[1] - width) // 2
    layer = layer[top : top + height, left : left + width]
    layer[layer < threshold] = 0
    layer = (layer.clip(0, 1) * 255).astype(np.uint8) / 255
    angle = -135 + 90 * draws(count).uniform("angle", ())[row].item()
    layer = np.round(falling(layer, radius, sigma, angle) * 255) / 255
    grey = 0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2]
    white = blend * image + (1 - blend) * np.maximum(image, 1.5 * grey + 0.5)
    return white + layer + np.rot90(layer, 2)


@held_to("snow/formula")
@pytest.mark.parametrize("preset", ["cifar", "tiny", "imagenet"])
@pytest.mark.parametrize("shape", [(32, 32), (45, 31)])
def test_it_is_the_published_chain_with_shared_numbers(preset, shape, allowed):
    batch = images(3, (3, *shape), dtype=torch.float64)
    for parameters in SEVERITIES[preset]["snow"]:
        result = snow(batch, draws(3), *parameters)
        for row in range(3):
            # One layer is rounded to levels after single precision: a level may fall either way.
            allowed.check(result[row], reference(batch[row].numpy(), row, 3, parameters))


def test_without_flakes_the_image_is_whitened():
    batch = images(2, (3, 16, 16), dtype=torch.float64)
    result = snow(batch, draws(2), 0, 0.1, 2, 1, 5, 2, 0.7)
    grey = (batch * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    expected = 0.7 * batch + 0.3 * torch.maximum(batch, 1.5 * grey + 0.5)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-7)
    only = images(2, (1, 16, 16), dtype=torch.float64)
    expected = 0.7 * only + 0.3 * (1.5 * only + 0.5)
    result = snow(only, draws(2), 0, 0.1, 2, 1, 5, 2, 0.7)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-12)


def test_flakes_are_symmetric_about_the_centre_and_grey():
    black = torch.zeros(4, 3, 24, 30, dtype=torch.float64)
    flakes = snow(black, draws(4), 0.3, 0.3, 1.25, 0.65, 7, 5, 1)
    assert torch.equal(flakes, flakes.flip(-2, -1))
    assert torch.equal(flakes[:, 0], flakes[:, 2])
    assert (flakes >= 0).all()
    assert 0.02 < flakes.mean() < 0.9
    levels = flakes * 255
    torch.testing.assert_close(levels, levels.round(), rtol=0, atol=1e-5)


def test_flakes_fall_along_a_steep_line():
    black = torch.zeros(300, 1, 32, 32)
    flakes = snow(black, draws(300), 0.1, 0.2, 1, 0.6, 8, 3, 1)[:, 0]
    down = (flakes[:, 1:] - flakes[:, :-1]).square().mean()
    across = (flakes[:, :, 1:] - flakes[:, :, :-1]).square().mean()
    assert 1.5 * down < across


def test_two_channels_are_refused():
    with pytest.raises(InputError, match="1 or 3 channels, got 2"):
        snow(torch.zeros(1, 2, 8, 8), draws(1), 0.1, 0.2, 1, 0.6, 8, 3, 0.9)


@held_to("snow/moments")
@pytest.mark.parametrize("severity", [1, 3, 5])
def test_the_moments_are_the_published_ones(real_data, severity, allowed):
    published = Published(real_data)
    runs = published.runs(lambda seed: corrupt(published.images, "snow", severity, seed=seed), 6)
    # That code rounds the flakes once only, and to the nearest level.
    allowed.check_moments(runs, published.moments("snow", severity))
