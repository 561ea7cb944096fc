"""What is known of each corruption of C-bar without running it: identities, moments, spectra."""

import math

import numpy as np
import pytest
import scipy.ndimage
import torch
from c_bar_toys import TABLE, corrupted, keyed, pictures
from corruption_parity import held_to
from scipy.stats import chisquare

from robustkit.corruptions.c_bar.geometry import GREY
from robustkit.corruptions.c_bar.noise import _frequency, _shaped_noise
from robustkit.corruptions.c_bar.splines import _coefficient_matrix
from robustkit.corruptions.smoothing import smooth


def grey(count, *size, value=0.5):
    return torch.full((count, 1, *size), value, dtype=torch.float64)


@pytest.mark.parametrize(
    ("name", "parameters", "tolerance"),
    [
        ("blue_noise_sample", (-1000.0,), 0),
        ("brownish_noise", (0.0,), 0),
        ("caustic_refraction", (0.0, 0.0), 1e-12),
        ("checkerboard_cutout", (0.0,), 0),
        ("circular_motion_blur", (0.0,), 1e-12),
        ("cocentric_sine_waves", (0.0,), 0),
        ("lines", (0.0,), 0),
        ("lines", (0.03,), 0),
        ("perlin_noise", (0.0,), 0),
        ("pinch_and_twirl", (0.0, 0.0, 3), 1e-12),
        ("plasma_noise", (0.0,), 0),
        ("ripple", (0.0,), 1e-12),
        ("single_frequency_greyscale", (0.0,), 0),
    ],
)
def test_no_strength_no_change(name, parameters, tolerance):
    images = pictures(3, 3, 32, 32)
    result = corrupted(name, images, parameters)
    torch.testing.assert_close(result, images, rtol=0, atol=tolerance)


@pytest.mark.parametrize("threshold", [-2.0, -0.5, 0.5])
def test_blue_noise_is_about_normal_and_blackens_whole_pixels(threshold):
    images = pictures(200, 3, 32, 32) + 0.1
    result = corrupted("blue_noise_sample", images, (threshold,))
    kept = result[:, 0] > 0
    assert torch.equal(result, images * kept[:, None])
    expected = 0.5 * math.erfc(threshold / math.sqrt(2))
    assert kept.double().mean().item() == pytest.approx(expected, abs=0.01)


def test_blue_noise_grows_in_proportion_to_the_frequency():
    noise = _shaped_noise(keyed(500), 1, _frequency(grey(1, 32, 32), torch.float64))[:, 0]
    power = torch.fft.fft2(noise).abs().square().mean(0)
    assert power[0, 0] < 1e-9 * power[1, 0]
    for one, two in ((2, 4), (4, 12), (1, 8)):
        ratio = (two / one) ** 2
        assert (power[two, 0] / power[one, 0]).item() == pytest.approx(ratio, rel=0.15)
        assert (power[0, two] / power[0, one]).item() == pytest.approx(ratio, rel=0.15)


def test_brownish_noise_has_its_deviation_and_its_spectrum():
    noise = corrupted("brownish_noise", torch.zeros(600, 2, 32, 32).double(), (0.2,)) / 0.2
    deviation = noise.std((-2, -1), correction=0)
    torch.testing.assert_close(deviation, torch.ones(600, 2).double(), rtol=0, atol=1e-10)
    power = torch.fft.fft2(noise).abs().square().mean((0, 1))
    for one, two in ((2, 3), (2, 4), (3, 6)):
        ratio = ((1 + two**2) / (1 + one**2)) ** 2
        assert (power[one, 0] / power[two, 0]).item() == pytest.approx(ratio, rel=0.15)
        assert (power[0, one] / power[0, two]).item() == pytest.approx(ratio, rel=0.15)
    products = (noise - noise.mean((-2, -1), keepdim=True)).prod(1).mean((-2, -1))
    assert abs(products.mean()) < 4 * products.std() / math.sqrt(600)


def test_squares_of_one_colour_are_cut_with_the_fraction_as_probability():
    images = pictures(400, 3, 32, 32)
    for fraction in (0.3, 1.0):
        result = corrupted("checkerboard_cutout", images, (fraction,))
        cut = (result != images).any(1)
        assert (result.movedim(1, -1)[cut] == GREY).all()
        assert cut.double().mean().item() == pytest.approx(fraction / 2, abs=0.02)


