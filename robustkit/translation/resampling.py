"""Shifts by parts of a pixel, and zooms: windows whose pixels are computed anew."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from robustkit.checks import check_held
from robustkit.data import as_float
from robustkit.errors import InputError, unknown
from robustkit.shapes import precise
from robustkit.translation.levels import Size, pair
from robustkit.translation.resizing import resized
from robustkit.translation.windows import (
    check_shifts,
    check_source,
    middle_of,
    middle_window,
    shifted_middle,
    surrounded,
    wrapped,
)

_METHODS = ("fourier", "bilinear")


@dataclass(frozen=True)
class SubpixelShift:
    """The shift by any real number of rows and columns, of the source before the window is cut.

    - `size`: of the window, rows and columns or one number for both, in pixels; None moves whole
      images, cyclically.
    - `method`: "fourier", the ideal shift of images that are sampled finely enough and repeat
      without end, of which the Nyquist frequency of an even side keeps its part that is real; or
      "bilinear", means of the four pixels around a place.

    A camera counts in levels: 8-bit images are clipped and rounded to 8 bits again. Floating images
    stay as computed, beyond [0, 1] too where the ideal shift rings at edges. With a `size` images
    need not repeat, but ring at their ends, and shifts may not leave them.

    Raises `InputError` for another method or size, images smaller than the window, and shifts that
    are not finite or leave the image. Source: sampling theory.
    """

    size: Size | None = None
    method: str = "fourier"

    def __post_init__(self) -> None:
        if self.method not in _METHODS:
            raise unknown("method", self.method, _METHODS)
        if self.size is not None:
            pair("size", self.size)

    def base(self, images: Shaped[Tensor, "..."]) -> Shaped[Tensor, "n c h w"]:
        """Return the windows in the middle, `(N, C, h, w)`, a view."""
        return middle_window(images, self._size(images))

    def apply(
        self, images: Shaped[Tensor, "..."], shifts: Shaped[Tensor, "..."]
    ) -> Shaped[Tensor, "n k c h w"]:
        """Return the shifted windows, `(N, K, C, h, w)`, in the dtype of the images.

        - `images`: `(N, C, H, W)`, uint8 or floating point of any finite range.
        - `shifts`: floating point or int64, `(K, 2)` for all images or `(N, K, 2)`.
        """
        check_shifts(shifts, images, real=True)
        size = self._size(images)
        shifts = shifts.to(torch.float64)
        positions = shifts if self.size is None else shifted_middle(images, size, shifts)
        values = _working(images)
        if self.method == "fourier":
            top, left = middle_of(images, size)
            moved = _fourier(values, shifts)[..., top : top + size[0], left : left + size[1]]
        else:
            moved = _bilinear(values, positions, size, whole=self.size is None)
        return _like(moved, images)

    def largest(self, images: Shaped[Tensor, "..."]) -> tuple[int, ...] | None:
        """Return by how many rows and columns the window can move; None for whole images."""
        return None if self.size is None else middle_of(images, self._size(images))

    def _size(self, images: Tensor) -> tuple[int, int]:
        check_source(images)
        if self.size is None:
            return images.shape[2], images.shape[3]
        return pair("size", self.size)


@dataclass(frozen=True)
class Zoom:
    """The zoom: a window larger or smaller by some pixels, resized to `size`.

    What stands for shifts are changes, int64 `(K,)`, the same for all images: by how many pixels
    the rows and the columns of the window grow; negative ones zoom in. Windows are in the middle,
    rounded down, and resized by bilinear interpolation with antialiasing; a change of 0 is the
    window as it is. 8-bit images are rounded to 8 bits again.

    `size` is rows and columns, or one number for both, in pixels. Raises `InputError` for a size
    below 1, and for windows without a pixel or larger than the image.
    """

    size: Size

    def __post_init__(self) -> None:
        pair("size", self.size)

    def base(self, images: Shaped[Tensor, "..."]) -> Shaped[Tensor, "n c h w"]:
        """Return the windows in the middle, `(N, C, h, w)`, a view."""
        return self._window(images, 0)

    def apply(
        self, images: Shaped[Tensor, "..."], shifts: Shaped[Tensor, "..."]
    ) -> Shaped[Tensor, "n k c h w"]:
        """Return the resized windows, `(N, K, C, h, w)`, in the dtype of the images.

        - `images`: `(N, C, H, W)`, uint8 or floating point of any finite range.
        - `shifts`: the changes, int64 `(K,)`.
        """
        check_source(images)
        if shifts.ndim != 1 or shifts.dtype != torch.int64 or len(shifts) == 0:
            raise InputError(
                f"the changes of a zoom must be int64 of shape (K,), got {shifts.dtype} of shape "
                f"{tuple(shifts.shape)}."
            )
        check_held("shifts", shifts)
        return torch.stack([self._resized(images, change) for change in shifts.tolist()], dim=1)

    def largest(self, images: Shaped[Tensor, "..."]) -> tuple[int, ...] | None:
        """Return by how many pixels the window can grow and shrink, one number."""
        check_source(images)
        size = pair("size", self.size)
        middle_of(images, size)
        grow = min(images.shape[2] - size[0], images.shape[3] - size[1])
        return (min(grow, min(size) - 1),)

    def _window(self, images: Tensor, change: int) -> Tensor:
        rows, columns = (side + change for side in pair("size", self.size))
        if min(rows, columns) < 1:
            raise InputError(f"a change of {change} pixels leaves no window; zoom in less.")
        return middle_window(images, (rows, columns))

    def _resized(self, images: Tensor, change: int) -> Tensor:
        window = self._window(images, change)
        if change == 0:
            return window
        size = pair("size", self.size)
        return _like(resized(_working(window), size), images)


def subpixel_shifts(
    images: Shaped[Tensor, "..."],
    shifts: Shaped[Tensor, "..."],
    size: Size | None = None,
    *,
    method: str = "fourier",
) -> Shaped[Tensor, "n k c h w"]:
    """Return windows of images `(N, C, H, W)` after real shifts; see `SubpixelShift`."""
    return SubpixelShift(size, method).apply(images, shifts)


def zooms(
    images: Shaped[Tensor, "..."], changes: Shaped[Tensor, "..."], size: Size
) -> Shaped[Tensor, "n k c h w"]:
    """Return zoomed windows of images `(N, C, H, W)`; see `Zoom`."""
    return Zoom(size).apply(images, changes)


def _working(images: Tensor) -> Tensor:
    values = as_float(images)
    return values.to(precise(values))


def _like(values: Tensor, images: Tensor) -> Tensor:
    if images.dtype == torch.uint8:
        return (values * 255).round_().clamp_(0, 255).to(torch.uint8)
    return values.to(images.dtype)


def _fourier(
    values: Float[Tensor, "n c height width"], shifts: Float[Tensor, "*count 2"]
) -> Float[Tensor, "n k c height width"]:
    height, width = values.shape[-2:]
    spectrum = torch.fft.rfft2(values)[:, None]
    shifts = shifts.to(values.device)
    rows = _phases(shifts[..., 0], height)[..., None, :, None]
    columns = _phases(shifts[..., 1], width)[..., None, None, : width // 2 + 1]
    turned = spectrum * rows.to(spectrum.dtype) * columns.to(spectrum.dtype)
    moved: Tensor = torch.fft.irfft2(turned, s=(height, width))
    return moved


def _phases(shifts: Float[Tensor, "*count"], side: int) -> Tensor:
    frequencies = torch.fft.fftfreq(side, 1 / side, dtype=torch.float64, device=shifts.device)
    angles = 2 * math.pi / side * (shifts[..., None] * frequencies)
    # At the Nyquist frequency both signs share one coefficient: the sine has no place.
    paired = 2 * frequencies.abs() != side
    return torch.complex(angles.cos(), angles.sin() * paired)


def _bilinear(
    values: Float[Tensor, "n c height width"],
    positions: Float[Tensor, "*count 2"],
    size: tuple[int, int],
    *,
    whole: bool,
) -> Float[Tensor, "n k c h w"]:
    corners = positions.floor()
    larger = size[0] + 1, size[1] + 1
    # Of a window at the end, the last row or column outside the source has weight zero.
    windows = (
        wrapped(values, corners.long(), larger)
        if whole
        else surrounded(values, corners.long(), larger, "zero")
    )
    cut = windows.cut()
    parts = (positions - corners).to(cut)[..., None, None, None]
    down, right = parts[..., 0, :, :, :], parts[..., 1, :, :, :]
    cut = torch.lerp(cut[..., :-1, :], cut[..., 1:, :], down)
    moved: Tensor = torch.lerp(cut[..., :-1], cut[..., 1:], right)
    return moved
