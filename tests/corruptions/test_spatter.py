"""Spatter: each step of OpenCV as loops over pixels, the formula, and the published moments."""

import math

import numpy as np
import pytest
import torch
from corruption_parity import held_to
from corruption_toys import Published, draws, images
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from robustkit.corruptions import corrupt
from robustkit.corruptions.edges import canny, distance, equalize
from robustkit.corruptions.smoothing import smooth
from robustkit.corruptions.spatter import spatter
from robustkit.errors import InputError

WATER = (0.62, 0.1, 0.7, 0.7, 0.5, 0)
# Its noise often exceeds 1.
BRIGHT = (0.75, 0.3, 1, 0.69, 0.5, 0)
MUD = (0.65, 0.1, 0.7, 0.69, 0.6, 1)


def canny_by_pixel(layer, low, high):
    """Return the edges of one 8-bit layer, after the text of the algorithm."""
    height, width = layer.shape
    grid = np.pad(layer.astype(int), 1, mode="edge")
    gx = ndimage.correlate(grid, [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], mode="nearest")[1:-1, 1:-1]
    gy = ndimage.correlate(grid, [[-1, -2, -1], [0, 0, 0], [1, 2, 1]], mode="nearest")[1:-1, 1:-1]
    size = np.pad(np.abs(gx) + np.abs(gy), 1)
    state = np.zeros((height, width), int)
    for y in range(height):
        for x in range(width):
            here = size[y + 1, x + 1]
            angle = math.degrees(math.atan2(abs(int(gy[y, x])), abs(int(gx[y, x]))))
            if angle < 22.5:
                peak = here > size[y + 1, x] and here >= size[y + 1, x + 2]
            elif angle > 67.5:
                peak = here > size[y, x + 1] and here >= size[y + 2, x + 1]
            else:
                s = -1 if (gx[y, x] < 0) != (gy[y, x] < 0) else 1
                peak = here > size[y, x + 1 - s] and here > size[y + 2, x + 1 + s]
            if peak and here > low:
                state[y, x] = 2 if here > high else 1
    stack = list(zip(*np.nonzero(state == 2), strict=True))
    while stack:
        y, x = stack.pop()
        for v in range(max(y - 1, 0), min(y + 2, height)):
            for u in range(max(x - 1, 0), min(x + 2, width)):
                if state[v, u] == 1:
                    state[v, u] = 2
                    stack.append((v, u))
    return state == 2


def distance_by_rasters(edges, limit):
    """Return chamfer distances of one layer by one pass down and one pass up."""
    height, width = edges.shape
    steps = {(0, 1): 65536, (1, 0): 65536, (1, 1): 91750, (1, 2): 143976, (2, 1): 143976}
    lengths = np.pad(np.where(edges, 0, 10**9), 2, constant_values=10**9)
    before = [(-1, 0), (-2, 1), (-1, 1), (-1, 2), (-2, -1), (-1, -1), (-1, -2), (0, -1)]
    for sign in (1, -1):
        for y in range(height)[::sign]:
            for x in range(width)[::sign]:
                options = [
                    lengths[y + 2 + sign * v, x + 2 + sign * u] + steps[abs(v), abs(u)]
                    for v, u in before
                ]
                lengths[y + 2, x + 2] = min(lengths[y + 2, x + 2], *options)
    return np.minimum(lengths[2:-2, 2:-2] / 65536, limit)


def equalize_by_count(layer):
    """Return one 8-bit layer with its histogram equalised."""
    values = np.sort(layer.ravel())
    lowest = values[0]
    first = np.sum(values == lowest)
    if first == values.size:
        return layer
    above = np.searchsorted(values, layer, side="right") - first
    return np.round(above.astype(np.float32) * np.float32(255 / (values.size - first))).astype(int)


def blur(layer):
    return ndimage.uniform_filter(layer.astype(float), 3, mode="mirror")


