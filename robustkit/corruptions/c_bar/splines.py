"""Corruptions of C-bar that resample with cubic B-splines: circular blur and colour fringes."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from robustkit.corruptions.draws import Draws
from robustkit.corruptions.levels import round_to_level
from robustkit.corruptions.pixels import check_channels, pixel_grid
from robustkit.shapes import precise

_ROTATIONS = 21
# The pole of the filter that turns samples into coefficients of cubic B-splines.
_POLE = math.sqrt(3) - 2


def circular_motion_blur(
    images: Float[Tensor, "n c h w"], draws: Draws, angle: float
) -> Float[Tensor, "n c h w"]:
    """Average 21 rotations of the image about its centre, from -angle to angle.

    - `angle`: in degrees. The weights are Gaussian, with a standard deviation of half the angle.

    Rotations interpolate with cubic splines, mirror the image for the sake of the spline and are
    black where they look beyond it. Nothing is random. Source: Mintun, Kirillov and Xie,
    NeurIPS 2021, published code.
    """
    count, channels, height, width = images.shape
    dtype = precise(images)
    row_filter, column_filter = (
        _coefficient_matrix(size, dtype, images.device) for size in (height, width)
    )
    coefficients = row_filter @ images.to(dtype) @ column_filter.mT
    # All images together are one table with a row for each pixel, which a rotation looks up.
    table = coefficients.reshape(count * channels, height * width).mT.contiguous()
    shares = [math.exp(-2 * _turn(step) ** 2) for step in range(_ROTATIONS)]
    blurred = torch.zeros_like(table)
    for step, share in enumerate(shares):
        places, weights = _rotation(images, math.radians(_turn(step) * angle))
        blurred += torch.nn.functional.embedding_bag(
            places,
            table,
            mode="sum",
            per_sample_weights=(weights * (share / sum(shares))).to(dtype),
        )
    return blurred.mT.reshape(images.shape).to(images.dtype)


def transverse_chromatic_abberation(
    images: Float[Tensor, "n 3 h w"], draws: Draws, magnification: float
) -> Float[Tensor, "n 3 h w"]:
    """Magnify red, green and blue about the centre by different factors, in a random order.

    - `magnification`: m; the factors are 1, 1 + m / 2 and 1 + m.

    As published, the pixels themselves serve as coefficients of a cubic spline, which smooths all
    three colours, and the result is rounded to 8-bit levels. The magnified size is a whole number
    of pixels. No gradient passes. Raises `InputError` unless there are three channels. Source:
    Mintun, Kirillov and Xie, NeurIPS 2021, published code.
    """
    check_channels("transverse_chromatic_abberation", images, 3)
    factors = (1.0, 1 + magnification / 2, 1 + magnification)
    rows, columns = (
        torch.stack([_magnification(size, factor, images.device) for factor in factors])
        for size in images.shape[-2:]
    )
    order = draws.uniform("order", (3,)).argsort(dim=1, stable=True)
    magnified = rows[order] @ images.double() @ columns[order].mT
    # The colour that keeps its size has multiples of 1/36 of a level: halves go up on any device.
    return round_to_level(magnified + 2.0**-22).to(images.dtype) / 255


def _turn(step: int) -> float:
    return 2 * step / (_ROTATIONS - 1) - 1


def _rotation(images: Tensor, angle: float) -> tuple[Tensor, Tensor]:
    """Return the 16 pixels, and their weights, that make each pixel of the rotated image."""
    height, width = images.shape[-2:]
    rows, columns = pixel_grid(images, torch.float64)
    down, across = rows - (height - 1) / 2, columns - (width - 1) / 2
    cosine, sine = math.cos(angle), math.sin(angle)
    rows = cosine * down + sine * across + (height - 1) / 2
    columns = cosine * across - sine * down + (width - 1) / 2
    inside = (rows >= 0) & (rows <= height - 1) & (columns >= 0) & (columns <= width - 1)
    row_places, row_weights = _taps(rows, height)
    column_places, column_weights = _taps(columns, width)
    places = row_places[..., :, None] * width + column_places[..., None, :]
    weights = row_weights[..., :, None] * column_weights[..., None, :] * inside[..., None, None]
    return places.reshape(height * width, 16), weights.reshape(height * width, 16)


def _magnification(size: int, factor: float, device: torch.device) -> Tensor:
    """Return the matrix `(size, size)` of the central part of a magnified side."""
    larger = round(size * factor)
    positions = torch.arange(size, dtype=torch.float64, device=device) + (larger - size) // 2
    places, weights = _taps(positions * ((size - 1) / max(larger - 1, 1)), size)
    matrix = torch.zeros(size, size, dtype=torch.float64, device=device)
    return matrix.scatter_add_(1, places, weights)


def _taps(positions: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return the four samples around each position, mirrored at the ends, and their weights."""
    first = positions.floor()
    offset = positions - first
    rest = 1 - offset
    weights = torch.stack(
        [
            rest**3,
            4 - 6 * offset.square() + 3 * offset**3,
            4 - 6 * rest.square() + 3 * rest**3,
            offset**3,
        ],
        dim=-1,
    )
    places = first.long()[..., None] + torch.arange(-1, 3, device=positions.device)
    period = max(2 * (size - 1), 1)
    places = places.remainder(period)
    return torch.minimum(places, period - places), weights / 6


def _coefficient_matrix(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the matrix from samples to B-spline coefficients, with ends that mirror.

    It is the impulse response sqrt(3) z^|k| of the inverse filter, summed over the mirror images of
    a sample. Source: Unser, Aldroubi and Eden, IEEE Trans. Signal Processing 1993.
    """
    if size == 1:
        return torch.ones(1, 1, dtype=dtype, device=device)
    period = 2 * (size - 1)
    places = torch.arange(size, device=device)

    def response(distance: Tensor) -> Tensor:
        near = distance.remainder(period).to(torch.float64)
        return math.sqrt(3) * (_POLE**near + _POLE ** (period - near)) / (1 - _POLE**period)

    matrix = response(places[:, None] - places) + response(places[:, None] + places)
    # A sample at an end is its own mirror image.
    matrix[:, 0] /= 2
    matrix[:, -1] /= 2
    return matrix.to(dtype)
