"""Four more operations that the published code of AugMix has but leaves out by default.

They resemble corruptions of the test sets. Each moves an image away from a degenerate one, or
towards it: degenerate + factor * (image - degenerate), truncated to whole 8-bit levels.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

from robustkit.augment.augmix_tones import from_levels, per_image, to_levels
from robustkit.errors import InputError

# Of red, green and blue in the grey of Pillow, in units of 1 / 65536.
_LUMA = (19595.0, 38470.0, 7471.0)


def color(images: Shaped[Tensor, "..."], factor: Shaped[Tensor, "..."]) -> Float[Tensor, "n c h w"]:
    """Scale the distance of each pixel from its grey by `factor`, shape `(N,)`.

    Equals `PIL.ImageEnhance.Color` level for level. Images of one channel stay. Raises `InputError`
    unless images are floating point `(N, C, H, W)` of one channel or three, with one number an
    image.
    """
    levels = to_levels(images)
    return _blend(_grey(levels), levels, factor, images)


def contrast(
    images: Shaped[Tensor, "..."], factor: Shaped[Tensor, "..."]
) -> Float[Tensor, "n c h w"]:
    """Scale the distance of each level from the mean grey of the image by `factor`, shape `(N,)`.

    Equals `PIL.ImageEnhance.Contrast` level for level. Raises `InputError` as `color` does.
    """
    levels = to_levels(images)
    mean = _grey(levels).mean(dim=(1, 2, 3), keepdim=True, dtype=torch.float64)
    return _blend((mean + 0.5).floor().to(torch.float32), levels, factor, images)


def brightness(
    images: Shaped[Tensor, "..."], factor: Shaped[Tensor, "..."]
) -> Float[Tensor, "n c h w"]:
    """Scale each level by `factor`, shape `(N,)`.

    Equals `PIL.ImageEnhance.Brightness` level for level. Raises `InputError` unless images are
    floating point `(N, C, H, W)` and there is one number an image.
    """
    levels = to_levels(images)
    return _blend(torch.zeros_like(levels), levels, factor, images)


def sharpness(
    images: Shaped[Tensor, "..."], factor: Shaped[Tensor, "..."]
) -> Float[Tensor, "n c h w"]:
    """Scale the distance of each level from a 3 x 3 smoothing by `factor`, shape `(N,)`.

    Equals `PIL.ImageEnhance.Sharpness` level for level; the pixels at the edge stay. Raises
    `InputError` as `brightness` does.
    """
    levels = to_levels(images)
    smooth = levels.clone()
    if min(levels.shape[2:]) >= 3:
        neighbours = F.avg_pool2d(levels, 3, stride=1, divisor_override=1)
        inner = levels[:, :, 1:-1, 1:-1]
        smooth[:, :, 1:-1, 1:-1] = ((neighbours + 4 * inner) / 13 + 0.5).floor()
    return _blend(smooth, levels, factor, images)


def _grey(levels: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 1 h w"]:
    if levels.shape[1] == 1:
        return levels
    if levels.shape[1] != 3:
        raise InputError(
            f"the grey of an image needs one channel or three, got {levels.shape[1]}; leave out "
            "color and contrast (all_operations=False)."
        )
    red, green, blue = levels.split(1, dim=1)
    grey = red * _LUMA[0] + green * _LUMA[1] + blue * _LUMA[2]
    return torch.floor((grey + 32768) / 65536)


def _blend(
    degenerate: Float[Tensor, "..."],
    levels: Float[Tensor, "n c h w"],
    factor: Shaped[Tensor, "..."],
    images: Float[Tensor, "n c h w"],
) -> Float[Tensor, "n c h w"]:
    blended = degenerate + per_image("factor", factor, images) * (levels - degenerate)
    return from_levels(blended.clamp(0, 255).floor(), images)
