"""Elastic transform: SciPy's interpolation with the same numbers, and what moves where."""

import numpy as np
import pytest
import torch
from corruption_parity import held_to
from corruption_toys import Published, draws, images
from scipy import ndimage

from robustkit.corruptions.elastic import elastic_transform
from robustkit.corruptions.levels import truncate
from robustkit.corruptions.severities import SEVERITIES
from robustkit.corruptions.smoothing import smooth


def reference(image, row, count, alpha, sigma, affine):
    """Return one image (C, H, W) in double precision, by SciPy."""
    _, height, width = image.shape
    third = min(height, width) // 3
    middle = np.array([width // 2, height // 2])
    points = np.array([middle + third, [middle[0] + third, middle[1] - third], middle - third])
    moves = draws(count).uniform("points", (3, 2))[row].double().numpy()
    moved = points + affine * (2 * moves - 1)
    # Rows of the matrix: what x and y of a pixel of the result were in the image.
    lifted = np.column_stack([moved, np.ones(3)])
    matrix = np.linalg.solve(lifted, points).T
    y, x = np.mgrid[:height, :width].astype(float)
    place = matrix @ np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    image = np.stack(
        [ndimage.map_coordinates(plane, place[::-1], order=1, mode="mirror") for plane in image]
    ).reshape(image.shape)
    noise = 2 * draws(count).uniform("shifts", (2, height, width))[row].double().numpy() - 1
    if alpha:
        shift = [ndimage.gaussian_filter(one, sigma, mode="reflect", truncate=3) for one in noise]
        place = [y + alpha * shift[1], x + alpha * shift[0]]
        image = np.stack(
            [ndimage.map_coordinates(plane, place, order=1, mode="reflect") for plane in image]
        )
    return image


@held_to("elastic_transform/formula", "elastic_transform/single")
@pytest.mark.parametrize("shape", [(32, 32), (20, 33), (41, 24)])
@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_it_is_that_of_scipy_with_shared_numbers(shape, severity, allowed):
    parameters = SEVERITIES["cifar"]["elastic_transform"][severity - 1]
    batch = images(3, (2, *shape), dtype=torch.float64)
    result = elastic_transform(batch.to(allowed.dtype), draws(3), *parameters)
    for row in range(3):
        allowed.check(result[row], reference(batch[row].numpy(), row, 3, *parameters))


@held_to("elastic_transform/formula")
@pytest.mark.parametrize("severity", [1, 2, 5])
def test_it_is_that_of_scipy_at_the_size_of_imagenet(severity, allowed):
    parameters = SEVERITIES["imagenet"]["elastic_transform"][severity - 1]
    batch = images(2, (1, 224, 224), dtype=torch.float64)
    result = elastic_transform(batch, draws(2), *parameters)
    for row in range(2):
        allowed.check(result[row], reference(batch[row].numpy(), row, 2, *parameters))


@pytest.mark.parametrize("border", ["reflect", "nearest"])
@pytest.mark.parametrize("sigma", [0.3, 1.92, 6.4, 170])
@pytest.mark.parametrize("shape", [(32, 32), (7, 40), (1, 5)])
def test_smoothing_is_that_of_scipy(border, sigma, shape):
    layers = images(2, (1, *shape), dtype=torch.float64)[:, 0]
    result = smooth(layers, sigma, truncate=3, border=border)
    for row in range(2):
        expected = ndimage.gaussian_filter(layers[row].numpy(), sigma, mode=border, truncate=3)
        np.testing.assert_allclose(result[row].numpy(), expected, rtol=0, atol=1e-12)


def test_a_constant_image_stays_and_values_stay_in_their_range():
    flat = torch.full((3, 3, 20, 20), 0.3, dtype=torch.float64)
    result = elastic_transform(flat, draws(3), 4, 1, 3)
    torch.testing.assert_close(result, flat, rtol=0, atol=1e-12)
    batch = images(3, (3, 20, 20), dtype=torch.float64)
    result = elastic_transform(batch, draws(3), 40, 0.5, 30)
    assert result.min() >= batch.min() - 1e-12
    assert result.max() <= batch.max() + 1e-12


def test_nothing_moves_at_zero():
    batch = images(2, (3, 9, 11))
    assert torch.equal(elastic_transform(batch, draws(2), 0, 0, 0), batch)
    near = elastic_transform(batch.double(), draws(2), 1e-9, 1, 1e-9)
    torch.testing.assert_close(near, batch.double(), rtol=0, atol=1e-7)


def test_the_three_points_land_where_they_are_sent():
    # The image holds its own coordinates, so that the result tells where a pixel was read.
    x = torch.arange(64, dtype=torch.float64).expand(64, 64)
    batch = torch.stack([x, x.T]).expand(20, 2, 64, 64) / 63
    result = elastic_transform(batch, draws(20), 0, 0, 4)
    moves = 4 * (2 * draws(20).uniform("points", (3, 2)).double() - 1)
    points = torch.tensor([[53.0, 53.0], [53.0, 11.0], [11.0, 11.0]])
    for row in range(20):
        for point, move in zip(points.double(), moves[row], strict=True):
            column, line = point + move
            read = [
                ndimage.map_coordinates(plane, [[line], [column]], order=1)[0] * 63
                for plane in result[row].numpy()
            ]
            assert read == pytest.approx(point.tolist(), abs=1e-9)


@held_to("elastic_transform/moments")
@pytest.mark.parametrize(("severity", "alpha"), [(1, 12.5), (3, 21.25), (5, 30)])
def test_the_warp_alone_has_the_moments_of_imagecorruptions(real_data, severity, alpha, allowed):
    # That code has no affine map: noise of 0.005 sides, smoothed by 0.01 sides, times alpha.
    published = Published(real_data)
    batch = published.images.float() / 255
    reach = alpha * 0.005 * 224
    runs = published.runs(
        lambda seed: truncate(elastic_transform(batch, draws(4, seed), reach, 2.24, 0)), 6
    )
    allowed.check_moments(runs, published.moments("elastic_transform", severity))