def test_lines_are_as_many_as_the_density_says_and_convex_with_grey():
    white = grey(200, 32, 32, value=1.0)
    some, more = (corrupted("lines", white, (density,)) for density in (1 / 32, 8 / 32))
    assert some.amin() >= GREY - 1e-12
    assert some.amax() == 1
    # A line covers a pixel per pixel of its longer direction when it crosses the picture.
    covered = ((1 - some) / (1 - GREY)).sum((1, 2, 3))
    assert 0 < covered.mean() < 50
    assert more.mean() < some.mean() - 4 * (1 - some.mean())
    assert torch.equal(corrupted("lines", white, (1.9 / 32,)), some)


def test_one_wave_obeys_the_recurrence_of_a_sine():
    wave = corrupted("single_frequency_greyscale", grey(50, 32, 32, value=0.0), (1.0,))[:, 0]
    for shifted in (wave, wave.mT):
        around = shifted[:, 2:] + shifted[:, :-2]
        middle = shifted[:, 1:-1]
        double_cosine = (around * middle).sum((1, 2)) / middle.square().sum((1, 2))
        assert (double_cosine.abs() <= 2 + 1e-9).all()
        torch.testing.assert_close(around, double_cosine[:, None, None] * middle, rtol=0, atol=1e-9)
    assert wave.square().mean().item() == pytest.approx(0.5, abs=0.05)


def test_rings_rise_evenly_from_minus_a_half_to_a_half():
    rings = corrupted("cocentric_sine_waves", grey(300, 32, 32, value=0.0), (1.0,))
    assert rings.abs().max() <= 0.5
    assert rings.mean().item() == pytest.approx(0, abs=0.02)
    assert rings.var().item() == pytest.approx(1 / 12, rel=0.05)


def test_sparkles_brighten_and_inverse_sparkles_fade_to_white():
    images = pictures(6, 3, 32, 32)
    small, large = (corrupted("sparkles", images, (radius,)) for radius in (0.02, 0.1))
    assert (small >= images - 1e-12).all()
    assert (large >= small - 1e-12).all()
    black = corrupted("inverse_sparkles", torch.zeros(6, 1, 64, 64).double(), (0.0,))
    # Without fading only the profile of a ray is left: 1 - d^2, with |d| up to a half.
    assert black.amin() >= 0
    assert 0.24 < black.amax() <= 0.25
    for name in ("sparkles", "inverse_sparkles"):
        white = corrupted(name, grey(2, 16, 16, value=1.0), TABLE[name][4])
        torch.testing.assert_close(white, grey(2, 16, 16, value=1.0), rtol=0, atol=1e-12)


def test_perlin_noise_is_half_grey_at_the_corners_of_its_lattice():
    side = 28
    layer = corrupted("perlin_noise", grey(20, side, side, value=0.0), (1.0,))[:, 0]
    corners = layer[:, :: side // 7, :: side // 7]
    torch.testing.assert_close(corners, torch.full_like(corners, 0.5), rtol=0, atol=1e-9)
    assert layer.amin() >= 0.5
    assert layer.amax() <= 1
    assert layer.mean() > 0.55
    blend = corrupted("perlin_noise", grey(20, side, side, value=0.2), (0.25,))[:, 0]
    torch.testing.assert_close(blend, 0.15 + 0.25 * layer, rtol=0, atol=1e-12)


def test_plasma_is_a_texture_within_minus_one_and_one():
    black = torch.zeros(40, 3, 32, 32, dtype=torch.float64)
    texture = corrupted("plasma_noise", black, (1.0,))
    assert texture.abs().max() <= 1
    assert (texture.std((-2, -1)) > 0.05).all()
    blend = corrupted("plasma_noise", black + 0.5, (0.3,))
    torch.testing.assert_close(blend, 0.35 + 0.3 * texture, rtol=0, atol=1e-12)


def test_pinches_stay_in_their_circles_and_turn_both_ways():
    images = pictures(30, 3, 32, 32)
    result = corrupted("pinch_and_twirl", images, (0.3, 1.0, 3))
    rows, columns = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    centres = torch.tensor([5.0, 15.0, 25.0])
    near = torch.stack(
        [(rows - y).square() + (columns - x).square() for y in centres for x in centres]
    ).amin(0)
    outside = near >= 25
    assert torch.equal(result[..., outside], images[..., outside])
    assert not torch.equal(result[..., ~outside], images[..., ~outside])
    # On a ramp along x, a turn to the left and one to the right move the left middle apart.
    ramp = (torch.arange(30).double() / 30).expand(40, 1, 30, 30)
    turned = corrupted("pinch_and_twirl", ramp, (0.0, 1.0, 1))[:, 0, 25, 15]
    assert (turned > 0.51).any()
    assert (turned < 0.49).any()


def test_a_ripple_moves_rows_by_their_own_sine():
    side = 40
    ramp = (torch.arange(side).double() / side).expand(5, 1, side, side)
    inner = slice(4, -4)
    moved = corrupted("ripple", ramp, (0.05,))[:, 0, inner, inner]
    shift = side * (moved - ramp[:, 0, inner, inner])
    assert shift.abs().max() <= 0.05 * side + 1e-9
    assert shift.abs().max() > 0.04 * side
    # Columns move by their column alone, so that all rows agree.
    torch.testing.assert_close(shift, shift[:, :1].expand_as(shift), rtol=0, atol=1e-9)


def test_water_without_depth_only_adds_light():
    dark, bright = (
        corrupted("caustic_refraction", grey(4, 32, 32, value=v), (0.0, 0.3)) for v in (0.4, 0.6)
    )
    light = dark - 0.4
    assert light.abs().max() < 0.4
    assert light.abs().max() > 0.01
    torch.testing.assert_close(bright - 0.6, light, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [(1, 1), (3, 8), (32, 21)])
def test_the_water_is_smoothed_as_scipy_does(size):
    surface = pictures(2, 1, *size)[:, 0]
    expected = [scipy.ndimage.gaussian_filter(one, sigma=1) for one in surface.numpy()]
    found = smooth(surface, 1, truncate=4, border="reflect")
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 10, 33, 200])
def test_spline_coefficients_are_those_of_scipy(size):
    matrix = _coefficient_matrix(size, torch.float64, torch.device("cpu"))
    expected = scipy.ndimage.spline_filter1d(np.eye(size), order=3, axis=0, mode="mirror")
    np.testing.assert_allclose(matrix, expected, rtol=0, atol=1e-12)


