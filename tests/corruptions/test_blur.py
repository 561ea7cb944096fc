"""Gaussian, defocus and zoom blur: SciPy's filters on the published formulas, and its outputs."""

import math

import numpy as np
import pytest
import scipy.ndimage
import torch
from corruption_parity import held_to
from corruption_toys import Published, draws, images

from robustkit.corruptions import corrupt, parameters
from robustkit.corruptions.blur import defocus_blur, disk, gaussian_blur, zoom_blur
from robustkit.errors import InputError

SIZES = {"cifar": (32, 27), "tiny": (64, 50), "imagenet": (96, 113)}
CASES = [(preset, severity) for preset in SIZES for severity in range(1, 6)]


def reference_disk(radius, alias_blur):
    """The published kernel by plain loops: a disk on a grid, smoothed with mirrored edges."""
    reach, half = (8, 1) if radius <= 8 else (radius, 2)
    places = range(-reach, reach + 1)
    inside = np.array([[float(x * x + y * y <= radius * radius) for x in places] for y in places])
    inside /= inside.sum()
    taps = np.array([math.exp(-(k**2) / (2 * alias_blur**2)) for k in range(-half, half + 1)])
    taps /= taps.sum()
    padded = np.pad(inside, half, mode="reflect")
    size = 2 * reach + 1
    return sum(
        taps[i] * taps[j] * padded[i : i + size, j : j + size]
        for i in range(2 * half + 1)
        for j in range(2 * half + 1)
    )


def reference_zoom(layer, factors):
    total = 2 * layer
    height, width = layer.shape
    for factor in factors:
        tall, wide = math.ceil(height / factor), math.ceil(width / factor)
        top, left = (height - tall) // 2, (width - wide) // 2
        part = layer[top : top + tall, left : left + wide]
        zoomed = scipy.ndimage.zoom(part, factor, order=1)
        top, left = ((zoomed.shape[0] - height) // 2, (zoomed.shape[1] - width) // 2)
        total = total + zoomed[top : top + height, left : left + width]
    return total / (len(factors) + 2)


@held_to("gaussian_blur/formula", "gaussian_blur/single")
@pytest.mark.parametrize(("preset", "severity"), CASES)
def test_gaussian_blur_is_that_of_scipy(preset, severity, allowed):
    batch = images(2, (3, *SIZES[preset]), dtype=torch.float64)
    (sigma,) = parameters("gaussian_blur", severity, preset).values()
    expected = scipy.ndimage.gaussian_filter(
        batch.numpy(), (0, 0, sigma, sigma), mode="nearest", truncate=4
    )
    allowed.check(gaussian_blur(batch.to(allowed.dtype), draws(2), sigma), expected)


@held_to("defocus_blur/formula", "defocus_blur/single")
@pytest.mark.parametrize(("preset", "severity"), CASES)
def test_defocus_blur_is_the_published_kernel_mirrored_at_the_border(preset, severity, allowed):
    batch = images(2, (3, *SIZES[preset]), dtype=torch.float64)
    row = parameters("defocus_blur", severity, preset).values()
    kernel = reference_disk(*row)
    expected = scipy.ndimage.correlate(batch.numpy(), kernel[None, None], mode="mirror")
    allowed.check(defocus_blur(batch.to(allowed.dtype), draws(2), *row), expected)


def test_the_disk_sums_to_one_but_where_the_grid_cuts_its_edge():
    sums = {radius: disk(radius, 0.5).sum() for radius in (0.3, 1, 1.5, 3, 4, 6, 8, 10)}
    for radius, total in sums.items():
        assert total == pytest.approx(1, abs=1e-12 if radius < 8 else 0.02)
    assert sums[8] > 1.01
    assert sums[10] > 1.01
    kernel = disk(4, 0.5)
    assert np.abs(kernel - kernel.T).max() < 1e-15
    assert np.abs(kernel - kernel[::-1]).max() < 1e-15


@held_to("zoom_blur/formula", "zoom_blur/single")
@pytest.mark.parametrize(("preset", "severity"), CASES)
def test_zoom_blur_is_that_of_scipy(preset, severity, allowed):
    batch = images(2, (2, *SIZES[preset]), dtype=torch.float64)
    stop, step = parameters("zoom_blur", severity, preset).values()
    factors = np.arange(1, stop, step)[1:]
    expected = np.stack([[reference_zoom(c, factors) for c in one] for one in batch.numpy()])
    allowed.check(zoom_blur(batch.to(allowed.dtype), draws(2), stop, step), expected)


def test_zoom_blur_counts_the_published_factors():
    # The rounding of arange: 1.06 itself is among the factors, 1.26 too.
    counts = [len(np.arange(1, *parameters("zoom_blur", s, "cifar").values())) for s in range(1, 6)]
    assert counts == [7, 12, 16, 21, 26]
    # A white point in the middle of black: each factor but the first spreads it.
    batch = torch.zeros(1, 1, 33, 33)
    batch[..., 16, 16] = 1
    assert zoom_blur(batch, draws(1), 1.06, 0.01)[0, 0, 16, 16] >= 2 / 8


@pytest.mark.parametrize("function", [gaussian_blur, defocus_blur, zoom_blur])
@pytest.mark.parametrize("shape", [(1, 1, 20, 20), (3, 5, 21, 33)])
def test_a_constant_stays_and_images_do_not_mix(function, shape):
    row = {gaussian_blur: (2,), defocus_blur: (3, 0.1), zoom_blur: (1.11, 0.01)}[function]
    constant = torch.full(shape, 0.7)
    torch.testing.assert_close(function(constant, draws(shape[0]), *row), constant)
    batch = images(shape[0], shape[1:])
    kept = batch.clone()
    whole = function(batch, draws(shape[0]), *row)
    assert torch.equal(batch, kept)
    assert not torch.allclose(whole, batch, atol=0.01)
    alone = function(batch[-1:], draws(1), *row)
    torch.testing.assert_close(alone, whole[-1:], rtol=0, atol=2e-6)


@held_to(
    "gaussian_blur/outputs", "defocus_blur/outputs", "defocus_blur/outputs-1", "zoom_blur/outputs"
)
def test_the_result_is_that_of_the_published_code_to_one_level(real_data, allowed):
    published = Published(real_data)
    # The published kernel sums to a little less than 1 in float32 where a disk of radius 3 was
    # drawn, which truncation turns into a level wherever an image is flat.
    first = {"defocus_blur/outputs": (2, 3, 4, 5), "defocus_blur/outputs-1": (1,)}
    for severity in first.get(allowed.key, (1, 2, 3, 4, 5)):
        expected = published.output(allowed.name, severity)
        allowed.check(corrupt(published.images, allowed.name, severity), expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda batch: defocus_blur(batch, draws(1), 10, 0.5), "more than 10 pixels"),
        (lambda batch: zoom_blur(batch[..., :2, :], draws(1), 1.3, 0.1), "at least 3 pixels"),
    ],
)
def test_an_image_that_is_too_small_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call(images(1, (3, 9, 9)))
