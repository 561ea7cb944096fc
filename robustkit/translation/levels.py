"""What selection looks at: sizes in pixels, and images as the 8-bit levels they are made of."""

from collections.abc import Iterable

import torch
from jaxtyping import Shaped, UInt8
from torch import Tensor

from robustkit.arguments import whole
from robustkit.checks import check_held, check_images
from robustkit.errors import InputError

Size = int | tuple[int, int]


def pair(name: str, size: object, minimum: int = 1) -> tuple[int, int]:
    """Return a size as (rows, columns), of one integer for both or of two.

    Raises `InputError` unless both are integers of any kind, from `minimum` on.
    """
    one = whole(size)
    sides = tuple(size) if one is None and isinstance(size, Iterable) else (one, one)
    rows, columns = (whole(side) for side in sides) if len(sides) == 2 else (None, None)
    if rows is None or columns is None or min(rows, columns) < minimum:
        raise InputError(
            f"{name} must be a whole number of at least {minimum}, or two of them, (rows, "
            f"columns), got {size!r}."
        )
    return rows, columns


def check_batch(images: Shaped[Tensor, "..."], *, unit_range: bool = True) -> None:
    """Refuse anything but images `(N, C, H, W)`, uint8 or floating point, in [0, 1] if asked.

    Raises `InputError`.
    """
    if images.ndim != 4:
        raise InputError(
            f"images must be a batch (N, C, H, W), got shape {tuple(images.shape)}; add what is "
            "missing with unsqueeze."
        )
    check_images(images, unit_range=unit_range, levels=True)
    check_held("images", images)


def check_levels(images: Shaped[Tensor, "..."]) -> None:
    """Refuse what is no batch `(N, C, H, W)` of 8-bit levels, uint8; raises `InputError`."""
    if images.ndim != 4 or images.dtype != torch.uint8 or images.numel() == 0:
        raise InputError(
            f"scores take 8-bit levels, uint8 (N, C, H, W), got {images.dtype} of shape "
            f"{tuple(images.shape)}; pass as_levels(images)."
        )
    check_held("images", images)


def check_fits(images: Shaped[Tensor, "..."], crop: tuple[int, int]) -> None:
    """Refuse what is no batch `(N, C, H, W)`, and crops larger than it; raises `InputError`."""
    if images.ndim != 4:
        raise InputError(f"images must be (N, C, H, W), got shape {tuple(images.shape)}.")
    check_inside((images.shape[2], images.shape[3]), crop)


def check_inside(sides: tuple[int, int], crop: tuple[int, int]) -> None:
    """Refuse a crop without a pixel, or with more than there are; raises `InputError`."""
    if min(crop) < 1:
        raise InputError(f"a crop has at least one pixel a side, got {crop[0]} x {crop[1]}.")
    if crop[0] > sides[0] or crop[1] > sides[1]:
        raise InputError(
            f"a crop of {crop[0]} x {crop[1]} pixels does not fit into images of {sides[0]} x "
            f"{sides[1]}; nothing is padded."
        )


def in_parts(
    images: Shaped[Tensor, "n c h w"], most: int, *, most_on_cpu: int | None = None
) -> tuple[Tensor, ...]:
    """Split a batch into parts of at most `most` pixels, or of one image.

    - `most`: rows times columns times images.
    - `most_on_cpu`: the same on a processor, where parts are fast that stay in its cache.
    """
    if most_on_cpu is not None and images.device.type == "cpu":
        most = most_on_cpu
    parts: tuple[Tensor, ...] = images.split(max(1, most // (images.shape[2] * images.shape[3])))
    return parts


@torch.no_grad()
def as_levels(images: Shaped[Tensor, "..."]) -> UInt8[Tensor, "n c h w"]:
    """Return the 8-bit levels of images `(N, C, H, W)`; uint8 images are returned as they are.

    Floating images must hold levels already: each value k / 255, to 1e-4, or in half precision to
    the rounding of that type.

    Raises `InputError` for others, because rounding them would move the boundary between two levels
    into the image, and for bfloat16, which cannot tell 256 levels apart.
    """
    if images.ndim != 4 or images.numel() == 0 or not images.is_floating_point():
        check_batch(images)
        return images
    check_held("images", images)
    if images.dtype == torch.bfloat16:
        raise InputError("bfloat16 cannot hold 256 levels; pass float32, float16 or uint8 images.")
    found = [_nearest(part) for part in in_parts(images.detach(), 2**25, most_on_cpu=2**16)]
    off = float(torch.cat([distances for _, distances in found]).abs().amax()) / 255
    # Of NaN no comparison is true.
    if not off <= max(1e-4, torch.finfo(images.dtype).eps / 4):
        raise _no_levels(images, off)
    return torch.cat([levels for levels, _ in found])


def _nearest(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the nearest levels, and the least and largest difference from them, in levels."""
    values = values.to(torch.promote_types(values.dtype, torch.float32))
    # Truncation rounds what was moved by one half. By way of 16 bits, which processors do in a
    # quarter of the time of the direct conversion; a value out of range wraps, and is far off.
    shifted = torch.add(values.new_full((), 0.5), values, alpha=255)
    levels = shifted.to(torch.int16).to(torch.uint8)
    return levels, torch.stack(shifted.sub_(levels).aminmax()) - 0.5


def _no_levels(images: Tensor, off: float) -> InputError:
    check_batch(images, unit_range=False)
    low, high = (float(value) for value in images.detach().aminmax())
    if low < 0 or high > 1:
        return InputError(
            f"crops are selected by 8-bit levels of images in [0, 1], got [{low:.4g}, "
            f"{high:.4g}]. Normalised images: undo it and put the normalisation inside the model. "
            "Images from 0 to 255: divide by 255. Images shifted by parts of a pixel: shift uint8 "
            "images, which are rounded to levels again, or clip and quantise the result."
        )
    return InputError(
        f"crops are selected by 8-bit levels, but a value is {off:.2g} off the next k / 255; pass "
        "uint8 images, which shifts and zooms round to levels again, or quantise the images first: "
        "(images * 255).round() / 255."
    )
