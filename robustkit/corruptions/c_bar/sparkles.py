"""Sparkles of C-bar: stars with rays of random length, in white or with white around them."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from robustkit.corruptions.c_bar.geometry import between, shorter_side
from robustkit.corruptions.draws import Draws
from robustkit.corruptions.pixels import pixel_grid
from robustkit.shapes import precise

# The number of rays is drawn from 50 to 199.
_RAYS = (50, 200)
_STARS = 5


def sparkles(
    images: Float[Tensor, "n c h w"], draws: Draws, radius: float
) -> Float[Tensor, "n c h w"]:
    """Put five white stars at random places.

    - `radius`: mean length of a ray in shorter sides. A ray deviates by 25 % and has at least one
      pixel; the light of a star falls with the inverse square of the distance.

    Source: Mintun, Kirillov and Xie, NeurIPS 2021, published code.
    """
    dtype = precise(images)
    height, width = images.shape[-2:]
    centre_rows = between(draws, "row", 0, height, dtype, (_STARS,))
    centre_columns = between(draws, "column", 0, width, dtype, (_STARS,))
    counts = draws.integers("rays", *_RAYS, (_STARS,))
    lengths = radius * shorter_side(images) * _deviations(draws, (_STARS,), dtype)
    untouched = torch.ones((), dtype=dtype, device=images.device)
    for star in range(_STARS):
        place = (centre_rows[:, star], centre_columns[:, star])
        profile, reach = _star(images, place, counts[:, star], lengths[:, star].clamp_min(1))
        untouched = untouched * (1 - (profile * reach).clamp_max(1))
    return (1 - (1 - images) * untouched.unsqueeze(1)).to(images.dtype)


def inverse_sparkles(
    images: Float[Tensor, "n c h w"], draws: Draws, exponent: float
) -> Float[Tensor, "n c h w"]:
    """Turn everything white but a star around a random place near the middle.

    - `exponent`: the image fades with the square of the distance to this power; 0 leaves a faint
      pattern of rays only.

    A ray is a quarter of the shorter side long and deviates by 25 %. Source: Mintun, Kirillov and
    Xie, NeurIPS 2021, published code.
    """
    dtype = precise(images)
    height, width = images.shape[-2:]
    place = (
        between(draws, "row", 0.25 * height, 0.75 * height, dtype),
        between(draws, "column", 0.25 * width, 0.75 * width, dtype),
    )
    lengths = 0.25 * shorter_side(images) * _deviations(draws, (), dtype)
    profile, reach = _star(images, place, draws.integers("rays", *_RAYS, ()), lengths)
    kept = (profile * reach.pow(exponent)).clamp_max(1)
    return (1 - (1 - images) * kept[:, None]).to(images.dtype)


def _deviations(draws: Draws, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return 1 + 0.25 * draws.normal("lengths", (*shape, _RAYS[1] - 1)).to(dtype)


def _star(
    images: Tensor, place: tuple[Tensor, Tensor], counts: Tensor, lengths: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the profile across a ray, and the squared length over distance, both `(N, H, W)`.

    Of the `lengths` `(N, 199)` an image uses the first `counts` `(N,)`; between two rays the length
    is interpolated.
    """
    rows, columns = pixel_grid(images, lengths.dtype)
    rows, columns = rows - place[0], columns - place[1]
    position = (torch.atan2(columns, rows) / (2 * math.pi) + 0.5) * counts[:, None, None]
    number = position.floor()
    offset = position - number
    rays = counts[:, None]
    ray = number.flatten(1).long().clamp_min(0).remainder(rays)
    following = lengths.gather(1, (ray + 1).remainder(rays)).reshape(offset.shape)
    length = torch.lerp(lengths.gather(1, ray).reshape(offset.shape), following, offset)
    return 1 - (offset - 0.5).square(), length.square() / (rows.square() + columns.square() + 1e-4)
