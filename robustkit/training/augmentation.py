"""Random crops and flips of a whole batch at once."""

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from robustkit import rng
from robustkit.arguments import check_count
from robustkit.checks import check_held
from robustkit.errors import InputError


def crop_and_flip(
    images: UInt8[Tensor, "n channels height width"],
    indices: Int[Tensor, " n"],
    *,
    seed: int,
    epoch: int,
    padding: int = 4,
) -> UInt8[Tensor, "n channels height width"]:
    """Shift each image by up to `padding` pixels either way, and mirror it with probability 1/2.

    What leaves the frame is filled by reflection, as a random crop of the padded image would be.
    The draw for an image is keyed by its position `indices` in the dataset and by the epoch, so it
    does not depend on the batch. Raises `InputError` for other shapes, and when a side
    is not longer than `padding`.
    """
    if images.ndim != 4 or indices.shape != images.shape[:1] or 0 in images.shape:
        raise InputError(
            f"images must be a batch (N, C, H, W) with one index each, got {tuple(images.shape)} "
            f"and {tuple(indices.shape)}."
        )
    check_held("images", images)
    check_count("padding", padding, 0)
    height, width = images.shape[-2:]
    if min(height, width) <= padding:
        raise InputError(
            f"images of {height} x {width} are too small for crops with {padding} pixels of "
            "reflection; train with augment=False."
        )
    draws = rng.uniform(seed, f"crop and flip/{epoch}", indices, (3,))
    shifts = (draws[:, :2] * (2 * padding + 1)).long() - padding
    rows = _reflect(_positions(height, shifts[:, 0]), height)
    columns = _reflect(_positions(width, shifts[:, 1]), width)
    columns = torch.where(draws[:, 2:] < 0.5, columns.flip(1), columns)
    image = torch.arange(len(images), device=images.device)[:, None, None, None]
    channel = torch.arange(images.shape[1], device=images.device)[None, :, None, None]
    return images[image, channel, rows[:, None, :, None], columns[:, None, None, :]]


def _positions(length: int, shifts: Int[Tensor, " n"]) -> Int[Tensor, "n length"]:
    return torch.arange(length, device=shifts.device) + shifts[:, None]


def _reflect(positions: Int[Tensor, "n length"], length: int) -> Int[Tensor, "n length"]:
    last = length - 1
    return last - (last - positions.abs()).abs()
