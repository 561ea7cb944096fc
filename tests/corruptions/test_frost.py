"""Frost: what the procedure promises of its textures, and photographs read as published."""

import itertools
import math
from functools import cache

import numpy as np
import pytest
import torch
from corruption_parity import held_to
from corruption_toys import Published, draws, images
from PIL import Image

from robustkit.corruptions import corrupt, parameters
from robustkit.corruptions.crystals import crystals
from robustkit.corruptions.frost import frost
from robustkit.errors import DataError

# Mean colour of the crops of the photographs, the second counted twice, and their mean contrast.
COLOR = np.array([0.563, 0.646, 0.693])
CONTRAST = 0.092
# Of each photograph: mean red, green and blue, contrast within a crop, and spread between crops.
KINDS = [
    (0.302, 0.579, 0.644, 0.061, 0.036),
    (0.776, 0.793, 0.829, 0.079, 0.024),
    (0.776, 0.793, 0.829, 0.079, 0.024),
    (0.568, 0.626, 0.677, 0.103, 0.027),
    (0.395, 0.440, 0.487, 0.139, 0.046),
]
# Share of the power of crops of 224 pixels in octaves of cycles a side: below 2, 2 to 4, ... 64 up.
OCTAVES = [0.138, 0.079, 0.085, 0.118, 0.157, 0.236, 0.171]


@pytest.mark.parametrize("shape", [(32, 32), (64, 40), (30, 224), (130, 150), (1, 1), (3, 2)])
def test_textures_have_mean_0_and_deviation_1(shape):
    texture = crystals(draws(5), *shape)
    assert texture.shape == (5, *shape)
    assert texture.mean((1, 2)).abs().max() < 1e-5
    if shape != (1, 1):
        torch.testing.assert_close(texture.square().mean((1, 2)), torch.ones(5))


