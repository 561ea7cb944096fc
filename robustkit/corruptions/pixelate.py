"""Pixelate: an image shrunk by box averages and enlarged again, to the digit of Pillow."""

import math
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from robustkit.arguments import Number
from robustkit.corruptions.draws import Draws
from robustkit.errors import InputError

# Fractional digits of the box weights in Pillow.
_BITS = 22


def pixelate(
    images: Float[Tensor, "n c h w"], draws: Draws, factor: Number
) -> Float[Tensor, "n c h w"]:
    """Shrink images to `int(factor * side)` pixels by box averages, and enlarge them again.

    - `images`: in [0, 1], rounded to 8 bits first, which is what the published code reads; `draws`:
      unused; `factor`: in (0, 1].

    Pillow's arithmetic is repeated in integers, averages rounded to 8 bits after each side, so the
    result equals that of `Image.resize` with `Image.BOX` both ways. The width shrinks first, as it
    always did up to Pillow 12; from 13 on, Pillow starts with a height that shrinks much more. No
    gradient passes. Raises `InputError` when no pixel would be left. Source: Hendrycks and
    Dietterich, ICLR 2019, section 3; released code.
    """
    height, width = images.shape[-2:]
    rows, columns = int(height * factor), int(width * factor)
    if rows < 1 or columns < 1:
        raise InputError(f"pixelate by {factor} leaves no pixel of {height} x {width} images.")
    levels = (images.detach() * 255).round().to(torch.int32)
    levels = _shrink(_shrink(levels, 3, columns), 2, rows)
    large = levels.to(images.dtype) / 255
    for axis, size in ((3, width), (2, height)):
        large = large.index_select(axis, _nearest(size, large.shape[axis], images.device))
    return large


def _shrink(levels: Tensor, axis: int, size: int) -> Tensor:
    if levels.shape[axis] == size:
        return levels
    before, last, weights = _boxes(levels.shape[axis], size, levels.device)
    # The first box starts at 0; the sum of any other is a difference of two running sums.
    sums = torch.cumsum(levels, dim=axis, dtype=torch.int32)
    total = sums.index_select(axis, last)
    total.narrow(axis, 1, size - 1).sub_(sums.index_select(axis, before))
    # At most 255 * 2**22 and a half: it fits into 31 bits.
    total = total.mul_(weights if axis == 3 else weights[:, None]).add_(1 << (_BITS - 1))
    return total.bitwise_right_shift_(_BITS).clamp_(0, 255)


@lru_cache(maxsize=64)
def _boxes(size: int, small: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    # The same double arithmetic as in Pillow decides which pixels a box holds.
    scale = size / small
    befores, lasts, weights = [], [], []
    for place in range(small):
        centre = (place + 0.5) * scale
        low = max(int(centre - scale / 2 + 0.5), 0)
        high = min(int(centre + scale / 2 + 0.5), size)
        inside = [k for k in range(low, high) if -0.5 < (k - centre + 0.5) * (1 / scale) <= 0.5]
        befores.append(inside[0] - 1)
        lasts.append(inside[-1])
        weights.append(math.floor(0.5 + (1 / len(inside)) * (1 << _BITS)))
    before, last = (
        torch.tensor(places, dtype=torch.int64, device=device) for places in (befores[1:], lasts)
    )
    return before, last, torch.tensor(weights, dtype=torch.int32, device=device)


@lru_cache(maxsize=64)
def _nearest(size: int, small: int, device: torch.device) -> Tensor:
    places = [int((place + 0.5) * (small / size)) for place in range(size)]
    return torch.tensor(places, device=device)