def test_a_blur_in_circles_keeps_rings_and_leaves_black_corners():
    rows = torch.arange(41).double() - 20
    distance = torch.hypot(rows[:, None], rows)
    rings = (0.5 + 0.5 * (0.5 * distance).cos()).expand(1, 1, 41, 41)
    blurred = corrupted("circular_motion_blur", rings, (9.0,))
    inside = distance < 19
    torch.testing.assert_close(blurred[..., inside], rings[..., inside], rtol=0, atol=2e-3)
    assert blurred[0, 0, 0, 0] < 0.2 * rings[0, 0, 0, 0]


def test_colours_are_magnified_in_every_order_and_the_first_is_smoothed():
    images = pictures(1, 1, 32, 32).expand(1200, 3, -1, -1)
    result = corrupted("transverse_chromatic_abberation", images, (0.5,))
    softened = images[0, 0].numpy()
    for axis in (0, 1):
        softened = scipy.ndimage.convolve1d(
            softened, [1 / 6, 4 / 6, 1 / 6], axis=axis, mode="mirror"
        )
    gaps = (result - torch.from_numpy(softened)).abs().amax((-2, -1))
    assert torch.equal((gaps < 0.51 / 255).sum(1), torch.ones(1200).long())
    orders = gaps.argsort(1) @ torch.tensor([9, 3, 1])
    _, counts = orders.unique(return_counts=True)
    assert len(counts) == 6
    assert chisquare(counts).pvalue > 1e-3


@held_to("transverse_chromatic_abberation/scipy", "transverse_chromatic_abberation/scipy-still")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_magnified_colours_are_rounded_as_by_scipy_on_8_bits(dtype, allowed):
    levels = (pictures(6, 3, 32, 24) * 255).round()
    for magnification in (0.05, 0.1, 0.25, 0.45, 0.5):
        images = (levels / 255).to(dtype)
        result = corrupted("transverse_chromatic_abberation", images, (magnification,))
        found = (result * 255).round().long()
        torch.testing.assert_close(found / 255, result, rtol=0, atol=1e-7, check_dtype=False)
        order = keyed(6).uniform("order", (3,)).argsort(dim=1, stable=True)
        for row in range(6):
            for channel in range(3):
                factor = 1 + magnification * order[row, channel].item() / 2
                picture = levels[row, channel].numpy().astype(np.uint8)
                larger = scipy.ndimage.zoom(picture, factor, prefilter=False)
                top, left = (larger.shape[0] - 32) // 2, (larger.shape[1] - 24) // 2
                expected = larger[top : top + 32, left : left + 24].astype(np.int64)
                # SciPy's own rounding decides the halves, which the unmagnified colour has.
                if (factor == 1) == (allowed.comparison == "scipy-still"):
                    allowed.check(found[row, channel], expected)
