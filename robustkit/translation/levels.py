"""What selection looks at: sizes in pixels, and images as the 8-bit levels they are made of."""

import torch
from jaxtyping import Shaped, UInt8
from torch import Tensor

from robustkit.checks import check_held, check_images
from robustkit.errors import InputError

Size = int | tuple[int, int]


def pair(name: str, size: Size) -> tuple[int, int]:
    """Return a size as (rows, columns); raises `InputError` unless both are integers from 1 on."""
    sides = (size, size) if isinstance(size, int) else tuple(size)
    whole = all(isinstance(side, int) and not isinstance(side, bool) for side in sides)
    if len(sides) != 2 or not whole or min(sides) < 1:
        raise InputError(f"{name} must be a number of pixels or (rows, columns), got {size!r}.")
    return sides[0], sides[1]


def check_batch(images: Shaped[Tensor, "..."]) -> None:
    """Refuse anything but images `(N, C, H, W)`, uint8 or floating point in [0, 1].

    Raises `InputError`.
    """
    if images.ndim != 4:
        raise InputError(
            f"images must be a batch (N, C, H, W), got shape {tuple(images.shape)}; add what is "
            "missing with unsqueeze."
        )
    check_images(images, levels=True)


def check_fits(images: Shaped[Tensor, "..."], crop: tuple[int, int]) -> None:
    """Refuse what is no batch `(N, C, H, W)`, and crops that do not fit; raises `InputError`."""
    if images.ndim != 4:
        raise InputError(f"images must be (N, C, H, W), got shape {tuple(images.shape)}.")
    if min(crop) < 1:
        raise InputError(f"a crop has at least one pixel a side, got {crop[0]} x {crop[1]}.")
    if crop[0] > images.shape[2] or crop[1] > images.shape[3]:
        raise InputError(
            f"a crop of {crop[0]} x {crop[1]} pixels does not fit into images of "
            f"{images.shape[2]} x {images.shape[3]}; nothing is padded."
        )


def check_scored(images: Shaped[Tensor, "..."]) -> None:
    """Refuse what a score is not made for: no image, or other than 8 bits; raises `InputError`."""
    if images.dtype != torch.uint8 or images.numel() == 0:
        raise InputError(
            f"a score takes uint8 images (N, C, H, W), got {images.dtype} of shape "
            f"{tuple(images.shape)}; use robustkit.translation.as_levels(images)."
        )
    check_held("images", images)


@torch.no_grad()
def as_levels(images: Shaped[Tensor, "..."]) -> UInt8[Tensor, "n c h w"]:
    """Return the 8-bit levels of images `(N, C, H, W)`; uint8 images are returned as they are.

    Floating images must hold levels already: each value k / 255, to 1e-4, or in half precision to
    the rounding of that type.

    Raises `InputError` for others, because rounding them would move the boundary between two levels
    into the image, and for bfloat16, which cannot tell 256 levels apart.
    """
    check_batch(images)
    if images.dtype == torch.uint8:
        return images
    if images.dtype == torch.bfloat16:
        raise InputError("bfloat16 cannot hold 256 levels; pass float32, float16 or uint8 images.")
    scaled = images.detach().to(torch.promote_types(images.dtype, torch.float32)) * 255
    levels = scaled.round()
    off = max(abs(float(value)) for value in scaled.sub_(levels).aminmax()) / 255
    if off > max(1e-4, torch.finfo(images.dtype).eps / 4):
        raise InputError(
            f"crops are selected by 8-bit levels, but a value is {off:.2g} off the next k / 255; "
            "quantise the images first: (images * 255).round() / 255."
        )
    # By way of 16 bits, which processors do in a quarter of the time of the direct conversion.
    return levels.to(torch.int16).to(torch.uint8)
