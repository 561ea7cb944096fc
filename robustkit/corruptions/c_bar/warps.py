"""Warps of C-bar: pixels are read elsewhere in the image, with black beyond it."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from robustkit.corruptions.c_bar.geometry import angles, between, shorter_side
from robustkit.corruptions.draws import Draws
from robustkit.corruptions.pixels import bilinear, pixel_grid
from robustkit.errors import InputError
from robustkit.shapes import precise


def pinch_and_twirl(
    images: Float[Tensor, "n c h w"], draws: Draws, pinch: float, twirl: float, blocks: int
) -> Float[Tensor, "n c h w"]:
    """Pinch and twirl the image within a circle in each of blocks by blocks equal rectangles.

    - `pinch`: power of the sine of the relative radius by which distances grow; in [0, 1).
    - `twirl`: angle in radians at the centre of a circle, to the left or right at random.
    - `blocks`: rectangles along each side. The published code takes 3, and 5 for images of 224
      pixels, for which it has no strengths; the table has 3.

    Pixels outside the circles stay as they are, bit for bit. Raises `InputError` when a side has
    fewer pixels than blocks. Source: Mintun, Kirillov and Xie, NeurIPS 2021, published code.
    """
    block = [size // blocks for size in images.shape[-2:]]
    if min(block) < 1:
        raise InputError(
            f"pinch_and_twirl needs at least {blocks} pixels a side, got {tuple(images.shape)}; "
            "use larger images or fewer blocks."
        )
    dtype = precise(images)
    rows, columns = pixel_grid(images, dtype)
    row_block, column_block = (
        grid.div(size, rounding_mode="floor").clamp_max(blocks - 1)
        for grid, size in zip((rows, columns), block, strict=True)
    )
    centre_rows, centre_columns = (row_block + 0.5) * block[0], (column_block + 0.5) * block[1]
    down, across = rows - centre_rows, columns - centre_columns
    distance = torch.hypot(down, across)
    relative = distance / (0.5 * min(block))
    inside = (relative < 1) & (distance > 0.0005)
    relative = torch.where(inside, relative, 1)
    stretch = (0.5 * math.pi * relative).sin() ** -pinch
    turns = torch.where(draws.uniform("turns", (blocks, blocks)) < 0.5, -1.0, 1.0).to(dtype)
    turn = turns[:, row_block.long(), column_block.long()]
    angle = twirl * turn * (1 - relative).square()
    cosine, sine = stretch * angle.cos(), stretch * angle.sin()
    warped = bilinear(
        images,
        centre_rows + down * cosine - across * sine,
        centre_columns + down * sine + across * cosine,
        "black",
    )
    return torch.where(inside, warped, images)


def ripple(
    images: Float[Tensor, "n c h w"], draws: Draws, amplitude: float
) -> Float[Tensor, "n c h w"]:
    """Move rows and columns each by a sine of their own position.

    - `amplitude`: largest displacement in shorter sides. The wavelengths are 0.1 to 0.3 of it.

    Source: Mintun, Kirillov and Xie, NeurIPS 2021, published code.
    """
    dtype = precise(images)
    side = shorter_side(images)
    wave = between(draws, "wavelength", 0.1 * side, 0.3 * side, dtype, (2,))
    phase = angles(draws, "phase", dtype, (2,))
    rows, columns = (
        grid + amplitude * side * (2 * math.pi * grid / wave[:, axis] + phase[:, axis]).sin()
        for axis, grid in enumerate(pixel_grid(images, dtype))
    )
    shape = (len(images), *images.shape[-2:])
    return bilinear(images, rows.expand(shape), columns.expand(shape), "black")
