"""Where the border of a rolled photograph runs: a score of rows and columns, in integers."""

from functools import lru_cache

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from robustkit.translation.levels import check_levels


def seam_profiles(
    levels: Shaped[Tensor, "..."],
) -> tuple[Int[Tensor, "n h"], Int[Tensor, "n w"]]:
    """Score each row and each column by how much like a first one it is, `(N, H)` and `(N, W)`.

    - `levels`: 8-bit images `(N, C, H, W)`, uint8, whose last row and column go on at the first.

    From one row to the next a photograph goes on with the slope that it has there, unless the
    border runs between them. With b(y) the bend at a row y, the second difference down a column,
    and d(y) the step to it from the row before, the score is
    `2 b(y-1) + 2 b(y) - b(y-2) - b(y+1) - d(y-1) - d(y+1)`: bends across the border less bends and
    steps beside it. Each stands for a sum over the row of 256 log2(1 + its size), rounded down, of
    the channel where it is largest. By the logarithm a border across the whole image counts more
    than an edge of some object, however strong, and what is beside it is compared by ratio.

    All are integers, and move with a circular shift of the image. Raises `InputError` for other
    images. Source: our own.
    """
    check_levels(levels)
    signed = levels.to(torch.int16)
    return _profile(signed, 2), _profile(signed, 3)


def _profile(signed: Tensor, axis: int) -> Tensor:
    steps = signed - signed.roll(1, axis)
    bends = steps.roll(-1, axis) - steps
    step, bend = _amount(steps, axis), _amount(bends, axis)
    across = bend + bend.roll(1, 1)
    beside = bend.roll(-1, 1) + bend.roll(2, 1) + step.roll(1, 1) + step.roll(-1, 1)
    return 2 * across - beside


def _amount(differences: Tensor, axis: int) -> Tensor:
    largest = differences.abs().amax(dim=1)
    amounts = _logarithms(differences.device)[largest.to(torch.int64)]
    return amounts.sum(dim=2 if axis == 2 else 1, dtype=torch.int64)


@lru_cache(maxsize=8)
def _logarithms(device: torch.device) -> Tensor:
    # The bits of a power count its logarithm to the base 2 without any rounding of floats.
    amounts = [((1 + size) ** 256).bit_length() - 1 for size in range(2 * 255 + 1)]
    with torch.inference_mode(False), torch.no_grad():
        return torch.tensor(amounts, dtype=torch.int32, device=device)
