"""Glass blur: the published loop pixel by pixel, and its intended exchange, with shared numbers."""

import numpy as np
import pytest
import scipy.ndimage
import torch
from corruption_parity import held_to
from corruption_toys import Published, draws, images
from scipy import stats as scipy_stats

from robustkit.corruptions import corrupt, glass
from robustkit.corruptions.draws import Draws
from robustkit.corruptions.glass import glass_blur
from robustkit.errors import InputError

CASES = [(3, 3, 1), (9, 9, 1), (5, 5, 2), (13, 10, 2), (17, 31, 4), (30, 9, 3), (32, 32, 1)]


def plain_offsets(bits, max_delta):
    """Row and column offsets of one image from its 32 bits a pixel."""
    unsigned = bits.numpy().astype(np.int64) & 0xFFFFFFFF
    down = ((unsigned >> 16) * 2 * max_delta >> 16) - max_delta
    across = ((unsigned & 0xFFFF) * 2 * max_delta >> 16) - max_delta
    return down, across


def published_loop(pixels, down, across, max_delta):
    """The loop as published, on an array (H, W, C), whose rows are views."""
    pixels = pixels.copy()
    height, width = pixels.shape[:2]
    for h in range(height - max_delta, max_delta, -1):
        for w in range(width - max_delta, max_delta, -1):
            there = h + down[h, w], w + across[h, w]
            pixels[h, w], pixels[there] = pixels[there], pixels[h, w]
    return pixels


def swap_loop(pixels, down, across, max_delta):
    """The loop as meant: the two pixels change places."""
    pixels = pixels.copy()
    height, width = pixels.shape[:2]
    for h in range(height - max_delta, max_delta, -1):
        for w in range(width - max_delta, max_delta, -1):
            there = h + down[h, w], w + across[h, w]
            pixels[h, w], pixels[there] = pixels[there].copy(), pixels[h, w].copy()
    return pixels


@held_to("glass_blur/loop")
@pytest.mark.parametrize(("mode", "loop"), [("published", published_loop), ("swap", swap_loop)])
@pytest.mark.parametrize(("height", "width", "max_delta"), CASES)
def test_the_pixels_move_as_in_the_loop(mode, loop, height, width, max_delta, allowed):
    batch, iterations = images(3, (3, height, width)), 3
    # A blur this narrow has one tap.
    found = glass_blur(batch, draws(3), 0.05, max_delta, iterations, mode=mode)
    bits = draws(3).bits("offset", (iterations, height, width))
    for row in range(3):
        pixels = (batch[row] * 255).round().permute(1, 2, 0).numpy()
        for step in range(iterations):
            pixels = loop(pixels, *plain_offsets(bits[row, step], max_delta), max_delta)
        allowed.check(found[row].permute(1, 2, 0), pixels / np.float32(255))


@held_to("glass_blur/formula")
@pytest.mark.parametrize(("sigma", "max_delta", "iterations"), [(0.4, 1, 2), (1, 2, 3)])
def test_it_blurs_before_and_after_and_truncates_between(sigma, max_delta, iterations, allowed):
    batch = images(2, (3, 40, 36), dtype=torch.float64)
    found = glass_blur(batch, draws(2), sigma, max_delta, iterations)
    bits = draws(2).bits("offset", (iterations, 40, 36))
    for row in range(2):
        blurs = (sigma, sigma, 0)
        pixels = scipy.ndimage.gaussian_filter(
            batch[row].permute(1, 2, 0).numpy(), blurs, mode="nearest"
        )
        pixels = np.floor(np.clip(pixels, 0, 1) * 255 + 1e-3)
        for step in range(iterations):
            pixels = published_loop(pixels, *plain_offsets(bits[row, step], max_delta), max_delta)
        pixels = scipy.ndimage.gaussian_filter(pixels / 255, blurs, mode="nearest")
        allowed.check(found[row].permute(1, 2, 0), pixels)


def test_a_swap_loses_no_pixel_and_a_copy_loses_many():
    # Each pixel has a level of its own.
    batch = (torch.arange(225).reshape(1, 1, 15, 15) / 255).float()
    swapped = glass_blur(batch, draws(1), 0.05, 2, 2, mode="swap")
    copied = glass_blur(batch, draws(1), 0.05, 2, 2)
    assert torch.equal(swapped.flatten().sort().values, batch.flatten())
    assert len(copied.unique()) < 0.8 * 225
    # The published loop leaves the border as it was, and never reads the first row and column.
    border = torch.ones(15, 15, dtype=torch.bool)
    border[3:14, 3:14] = False
    assert torch.equal(copied[0, 0][border], batch[0, 0][border])


def test_chains_of_copies_are_followed_to_their_end():
    # Every pixel copies from the right, which was visited before: one value fills the row.
    offsets = torch.zeros(1, 9, 60, dtype=torch.int32)
    offsets[:, 3:8, 3:59] = 1
    places = torch.arange(540).expand(1, -1)
    found = glass._copy(places, offsets, 2).reshape(9, 60)
    assert (found[3:8, 3:60] == torch.arange(3, 8)[:, None] * 60 + 59).all()


@pytest.mark.parametrize("max_delta", [1, 2, 3, 4])
def test_offsets_are_uniform_with_the_upper_end_excluded(max_delta):
    bits = draws(40).bits("offset", (60, 60))
    down, across = (part[:, 9:50, 9:50] for part in plain_offsets(bits, max_delta))
    steps = glass._offsets(bits, max_delta)[:, 9:50, 9:50]
    assert np.array_equal(steps.numpy(), down * 60 + across)
    pairs = (down + max_delta) * 2 * max_delta + across + max_delta
    counts = np.bincount(pairs.ravel(), minlength=4 * max_delta**2)
    assert len(counts) == 4 * max_delta**2
    assert scipy_stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("mode", ["published", "swap"])
def test_an_image_is_changed_alike_in_any_batch(mode):
    batch, rows = images(5, (3, 14, 11)), torch.tensor([4, 1])
    kept = batch.clone()
    whole = glass_blur(batch, draws(5), 0.7, 2, 2, mode=mode)
    part = glass_blur(batch[rows], Draws(0, "test/1", rows), 0.7, 2, 2, mode=mode)
    torch.testing.assert_close(part, whole[rows], rtol=0, atol=1e-6)
    assert torch.equal(batch, kept)


@held_to("glass_blur/moments")
@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_the_moments_are_those_of_the_published_code(real_data, severity, allowed):
    published = Published(real_data)
    runs = published.runs(
        lambda seed: corrupt(published.images, "glass_blur", severity, seed=seed), 6
    )
    allowed.check_moments(runs, published.moments("glass_blur", severity))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: glass_blur(images(1, (3, 8, 9)), draws(1), 1.0, 4, 1), "more than 8 pixels"),
        (
            lambda: glass_blur(images(1, (3, 9, 9)), draws(1), 1.0, 1, 1, mode="swop"),
            "Did you mean 'swap'",
        ),
    ],
)
def test_what_cannot_be_blurred_is_refused_with_a_reason(call, message):
    with pytest.raises(InputError, match=message):
        call()
