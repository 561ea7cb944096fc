"""Crops as the levels they stand for: what is selected as equal is equal for the model, too."""

import torch
from jaxtyping import Shaped, UInt8
from torch import Tensor

from robustkit.data import to_float
from robustkit.straight_through import straight_through
from robustkit.translation.levels import Size
from robustkit.translation.selection import crops_at


def level_crops(
    images: Shaped[Tensor, "..."],
    levels: UInt8[Tensor, "n c h w"],
    positions: Shaped[Tensor, "..."],
    crop: Size,
    *,
    wrap: bool = False,
) -> Shaped[Tensor, "n ..."]:
    """Cut crops out of images, with each value exactly its level, k / 255 in their type.

    - `images`: `(N, C, H, W)`, uint8 or floating point; `levels`: theirs, by `as_levels`.
    - `positions`, `crop`, `wrap`: as of `crops_at`, which has the shape of the result as well.

    Floating images may be off their levels by rounding; selection compares levels, so crops that
    it takes for equal must not differ by that. Gradients pass to the images as through a copy.
    Raises `InputError` as `crops_at`.
    """
    cut = crops_at(levels, positions, crop, wrap=wrap)
    if images.dtype == torch.uint8:
        return cut
    values = to_float(cut, images.dtype)
    if not (images.requires_grad and torch.is_grad_enabled()):
        return values
    return straight_through(crops_at(images, positions, crop, wrap=wrap), values)
