"""Four operations of AugMix that map the 8-bit levels of each image, as Pillow defines them.

Pillow works on 8-bit images. Here images are floating point in [0, 1]: an operation rounds them to
the nearest of the levels 0, 1/255, ..., 1, and its result lies on those levels again.
"""

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from robustkit.augment.operation import check_augmentable
from robustkit.errors import InputError


def to_levels(images: Shaped[Tensor, "..."]) -> Float[Tensor, "n c h w"]:
    """Return the nearest 8-bit levels, 0 to 255 in float32, of images `(N, C, H, W)` in [0, 1].

    Raises `InputError` for any other shape or for integers.
    """
    check_augmentable(images)
    return (images.to(torch.float32) * 255).round_()


def from_levels(
    levels: Float[Tensor, "n c h w"], images: Float[Tensor, "n c h w"]
) -> Float[Tensor, "n c h w"]:
    """Return levels 0 to 255 as images in [0, 1] of the dtype of `images`."""
    return levels.to(images.dtype) / 255


def per_image(
    name: str, values: Shaped[Tensor, "..."], images: Shaped[Tensor, "..."]
) -> Float[Tensor, "n 1 1 1"]:
    """Return the argument `values`, one number an image, in float32 and ready to broadcast.

    Raises `InputError` unless it has shape `(N,)`.
    """
    if values.ndim != 1 or values.shape != images.shape[:1]:
        raise InputError(
            f"{name} must have shape ({len(images)},), one number an image, got "
            f"{tuple(values.shape)}."
        )
    return values.to(torch.float32)[:, None, None, None]


def autocontrast(images: Shaped[Tensor, "..."]) -> Float[Tensor, "n c h w"]:
    """Stretch each channel of each image so that its darkest level is 0 and its brightest 255.

    A channel of one level stays. Equals `PIL.ImageOps.autocontrast` level for level. Raises
    `InputError` unless images are floating point `(N, C, H, W)`.
    """
    levels = to_levels(images)
    pixels = levels.flatten(2)
    low, high = pixels.amin(2, keepdim=True).double(), pixels.amax(2, keepdim=True).double()
    # Pillow truncates the stretched levels, so the products must round as its do: in float64, and
    # in the same order. A number divided by a tensor would be the product with its reciprocal.
    scale = torch.full_like(low, 255) / (high - low).clamp(min=1)
    identity = torch.arange(256, device=images.device, dtype=torch.float64).expand(1, 1, 256)
    stretched = (identity * scale + -low * scale).trunc().clamp(0, 255)
    table = torch.where(high > low, stretched, identity)
    return from_levels(_look_up(table.to(torch.float32), levels.long()), images)


def equalize(images: Shaped[Tensor, "..."]) -> Float[Tensor, "n c h w"]:
    """Give each channel of each image a histogram of levels as flat as a level map can make it.

    Equals `PIL.ImageOps.equalize` level for level; like it, a channel of one level stays, and one
    that has fewer than 255 pixels below its brightest level. Raises `InputError` unless images are
    floating point `(N, C, H, W)`.
    """
    levels = to_levels(images).long()
    pixels = levels.flatten(2)
    counts = torch.zeros(*pixels.shape[:2], 256, dtype=torch.int64, device=images.device)
    counts.scatter_add_(2, pixels, torch.ones_like(pixels[:1, :1, :1]).expand_as(pixels))
    below_brightest = (pixels < pixels.amax(2, keepdim=True)).sum(2, keepdim=True)
    step = below_brightest // 255
    darker = counts.cumsum(2) - counts
    flattened = ((step // 2 + darker) // step.clamp(min=1)).clamp(max=255)
    table = torch.where(step > 0, flattened, torch.arange(256, device=images.device))
    return from_levels(_look_up(table.to(torch.float32), levels), images)


def posterize(
    images: Shaped[Tensor, "..."], bits: Shaped[Tensor, "..."]
) -> Float[Tensor, "n c h w"]:
    """Keep the `bits` highest of the 8 bits of each level: `(N,)` whole numbers from 1 to 8.

    Equals `PIL.ImageOps.posterize` level for level. Raises `InputError` unless images are floating
    point `(N, C, H, W)` and there is one number an image.
    """
    step = torch.exp2(8 - per_image("bits", bits, images)).round()
    return from_levels((to_levels(images) / step).floor() * step, images)


def solarize(
    images: Shaped[Tensor, "..."], threshold: Shaped[Tensor, "..."]
) -> Float[Tensor, "n c h w"]:
    """Invert the levels from `threshold` on: `(N,)` numbers from 0 (all) to 256 (none).

    Equals `PIL.ImageOps.solarize` level for level. Raises `InputError` unless images are floating
    point `(N, C, H, W)` and there is one number an image.
    """
    levels = to_levels(images)
    bright = levels >= per_image("threshold", threshold, images)
    return from_levels(torch.where(bright, 255 - levels, levels), images)


def _look_up(
    table: Float[Tensor, "n c 256"], levels: Int[Tensor, "n c h w"]
) -> Float[Tensor, "n c h w"]:
    return table.gather(2, levels.flatten(2)).view(levels.shape)
