"""What corruptions of several kinds do with pixels: find them, read between them, enlarge, grey."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from robustkit.arguments import Number
from robustkit.errors import InputError

Beyond = Literal["black", "mirror", "reflect"]

# How torch pads, and whether the border of an image runs through the middle of its last pixels.
_BEYOND = {
    "black": ("zeros", False),
    "mirror": ("reflection", True),
    "reflect": ("reflection", False),
}
# Red, green and blue of a grey value, as Pillow and OpenCV have them: ITU-R BT.601.
_SHARES = (0.299, 0.587, 0.114)


def pixel_grid(
    images: Float[Tensor, "n c h w"], dtype: torch.dtype
) -> tuple[Float[Tensor, "h 1"], Float[Tensor, " w"]]:
    """Return the row of each pixel as `(H, 1)` and its column as `(W,)`, which broadcast."""
    height, width = images.shape[-2:]
    rows = torch.arange(height, dtype=dtype, device=images.device)
    columns = torch.arange(width, dtype=dtype, device=images.device)
    return rows[:, None], columns


def bilinear(
    images: Float[Tensor, "n c h w"],
    rows: Float[Tensor, "n h w"],
    columns: Float[Tensor, "n h w"],
    beyond: Beyond,
) -> Float[Tensor, "n c h w"]:
    """Read images at fractional rows and columns, in pixels, in the dtype of `rows`.

    Beyond the border there is black, or the image mirrored, without its last pixel ("mirror") or
    with its last pixel repeated ("reflect").
    """
    height, width = images.shape[-2:]
    padding, corners = _BEYOND[beyond]
    if corners:
        places = [2 * columns / max(width - 1, 1) - 1, 2 * rows / max(height - 1, 1) - 1]
    else:
        places = [(2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1]
    return functional.grid_sample(
        images.to(rows.dtype),
        torch.stack(places, dim=-1),
        mode="bilinear",
        padding_mode=padding,
        align_corners=corners,
    ).to(images.dtype)


def enlarge(
    layers: Float[Tensor, "n c rows columns"], factor: Number, height: int, width: int
) -> Float[Tensor, "n c h w"]:
    """Enlarge layers by `factor`, linearly between outermost pixels, and keep the middle part.

    - `height`, `width`: of the middle part, at most the enlarged sides, which are rounded.

    Source: `clipped_zoom` in the released code of Hendrycks and Dietterich, ICLR 2019.
    """
    tall, wide = (round(side * factor) for side in layers.shape[-2:])
    layers = functional.interpolate(layers, (tall, wide), mode="bilinear", align_corners=True)
    top, left = (tall - height) // 2, (wide - width) // 2
    return layers[..., top : top + height, left : left + width]


def grey(images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 1 h w"]:
    """Return the grey of red, green and blue; one channel is its own grey."""
    if images.shape[1] == 1:
        return images
    shares = torch.tensor(_SHARES, dtype=images.dtype, device=images.device)
    return (images * shares[:, None, None]).sum(1, keepdim=True)


def check_channels(name: str, images: Float[Tensor, "n c h w"], *allowed: int) -> None:
    """Refuse images with a number of channels that `name` is not defined for.

    Raises `InputError`.
    """
    if images.shape[1] not in allowed:
        numbers = " or ".join(str(number) for number in allowed)
        raise InputError(
            f"{name} needs {numbers} channels, got {images.shape[1]}; "
            "images[:, :1].expand(-1, 3, -1, -1) makes three of the first one."
        )