def relief(levels):
    """Return what a layer of 8-bit levels is multiplied by."""
    far = distance_by_rasters(canny_by_pixel(levels, 50, 150), 20)
    far = equalize_by_count((blur(far) + 1e-9).astype(int))
    slope = ndimage.correlate(far, [[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], mode="mirror")
    return np.round(blur(slope.clip(0, 255)))


def noise(count, shape, location, scale, sigma):
    layers = draws(count).normal("layer", shape) * scale + location
    return smooth(layers, sigma, truncate=4, border="nearest")


def blobs(seed, shape, rough):
    """Return 8-bit layers: smooth hills above a threshold, or rough ones all over."""
    draw = np.random.default_rng(seed)
    layer = ndimage.gaussian_filter(draw.normal(size=shape), 1.2 if rough else 2.5)
    layer = (layer - layer.min()) / max(np.ptp(layer), 1e-9) * 255
    return np.where(layer < (60 if rough else 150), 0, layer).astype(int)


SHAPES = st.tuples(st.integers(1, 24), st.integers(1, 24))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), shape=SHAPES, rough=st.booleans())
def test_canny_is_that_of_a_loop_over_pixels(seed, shape, rough):
    layers = np.stack([blobs(seed, shape, rough), blobs(seed + 1, shape, rough)])
    edges = canny(torch.from_numpy(layers).int(), 50, 150)
    for row in range(2):
        np.testing.assert_array_equal(edges[row].numpy(), canny_by_pixel(layers[row], 50, 150))


def test_a_weak_edge_lives_only_as_far_as_it_hangs_on_a_strong_one():
    # One step along the columns whose height falls from row to row, far beyond one look's reach.
    height = torch.linspace(60, 20, 60).int()
    layers = torch.zeros(2, 60, 20, dtype=torch.int32)
    layers[0, :, 10:] = height[:, None]
    layers[1, :, 10:] = height[:, None].clamp(max=37)
    edges = canny(layers, 50, 150)
    # |gx| is 4 times the step: above 150 at the top of the first layer, above 50 everywhere.
    assert edges[0].any(1).all()
    assert not edges[1].any()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), shape=SHAPES, share=st.sampled_from([0.0, 0.01, 0.1, 1.0]))
def test_distances_are_those_of_two_rasters(seed, shape, share):
    edges = np.random.default_rng(seed).random((2, *shape)) < share
    lengths = distance(torch.from_numpy(edges), 20)
    for row in range(2):
        expected = distance_by_rasters(edges[row], 20)
        np.testing.assert_allclose(lengths[row].numpy(), expected, rtol=0, atol=1e-6)


def test_distances_are_close_to_euclidean_ones():
    edges = torch.zeros(1, 41, 41, dtype=torch.bool)
    edges[0, 20, 20] = True
    exact = np.hypot(*np.mgrid[-20:21, -20:21])
    lengths = distance(edges, 30)[0].numpy()
    assert np.abs(lengths - exact).max() < 0.03 * 30
    assert lengths[20, 27] == 7
    assert lengths[22, 21] == pytest.approx(2.1969, abs=1e-5)
    assert lengths[25, 25] == pytest.approx(7, abs=1e-3)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), shape=SHAPES, values=st.integers(1, 21))
def test_histograms_are_equalised_as_counted(seed, shape, values):
    layers = np.random.default_rng(seed).integers(21 - values, 21, size=(3, *shape))
    result = equalize(torch.from_numpy(layers).int(), 21)
    for row in range(3):
        np.testing.assert_array_equal(result[row].numpy(), equalize_by_count(layers[row]))


