"""Shifts by whole pixels: neighbourhoods, and what a camera sees after it moved.

A shift is (rows, columns): the window at position t, moved by d, is the window at t + d, so that
its content moves the other way. That holds for every model of a shift here.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from robustkit.arguments import check_count
from robustkit.errors import InputError, unknown
from robustkit.translation.levels import Size, pair
from robustkit.translation.windows import (
    Windows,
    WindowShift,
    check_range,
    check_shifts,
    check_source,
    middle_of,
    middle_window,
    shifted_middle,
    surrounded,
    wrapped,
)

_PADDINGS = ("zero", "reflect")


def neighbourhood(radius: int, *, neighbours: int = 8) -> Int[Tensor, "k 2"]:
    """Return all shifts by at most `radius` pixels, int64 `(K, 2)`, the smallest first.

    - `radius`: at least 1.
    - `neighbours`: 8, a shift is as large as the larger of its rows and columns: the
      `(2 radius + 1)^2 - 1` shifts of a square; or 4, as large as their sum: the
      `2 radius (radius + 1)` shifts of a diamond.

    The shift by nothing is left out. Shifts are sorted by size, then by Euclidean length, then by
    rows and columns: a smaller radius gives the first shifts of a larger one. Raises `InputError`
    for other numbers.
    """
    check_count("radius", radius, 1)
    check_neighbours(neighbours)
    line = range(-radius, radius + 1)
    found = []
    for row in line:
        for column in line:
            sides = abs(row), abs(column)
            size = max(sides) if neighbours == 8 else sum(sides)
            if 1 <= size <= radius:
                found.append((size, row**2 + column**2, row, column))
    return torch.tensor(sorted(found))[:, 2:]


def check_neighbours(neighbours: int) -> None:
    """Refuse anything but 8 or 4, of `neighbourhood`; raises `InputError`."""
    if neighbours not in (4, 8):
        raise InputError(f"neighbours must be 4 or 8, got {neighbours}.")


@dataclass(frozen=True)
class CropShift(WindowShift):
    """The realistic shift: a window of `size` moves over a larger image.

    New content enters on one side, old content leaves on the other; without a shift the window is
    in the middle, at `floor((H - rows) / 2)` and `floor((W - columns) / 2)`. `size` is rows and
    columns, or one number for both, in pixels. Raises `InputError` for a size below 1, images that
    are smaller, and shifts out of the image: nothing is ever padded.
    """

    size: Size

    def __post_init__(self) -> None:
        pair("size", self.size)

    def base(self, images: Shaped[Tensor, "..."]) -> Shaped[Tensor, "n c h w"]:
        """Return the windows in the middle, `(N, C, h, w)`, a view."""
        return middle_window(images, pair("size", self.size))

    def windows(self, images: Shaped[Tensor, "..."], shifts: Shaped[Tensor, "..."]) -> Windows:
        """Return the windows of shifts, int64 `(K, 2)` for all images or `(N, K, 2)`."""
        check_shifts(shifts, images)
        size = pair("size", self.size)
        return Windows(images, size, shifted_middle(images, size, shifts))

    def largest(self, images: Shaped[Tensor, "..."]) -> tuple[int, ...] | None:
        """Return by how many rows and columns the window can move either way."""
        return middle_of(images, pair("size", self.size))


@dataclass(frozen=True)
class CircularShift(WindowShift):
    """The cyclic shift of whole images: what leaves on one side comes back on the other."""

    def base(self, images: Shaped[Tensor, "..."]) -> Shaped[Tensor, "n c h w"]:
        """Return the images themselves."""
        check_source(images)
        return images

    def windows(self, images: Shaped[Tensor, "..."], shifts: Shaped[Tensor, "..."]) -> Windows:
        """Return the windows of shifts, int64 `(K, 2)` or `(N, K, 2)`, in repeated images."""
        check_source(images)
        check_shifts(shifts, images)
        return wrapped(images, shifts, (images.shape[2], images.shape[3]))

    def largest(self, images: Shaped[Tensor, "..."]) -> tuple[int, ...] | None:
        """Return None: any shift will do."""
        return None


@dataclass(frozen=True)
class PadShift(WindowShift):
    """The shift of whole images where what enters is black ("zero") or mirrored ("reflect").

    Mirrored pixels do not repeat the edge, and reach `H - 1` rows and `W - 1` columns far. Raises
    `InputError` for another mode, and for shifts farther than mirrored pixels reach.
    """

    mode: str = "zero"

    def __post_init__(self) -> None:
        if self.mode not in _PADDINGS:
            raise unknown("padding", self.mode, _PADDINGS)

    def base(self, images: Shaped[Tensor, "..."]) -> Shaped[Tensor, "n c h w"]:
        """Return the images themselves."""
        check_source(images)
        return images

    def windows(self, images: Shaped[Tensor, "..."], shifts: Shaped[Tensor, "..."]) -> Windows:
        """Return the windows of shifts, int64 `(K, 2)` or `(N, K, 2)`, in padded images."""
        check_source(images)
        check_shifts(shifts, images)
        height, width = images.shape[2], images.shape[3]
        if self.mode == "reflect":
            check_range(shifts, (1 - height, 1 - width), (height - 1, width - 1), images)
        # By its whole side or more, an image is out of sight.
        sides = shifts.new_tensor((height, width))
        seen = torch.minimum(torch.maximum(shifts, -sides), sides)
        return surrounded(images, seen, (height, width), self.mode)

    def largest(self, images: Shaped[Tensor, "..."]) -> tuple[int, ...] | None:
        """Return one row and column less than all for "reflect", and None for "zero"."""
        check_source(images)
        return (images.shape[2] - 1, images.shape[3] - 1) if self.mode == "reflect" else None


def crop_shifts(
    images: Shaped[Tensor, "..."], shifts: Shaped[Tensor, "..."], size: Size
) -> Shaped[Tensor, "n k c h w"]:
    """Return the shifted windows of `size` in images `(N, C, H, W)`; see `CropShift`."""
    return CropShift(size).apply(images, shifts)


def circular_shifts(
    images: Shaped[Tensor, "..."], shifts: Shaped[Tensor, "..."]
) -> Shaped[Tensor, "n k c h w"]:
    """Return images `(N, C, H, W)` after cyclic shifts; see `CircularShift`."""
    return CircularShift().apply(images, shifts)


def pad_shifts(
    images: Shaped[Tensor, "..."], shifts: Shaped[Tensor, "..."], mode: str = "zero"
) -> Shaped[Tensor, "n k c h w"]:
    """Return images `(N, C, H, W)` after shifts that pad them; see `PadShift`."""
    return PadShift(mode).apply(images, shifts)
