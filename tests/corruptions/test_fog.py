"""Fog: the height map of a loop over points, the formula, and the published moments."""

import numpy as np
import pytest
import torch
from corruption_parity import held_to
from corruption_toys import Published, draws, images

from robustkit.corruptions import corrupt
from robustkit.corruptions.fog import diamond_square, fog


def map_by_points(offsets, decay):
    """Return the height map of one array of offsets in [-1, 1], point by point."""
    side = len(offsets)
    heights = np.zeros((side, side))

    def mean_of(*points):
        return sum(heights[row % side, column % side] for row, column in points) / 4

    step, amplitude = side, 100.0**2
    while step > 1:
        half = step // 2
        corners = [(r, c) for r in range(0, side, step) for c in range(0, side, step)]
        for r, c in corners:
            centre = mean_of((r, c), (r + step, c), (r, c + step), (r + step, c + step))
            heights[r + half, c + half] = centre + amplitude * offsets[r + half, c + half]
        for r, c in [(r, c + half) for r, c in corners] + [(r + half, c) for r, c in corners]:
            around = mean_of((r - half, c), (r + half, c), (r, c - half), (r, c + half))
            heights[r, c] = around + amplitude * offsets[r, c]
        step, amplitude = half, amplitude / decay**2
    heights -= heights.min()
    return heights / heights.max()


@pytest.mark.parametrize("side", [2, 4, 32, 64])
@pytest.mark.parametrize("decay", [3, 1.75, 1.4])
def test_the_map_is_that_of_a_loop_over_points(side, decay):
    offsets = draws(3).uniform("plasma", (side, side)).double()
    heights = diamond_square(offsets, decay)
    for row in range(3):
        expected = map_by_points(2 * offsets[row].numpy() - 1, decay)
        np.testing.assert_allclose(heights[row].numpy(), expected, rtol=0, atol=1e-12)
    single = diamond_square(offsets.float(), decay)
    torch.testing.assert_close(single.double(), heights, rtol=0, atol=2e-6)
    assert (heights.amin((1, 2)) == 0).all()
    assert (heights.amax((1, 2)) == 1).all()


@held_to("fog/formula", "fog/single")
@pytest.mark.parametrize(("shape", "side"), [((32, 32), 32), ((33, 20), 64), ((64, 40), 64)])
@pytest.mark.parametrize(("strength", "decay"), [(0.2, 3), (1.5, 1.75), (3, 1.4)])
def test_it_is_the_published_formula_with_shared_numbers(shape, side, strength, decay, allowed):
    batch = images(2, (3, *shape), dtype=torch.float64)
    offsets = draws(2).uniform("plasma", (side, side)).double().numpy()
    result = fog(batch.to(allowed.dtype), draws(2), strength, decay)
    for row, image in enumerate(batch.numpy()):
        plasma = map_by_points(2 * offsets[row] - 1, decay)[: shape[0], : shape[1]]
        expected = (image + strength * plasma) * image.max() / (image.max() + strength)
        allowed.check(result[row], expected)


def test_the_map_wraps_around_and_a_smaller_decay_is_rougher():
    offsets = draws(50).uniform("plasma", (64, 64)).double()
    steps = []
    for decay in (3, 2, 1.4):
        heights = diamond_square(offsets, decay)
        inside = (heights[:, 1:] - heights[:, :-1]).square().mean()
        around = (heights[:, 0] - heights[:, -1]).square().mean()
        assert 0.7 < around / inside < 1.3
        steps.append(inside.item())
    assert 1.2 * steps[0] < steps[1] < steps[2] / 4


@pytest.mark.parametrize(
    ("shape", "side"),
    [((32, 32), 32), ((33, 20), 64), ((20, 33), 64), ((224, 224), 256), ((3, 2), 4), ((1, 1), 2)],
)
def test_the_formula_holds_on_the_corner_of_the_map(shape, side):
    batch = images(2, (3, *shape), dtype=torch.float64)
    heights = diamond_square(draws(2).uniform("plasma", (side, side)).double(), 2)
    plasma = heights[:, None, : shape[0], : shape[1]]
    for row in range(2):
        high = batch[row].max()
        expected = (batch[row] + 1.5 * plasma[row]) * high / (high + 1.5)
        result = fog(batch, draws(2), 1.5, 2)[row]
        torch.testing.assert_close(result, expected, rtol=0, atol=1e-14)


def test_the_brightest_value_bounds_the_result_and_black_stays_black():
    batch = images(6, (1, 32, 32), dtype=torch.float64) * 0.5
    result = fog(batch, draws(6), 3, 1.4)
    bound = batch.amax((1, 2, 3), keepdim=True) * (1 + 1e-12)
    assert ((result >= 0) & (result <= bound)).all()
    assert fog(torch.zeros(2, 3, 8, 8), draws(2), 1, 2).abs().max() == 0


@held_to("fog/moments")
@pytest.mark.parametrize("severity", [1, 5])
def test_the_moments_are_the_published_ones(real_data, severity, allowed):
    published = Published(real_data)
    runs = published.runs(lambda seed: corrupt(published.images, "fog", severity, seed=seed), 12)
    allowed.check_moments(runs, published.moments("fog", severity))