@held_to("spatter/formula")
@pytest.mark.parametrize("mode", ["published", "clip"])
@pytest.mark.parametrize("parameters", [WATER, BRIGHT])
def test_water_is_the_published_chain_with_shared_numbers(parameters, mode, allowed):
    location, scale, sigma, threshold, strength, _ = parameters
    batch = images(6, (3, 32, 27), dtype=torch.float64)
    result = spatter(batch, draws(6), *parameters, mode=mode)
    layers = noise(6, (32, 27), location, scale, sigma).numpy()
    wet = beyond = 0
    for row in range(6):
        layer = np.where(layers[row] < threshold, 0, layers[row])
        levels = (layer * np.float32(255)).astype(int)
        beyond += (levels > 255).sum()
        levels = levels % 256 if mode == "published" else levels.clip(0, 255)
        drops = levels * relief(levels)
        drops = drops / max(drops.max(), 1) * strength
        color = np.array([175, 238, 238])[:, None, None] / 255
        allowed.check(result[row], batch[row].numpy() + color * drops)
        wet += (drops > 0.1).mean()
    assert wet > 0.1
    assert (beyond > 0) == (parameters == BRIGHT)


def test_levels_beyond_255_wrap_unless_clipped():
    black = torch.zeros(40, 1, 32, 27, dtype=torch.float64)
    wrapped, clipped = (
        spatter(black, draws(40), *BRIGHT, mode=mode) for mode in ("published", "clip")
    )
    assert torch.equal(spatter(black, draws(40), *BRIGHT), wrapped)
    bright = noise(40, (32, 27), *BRIGHT[:3]) >= 256 / 255
    calm = ~bright.flatten(1).any(1)
    assert 5 < calm.sum() < 35
    assert torch.equal(wrapped[calm], clipped[calm])
    # A level just beyond 255 is almost no water once wrapped.
    assert wrapped[:, 0][bright].mean() < 0.3 * clipped[:, 0][bright].mean()
    for parameters in (WATER, MUD):
        one, two = (spatter(black, draws(40), *parameters, mode=m) for m in ("published", "clip"))
        assert torch.equal(one, two)
    with pytest.raises(InputError, match="Did you mean 'clip'"):
        spatter(black, draws(6), *BRIGHT, mode="clop")


@held_to("spatter/formula")
def test_mud_is_the_formula_with_shared_numbers(allowed):
    batch = images(4, (3, 32, 27), dtype=torch.float64)
    result = spatter(batch, draws(4), *MUD)
    dirty = noise(4, (32, 27), 0.65, 0.1, 0.7).numpy() > 0.69
    for row in range(4):
        drops = ndimage.gaussian_filter(dirty[row].astype(float), 0.6, mode="nearest", truncate=4)
        drops = np.where(drops < 0.8, 0, drops)
        color = np.array([63, 42, 20])[:, None, None] / 255
        allowed.check(result[row], batch[row].numpy() * (1 - drops) + color * drops)
        assert (drops > 0).any()


def test_an_image_without_drops_stays():
    batch = images(2, (3, 16, 16))
    for mud in (0, 1):
        assert torch.equal(spatter(batch, draws(2), 0, 0.01, 1, 0.7, 0.6, mud), batch)


def test_one_channel_gets_the_grey_of_the_colour():
    coloured = spatter(torch.zeros(3, 3, 24, 24).double(), draws(3), *WATER)
    shares = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)[:, None, None]
    grey = spatter(torch.zeros(3, 1, 24, 24).double(), draws(3), *WATER)
    torch.testing.assert_close(grey[:, 0], (coloured * shares).sum(1), rtol=0, atol=1e-6)
    with pytest.raises(InputError, match="1 or 3 channels, got 4"):
        spatter(torch.zeros(1, 4, 8, 8), draws(1), *MUD)


@held_to("spatter/moments")
@pytest.mark.parametrize("severity", [1, 3, 5])
def test_the_moments_are_the_published_ones(real_data, severity, allowed):
    published = Published(real_data)
    runs = published.runs(lambda seed: corrupt(published.images, "spatter", severity, seed=seed), 6)
    allowed.check_moments(runs, published.moments("spatter", severity))
