"""Five operations of AugMix that move pixels: rotations, shears and translations.

As published they are affine maps of Pillow with bilinear interpolation: what comes from outside of
the image is black, and interpolated 8-bit levels are truncated to whole ones.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

from robustkit.augment.augmix_tones import from_levels, per_image, to_levels

# Before truncation: an interpolation between equal levels must not fall below them by rounding.
_GUARD = 2.0**-8


def rotate(
    images: Shaped[Tensor, "..."], degrees: Shaped[Tensor, "..."]
) -> Float[Tensor, "n c h w"]:
    """Rotate each image about its centre, counter-clockwise by `degrees`, shape `(N,)`.

    Equals `PIL.Image.Image.rotate` with bilinear resampling up to one 8-bit level. Raises
    `InputError` unless images are floating point `(N, C, H, W)` and there is one number an image.
    """
    levels = to_levels(images)
    rows, columns = _positions(levels)
    middle, centre = levels.shape[2] / 2, levels.shape[3] / 2
    angle = torch.deg2rad(per_image("degrees", degrees, images)[:, 0])
    cos, sin = torch.cos(angle), torch.sin(angle)
    x = cos * (columns - centre) - sin * (rows - middle) + centre
    y = sin * (columns - centre) + cos * (rows - middle) + middle
    return from_levels(_sample(levels, x, y), images)


def shear_x(
    images: Shaped[Tensor, "..."], slope: Shaped[Tensor, "..."]
) -> Float[Tensor, "n c h w"]:
    """Take row y from `slope * y` pixels further right, y from the top edge; slopes `(N,)`.

    Equals Pillow's affine transform (1, slope, 0, 0, 1, 0) up to one 8-bit level. Raises
    `InputError` as `rotate` does.
    """
    levels = to_levels(images)
    rows, columns = _positions(levels)
    x = columns + per_image("slope", slope, images)[:, 0] * rows
    return from_levels(_sample(levels, x, rows), images)


def shear_y(
    images: Shaped[Tensor, "..."], slope: Shaped[Tensor, "..."]
) -> Float[Tensor, "n c h w"]:
    """Take column x from `slope * x` pixels further down, x from the left edge; slopes `(N,)`.

    Equals Pillow's affine transform (1, 0, 0, slope, 1, 0) up to one 8-bit level. Raises
    `InputError` as `rotate` does.
    """
    levels = to_levels(images)
    rows, columns = _positions(levels)
    y = rows + per_image("slope", slope, images)[:, 0] * columns
    return from_levels(_sample(levels, columns, y), images)


def translate_x(
    images: Shaped[Tensor, "..."], pixels: Shaped[Tensor, "..."]
) -> Float[Tensor, "n c h w"]:
    """Take each pixel from `pixels` further right: positive numbers, `(N,)`, shift to the left.

    Equals Pillow's affine transform (1, 0, pixels, 0, 1, 0) up to one 8-bit level. Raises
    `InputError` as `rotate` does.
    """
    levels = to_levels(images)
    rows, columns = _positions(levels)
    x = columns + per_image("pixels", pixels, images)[:, 0]
    return from_levels(_sample(levels, x, rows), images)


def translate_y(
    images: Shaped[Tensor, "..."], pixels: Shaped[Tensor, "..."]
) -> Float[Tensor, "n c h w"]:
    """Take each pixel from `pixels` further down: positive numbers, `(N,)`, shift upwards.

    Equals Pillow's affine transform (1, 0, 0, 0, 1, pixels) up to one 8-bit level. Raises
    `InputError` as `rotate` does.
    """
    levels = to_levels(images)
    rows, columns = _positions(levels)
    y = rows + per_image("pixels", pixels, images)[:, 0]
    return from_levels(_sample(levels, columns, y), images)


def _positions(
    levels: Float[Tensor, "n c h w"],
) -> tuple[Float[Tensor, "h 1"], Float[Tensor, "1 w"]]:
    """Return the middles of the pixels, in pixels from the upper left corner of the image."""
    height, width = levels.shape[2:]
    rows = torch.arange(height, dtype=torch.float32, device=levels.device) + 0.5
    columns = torch.arange(width, dtype=torch.float32, device=levels.device) + 0.5
    return rows[:, None], columns[None]


def _sample(
    levels: Float[Tensor, "n c h w"], x: Float[Tensor, "..."], y: Float[Tensor, "..."]
) -> Float[Tensor, "n c h w"]:
    """Return the levels at positions that broadcast to `(N, H, W)`, and black outside of them."""
    count, _, height, width = levels.shape
    frame = (count, height, width)
    inside = ((x >= 0) & (x < width) & (y >= 0) & (y < height)).expand(frame)
    across, down = (x * (2 / width) - 1).expand(frame), (y * (2 / height) - 1).expand(frame)
    # Up to half a pixel from the edge Pillow repeats the last pixel, hence the padding.
    moved = F.grid_sample(
        levels,
        torch.stack([across, down], dim=3),
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )
    return (moved + _GUARD).floor() * inside[:, None]
