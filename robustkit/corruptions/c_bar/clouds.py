"""Procedural textures of C-bar that cover an image: Perlin noise and plasma."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from robustkit.corruptions.c_bar.geometry import between, shorter_side
from robustkit.corruptions.draws import Draws
from robustkit.corruptions.pixels import check_channels, pixel_grid
from robustkit.shapes import precise

# Cells of the coarsest lattice along the shorter side; each octave halves them.
_CELLS, _OCTAVES = 7, (1, 2, 4, 8, 16)
# Entries of the tables of gradients and of the permutation.
_TABLE = 256


def perlin_noise(
    images: Float[Tensor, "n c h w"], draws: Draws, opacity: float
) -> Float[Tensor, "n c h w"]:
    """Blend an image with grey turbulence: the absolute values of five octaves of Perlin noise.

    - `opacity`: weight of the turbulence, in [0, 1]. The coarsest octave has seven cells along the
      shorter side.

    Sources: Perlin, An image synthesizer, SIGGRAPH 1985; Mintun, Kirillov and Xie, NeurIPS 2021,
    published code.
    """
    dtype = precise(images)
    scale = _CELLS / shorter_side(images)
    gradients = _lattice(images, draws, scale * _OCTAVES[-1], dtype)
    turbulence = torch.zeros((), dtype=dtype, device=images.device)
    for octave in _OCTAVES:
        rows, columns = (
            _interpolation(size, scale * octave, dtype, images.device) for size in images.shape[-2:]
        )
        turbulence = turbulence + _noise(gradients, rows, columns).abs() / octave
    layer = (0.5 + 0.5 * turbulence[:, None]).clamp(0, 1)
    return ((1 - opacity) * images + opacity * layer).to(images.dtype)


def plasma_noise(
    images: Float[Tensor, "n 3 h w"], draws: Draws, scale: float
) -> Float[Tensor, "n 3 h w"]:
    """Blend an image with waves that were bent by waves four to six times, in three colours.

    - `scale`: the image weighs 1 - scale, and a texture within [-1, 1] is added scale times.

    Raises `InputError` unless there are three channels. Source: Mintun, Kirillov and Xie,
    NeurIPS 2021, published code.
    """
    check_channels("plasma_noise", images, 3)
    dtype = precise(images)
    side = shorter_side(images)
    wave = between(draws, "wavelength", 0.075 * side, 0.2 * side, dtype)
    time = between(draws, "time", 0, 6 * math.pi, dtype)
    damping = 2.25 - between(draws, "sharpness", 0.5, 1.0, dtype)
    bends = draws.integers("bends", 4, 7, ())[:, None, None]
    rows, columns = (grid / wave for grid in pixel_grid(images, dtype))
    for bend in range(6):
        # An image that is done keeps its place, because what is added has no size.
        size = (bend < bends) / damping**bend
        frequency, shift = 1.93**bend, time / 1.15**bend
        across = size * (rows * frequency + shift).cos()
        down = size * (columns * frequency + shift).sin()
        # Each push is turned a little.
        columns, rows = columns + across - 0.3 * down, rows + down + 0.3 * across
    red, blue = (columns - time).sin(), (rows + time).sin()
    green = (0.5 * (columns + rows + time.sin())).sin()
    texture = torch.stack([red, green, blue], dim=1)
    return ((1 - scale) * images + scale * texture).to(images.dtype)


def _lattice(
    images: Tensor, draws: Draws, cells_per_pixel: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Return the row and the column part of the gradients at the corners of the finest lattice.

    A table of gradients is looked up by a permutation of row and column, as Perlin's is; so the
    lattice repeats after 256 cells.
    """
    order = draws.uniform("permutation", (_TABLE,)).argsort(dim=1, stable=True)
    # As published: directions of the points of a square, which favours its diagonals.
    table = draws.integers("gradients", -_TABLE, _TABLE, (2, _TABLE)).to(dtype)
    table = table / torch.linalg.vector_norm(table, dim=1, keepdim=True).clamp_min(1)
    rows, columns = (
        torch.arange(_corners(size, cells_per_pixel), device=images.device) % _TABLE
        for size in images.shape[-2:]
    )
    hashed = (order[:, rows, None] + columns) % _TABLE
    entry = order.gather(1, hashed.flatten(1))
    down, across = (part.gather(1, entry).reshape(hashed.shape) for part in table.unbind(1))
    return down, across


def _corners(size: int, cells_per_pixel: float) -> int:
    return math.floor((size - 1) * cells_per_pixel) + 2


def _interpolation(
    size: int, cells_per_pixel: float, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return how each pixel of a side weighs each corner, and weight times signed distance from it.

    Both are `(size, corners)`, with two entries a row.
    """
    position = torch.arange(size, dtype=torch.float64, device=device) * cells_per_pixel
    cell = position.floor().long()[:, None]
    offset = position[:, None] - cell
    ease = offset.square() * (3 - 2 * offset)
    weights = torch.zeros(size, _corners(size, cells_per_pixel), dtype=torch.float64, device=device)
    ramps = weights.clone()
    weights.scatter_(1, torch.cat([cell, cell + 1], 1), torch.cat([1 - ease, ease], 1))
    ramps.scatter_(
        1,
        torch.cat([cell, cell + 1], 1),
        torch.cat([(1 - ease) * offset, ease * (offset - 1)], 1),
    )
    return weights.to(dtype), ramps.to(dtype)


def _noise(
    gradients: tuple[Tensor, Tensor], rows: tuple[Tensor, Tensor], columns: tuple[Tensor, Tensor]
) -> Tensor:
    """Return gradient noise `(N, H, W)`.

    It is a sum over corners of weight times (gradient, offset from the corner); the weights are
    products of one for the row and one for the column, hence matrix products.
    """
    (row_weights, row_ramps), (column_weights, column_ramps) = rows, columns
    down, across = (
        part[:, : row_weights.shape[1], : column_weights.shape[1]] for part in gradients
    )
    by_rows = row_ramps @ (down @ column_weights.mT)
    by_columns = row_weights @ (across @ column_ramps.mT)
    return 1.5 * (by_rows + by_columns)