@cache
def texture_by_pixels(row, count, height, width):
    """Return one texture before it is made to have mean 0 and deviation 1, without its field."""
    look = draws(count)
    roots, feathers = look.uniform("roots", (2, 36))[row], look.uniform("feathers", (2, 36))[row]
    turns = look.integers("directions", 0, 64, (36,))[row].tolist()
    noise = 2 * look.uniform("barbs", (4, 512))[row] - 1
    grain = 2 * look.uniform("grain", (height, width))[row] - 1
    texture, short = np.empty((height, width)), min(height, width)
    for i in range(height):
        for j in range(width):
            best = (math.inf, 0, 0, 0)
            for k in range(36):
                down = (i + 0.5 - (roots[0, k].item() + k // 6) * height / 6) / short
                right = (j + 0.5 - (roots[1, k].item() + k % 6) * width / 6) / short
                angle = math.pi * turns[k] / 64
                along = right * math.cos(angle) + down * math.sin(angle)
                across = abs(down * math.cos(angle) - right * math.sin(angle))
                best = min(best, (along**2 + 9 * across**2, along, across, k))
            _, along, across, k = best
            place = int((along + across) * 200 + 512 * feathers[1, k].item()) % 512
            barbs = sum(noise[octave, place >> octave].item() for octave in range(4)) / 2
            texture[i, j] = barbs + 0.3 * (2 * feathers[0, k].item() - 1)
            texture[i, j] += max(1 - 100 * across, 0) + 0.35 * grain[i, j].item()
    return texture


@held_to("frost/formula")
@pytest.mark.parametrize("shape", [(32, 32), (18, 21)])
@pytest.mark.parametrize(("image_weight", "frost_weight"), [(1, 0.2), (0.75, 0.45), (0.6, 0.75)])
def test_it_is_the_weighted_sum_with_a_loop_over_pixels(shape, image_weight, frost_weight, allowed):
    batch = images(3, (3, *shape), dtype=torch.float64)
    result = frost(batch, draws(3), image_weight, frost_weight, 1)
    bases = [smooth_basis(np.linspace(0, 3, side)) for side in shape]
    for row in range(3):
        large = 2 * draws(3).uniform("large", (1, 4, 4))[row, 0].double().numpy() - 1
        texture = texture_by_pixels(row, 3, *shape) + 0.65 * bases[0] @ large @ bases[1].T
        texture = (texture - texture.mean()) / texture.std()
        *color, contrast, spread = KINDS[draws(3).integers("kind", 0, 5, ())[row]]
        level = np.array(color) + spread * draws(3).normal("level", (1,))[row].item()
        ice = np.clip(level[:, None, None] + contrast * texture, 0, 1)
        allowed.check(result[row], image_weight * batch[row].numpy() + frost_weight * ice)


def smooth_basis(places):
    """Return the cubic convolution weights of 4 knots, ends repeated, with a = -3/4."""
    weights = np.zeros((len(places), 4))
    for row, place in enumerate(places):
        low = min(int(place), 3)
        for knot in range(low - 1, low + 3):
            t = abs(place - knot)
            near, far = (1.25 * t - 2.25) * t * t + 1, ((-0.75 * t + 3.75) * t - 6) * t + 3
            weights[row, min(max(knot, 0), 3)] += near if t <= 1 else far if t < 2 else 0
    return weights


def test_octaves_are_as_strong_as_in_the_photographs():
    texture = crystals(draws(24), 224, 224).double().numpy()
    window = np.outer(np.hanning(224), np.hanning(224))
    power = (np.abs(np.fft.fft2(texture * window)) ** 2).mean(0)
    line = np.fft.fftfreq(224) * 224
    cycles = np.hypot(line[:, None], line)
    edges = [0, 2, 4, 8, 16, 32, 64, 112]
    shares = [
        power[(cycles >= low) & (cycles < high)].sum() / power.sum()
        for low, high in itertools.pairwise(edges)
    ]
    assert np.abs(np.array(shares) - OCTAVES).max() < 0.07


def test_kinds_have_the_colours_and_the_contrast_of_the_photographs():
    ice = frost(torch.zeros(3000, 3, 32, 32), draws(3000), 1, 1, 1).double()
    means = ice.mean((2, 3))
    assert np.abs(means.mean(0).numpy() - COLOR).max() < 0.015
    contrast = ice.mean(1).std((1, 2)).mean().item()
    assert contrast == pytest.approx(CONTRAST, rel=0.05)
    # Blue ice is a fifth of it, white ice two fifths.
    assert (means[:, 2] - means[:, 0] > 0.2).double().mean().item() == pytest.approx(0.2, abs=0.03)
    assert (means[:, 0] > 0.7).double().mean().item() == pytest.approx(0.4, abs=0.04)
    assert ice.min() >= 0
    assert ice.max() <= 1


def test_the_result_is_the_weighted_sum():
    batch = images(4, (3, 20, 24), dtype=torch.float64)
    ice = frost(torch.zeros_like(batch), draws(4), 1, 1, 1)
    result = frost(batch, draws(4), 0.7, 0.45, 1)
    torch.testing.assert_close(result, 0.7 * batch + 0.45 * ice, rtol=0, atol=1e-12)
    grey = frost(torch.zeros(4, 2, 20, 24).double(), draws(4), 1, 1, 1)
    shares = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)[:, None, None]
    expected = (ice * shares).sum(1, keepdim=True).expand(4, 2, 20, 24)
    torch.testing.assert_close(grey, expected, rtol=0, atol=1e-6)
    assert not torch.allclose(ice[0], ice[1], atol=0.01)


NAMES = ["frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg"]


def write(folder, shapes):
    """Write five photographs whose red tells the row, green the column and blue the picture."""
    for number, (name, (height, width)) in enumerate(zip(NAMES, shapes, strict=True)):
        y, x = np.mgrid[:height, :width]
        picture = np.stack([y % 256, x % 256, np.full_like(x, 40 * number)], axis=2)
        # Not compressed, whatever the name says: levels must survive.
        Image.fromarray(picture.astype(np.uint8)).save(folder / name, format="PNG")
    return folder


@held_to("frost/photographs")
def test_photographs_are_cut_at_the_drawn_places(tmp_path, allowed):
    shapes = [(250, 240), (226, 256), (230, 230), (240, 226), (256, 256)]
    folder = write(tmp_path, shapes)
    batch = images(12, (3, 224, 224), dtype=torch.float64)
    result = frost(batch, draws(12), 0.7, 0.3, 1, frost_folder=folder)
    kinds = draws(12).integers("kind", 0, 5, ()).tolist()
    places = draws(12).uniform("crop", (2,)).tolist()
    for row, (kind, place) in enumerate(zip(kinds, places, strict=True)):
        with Image.open(folder / NAMES[kind]) as opened:
            picture = np.asarray(opened.convert("RGB"), dtype=float)
        (height, width), (down, right) = shapes[kind], place
        top, left = int(down * (height - 224)), int(right * (width - 224))
        crop = picture[top : top + 224, left : left + 224].transpose(2, 0, 1) / 255
        allowed.check(result[row], 0.7 * batch[row].numpy() + 0.3 * crop)


def test_photographs_are_cut_at_random_places(tmp_path):
    shapes = [(250, 240), (226, 256), (230, 230), (240, 226), (256, 256)]
    folder = write(tmp_path, shapes)
    black = torch.zeros(60, 3, 225, 225)
    levels = frost(black, draws(60), 1, 1, 1, frost_folder=folder).mul(255).round().long()
    top, left, kind = levels[:, 0, 0, 0], levels[:, 1, 0, 0], levels[:, 2, 0, 0] // 40
    assert set(kind.tolist()) == {0, 1, 2, 3, 4}
    line = torch.arange(225)
    assert torch.equal(levels[:, 0], (top[:, None, None] + line[:, None]).expand(-1, -1, 225))
    assert torch.equal(levels[:, 1], (left[:, None, None] + line).expand(-1, 225, -1))
    for number, (height, width) in enumerate(shapes):
        # The upper end is excluded, as by the published code.
        assert top[kind == number].max() < max(height - 225, 1)
        assert left[kind == number].max() < max(width - 225, 1)
    assert len(set(top[kind == 4].tolist())) > 4


@held_to("frost/shrunken")
@pytest.mark.parametrize(("side", "scale"), [(32, 0.2), (64, 0.3)])
def test_photographs_shrink_by_reading_between_pixels(tmp_path, side, scale, allowed):
    folder = write(tmp_path, [(240, 250)] * 5)
    black = torch.zeros(20, 3, side, side)
    levels = frost(black, draws(20), 1, 1, scale, frost_folder=folder).double() * 255
    # Pixel i of the shrunken photograph is at (i + 1/2) / scale - 1/2 of the whole one.
    places = (torch.arange(round(250 * scale)) + 0.5).double() / scale - 0.5
    for image in levels:
        for coordinates in (image[0, :, 0], image[1, 0]):
            start = (places - coordinates[0]).abs().argmin()
            expected = places[start : start + side]
            allowed.check(coordinates / 255, expected / 255)


@pytest.mark.parametrize(("preset", "step"), [("cifar", 5), ("tiny", 10 / 3), ("imagenet", 1)])
@pytest.mark.parametrize("shape", [(30, 30), (20, 40), (60, 40)])
def test_photographs_shrink_by_the_preset_whatever_the_size(tmp_path, preset, step, shape):
    folder = write(tmp_path, [(360, 360)] * 5)
    black = torch.zeros(3, 3, *shape)
    for severity in range(1, 6):
        weight = parameters("frost", severity, preset)["frost_weight"]
        result = corrupt(black, "frost", severity, preset=preset, frost_folder=folder)
        rows = result[:, 0, :, 0].double() * 255 / weight
        # Red tells the row modulo 256.
        rises = rows.diff(dim=1).remainder(256)
        rises = rises[(rises - step).abs() < 2]
        assert len(rises) > 0.7 * 3 * shape[0]
        assert rises.mean().item() == pytest.approx(step, abs=0.05)


def test_photographs_grow_where_an_image_would_not_fit(tmp_path):
    folder = write(tmp_path, [(40, 50)] * 5)
    levels = frost(torch.zeros(4, 3, 200, 230), draws(4), 1, 1, 1, frost_folder=folder) * 255
    assert levels.shape == (4, 3, 200, 230)
    step = (levels[:, 0, -20, 100] - levels[:, 0, 20, 100]) / 160
    # 40 rows become (231 / 50 or 201 / 40) * 1.1 times as many, the larger of the two.
    torch.testing.assert_close(step, torch.full((4,), 40 / 221), rtol=0.05, atol=0)


def test_a_missing_photograph_is_named(tmp_path):
    write(tmp_path, [(80, 80)] * 5)
    (tmp_path / "frost4.jpg").unlink()
    with pytest.raises(DataError, match=r"frost4\.jpg"):
        frost(torch.zeros(1, 3, 64, 64), draws(1), 1, 1, 1, frost_folder=tmp_path)


@held_to("frost/moments")
@pytest.mark.parametrize("severity", [1, 3, 5])
def test_the_brightness_is_the_published_one_within_what_six_runs_tell(
    real_data, severity, allowed
):
    published = Published(real_data)
    runs = published.runs(lambda seed: corrupt(published.images, "frost", severity, seed=seed), 30)
    # The four kinds of a run decide most of it, so that six runs tell little: the photographs
    # themselves, cut by this package, come out as bright as the procedure, not as those runs.
    allowed.check_moments(runs, published.moments("frost", severity))
