"""Windows of larger images: what is common to every model of a shift."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from robustkit.checks import check_held
from robustkit.errors import InputError
from robustkit.translation.levels import check_batch


@runtime_checkable
class ShiftModel(Protocol):
    """What a shift does to images: `CropShift` and its siblings, or a class of your own."""

    def base(self, images: Shaped[Tensor, "..."]) -> Shaped[Tensor, "n c h w"]:
        """Return what is seen of images `(N, C, H, W)` without a shift."""

    def apply(
        self, images: Shaped[Tensor, "..."], shifts: Shaped[Tensor, "..."]
    ) -> Shaped[Tensor, "n k c h w"]:
        """Return what is seen after each of K shifts, `(K, 2)` for all images or `(N, K, 2)`."""

    def largest(self, images: Shaped[Tensor, "..."]) -> tuple[int, ...] | None:
        """Return the largest shift either way, one number an axis; None where there is no limit."""


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of one size in larger images.

    - `source`: `(N, C, H, W)`; `size`: rows and columns of a window.
    - `positions`: of their top left corners in the source, int64, `(K, 2)` for all images or
      `(N, K, 2)`.
    """

    source: Shaped[Tensor, "n c height width"]
    size: tuple[int, int]
    positions: Int[Tensor, "*count 2"]

    def cut(self) -> Shaped[Tensor, "n k c h w"]:
        """Return the pixels of all windows, `(N, K, C, h, w)`, a copy."""
        rows, columns = self.positions.to(self.source.device).unbind(dim=-1)
        every = self.source.unfold(2, self.size[0], 1).unfold(3, self.size[1], 1)
        images = torch.arange(len(self.source), device=self.source.device)[:, None]
        return every[images, :, rows, columns].contiguous()


class WindowShift(ABC):
    """A shift by whole pixels, which moves a window over a source and changes no pixel."""

    @abstractmethod
    def windows(self, images: Shaped[Tensor, "..."], shifts: Shaped[Tensor, "..."]) -> Windows:
        """Return the windows of shifts, int64 `(K, 2)` for all images or `(N, K, 2)`."""

    def apply(
        self, images: Shaped[Tensor, "..."], shifts: Shaped[Tensor, "..."]
    ) -> Shaped[Tensor, "n k c h w"]:
        """Return what is seen after the shifts, `(N, K, C, h, w)`; see the class for errors.

        - `images`: `(N, C, H, W)`, uint8 or floating point of any finite range.
        - `shifts`: int64, `(K, 2)` for all images or `(N, K, 2)`.
        """
        return self.windows(images, shifts).cut()


def check_source(images: Shaped[Tensor, "..."]) -> None:
    """Refuse anything but images `(N, C, H, W)`, uint8 or floating point; raises `InputError`."""
    check_batch(images, unit_range=False)


def check_shifts(
    shifts: Shaped[Tensor, "..."], images: Shaped[Tensor, "n *shape"], *, real: bool = False
) -> None:
    """Refuse anything but shifts `(K, 2)` or `(N, K, 2)`, int64 or, if `real`, floating point.

    Raises `InputError`.
    """
    kind = "int64 or floating point" if real else "int64"
    if not (shifts.dtype == torch.int64 or (real and shifts.is_floating_point())):
        raise InputError(f"shifts must be {kind}, got {shifts.dtype}.")
    shared, own = shifts.ndim == 2, shifts.ndim == 3 and len(shifts) == len(images)
    if not (shared or own) or shifts.shape[-1] != 2:
        raise InputError(
            f"shifts must be rows and columns (K, 2), or ({len(images)}, K, 2) with others for "
            f"each image, got shape {tuple(shifts.shape)}."
        )
    check_held("shifts", shifts)
    if shifts.numel() == 0:
        raise InputError("there are no shifts; take some from neighbourhood(radius).")
    if real and not bool(shifts.isfinite().all()):
        raise InputError("shifts contain NaN or infinite values.")


def check_range(
    shifts: Shaped[Tensor, "*count 2"],
    low: tuple[int, int],
    high: tuple[int, int],
    images: Shaped[Tensor, "n c height width"],
) -> None:
    """Refuse shifts outside the rows and columns from `low` to `high`; raises `InputError`."""
    least, most = (bound.tolist() for bound in shifts.flatten(0, -2).aminmax(dim=0))
    if all(low[axis] <= least[axis] and most[axis] <= high[axis] for axis in (0, 1)):
        return
    raise InputError(
        f"shifts of {least[0]:g} to {most[0]:g} rows and {least[1]:g} to {most[1]:g} columns leave "
        f"the images of {images.shape[2]} x {images.shape[3]}, which allow {low[0]} to {high[0]} "
        f"rows and {low[1]} to {high[1]} columns; take smaller shifts, a smaller window or larger "
        "images: nothing is padded."
    )


def middle_of(images: Shaped[Tensor, "..."], size: tuple[int, int]) -> tuple[int, int]:
    """Return the position of a window of `size` in the middle of images, rounded down.

    Raises `InputError` for what are no images, and for images that are smaller.
    """
    check_source(images)
    height, width = images.shape[-2:]
    if size[0] > height or size[1] > width:
        raise InputError(
            f"a window of {size[0]} x {size[1]} does not fit into images of {height} x {width}; "
            "take a smaller size or larger images."
        )
    return (height - size[0]) // 2, (width - size[1]) // 2


def middle_window(
    images: Shaped[Tensor, "..."], size: tuple[int, int]
) -> Shaped[Tensor, "n c h w"]:
    """Return the windows of `size` in the middle of images, `(N, C, h, w)`, a view.

    Raises `InputError` as `middle_of`.
    """
    top, left = middle_of(images, size)
    return images[:, :, top : top + size[0], left : left + size[1]]


def shifted_middle(
    images: Shaped[Tensor, "..."], size: tuple[int, int], shifts: Shaped[Tensor, "*count 2"]
) -> Shaped[Tensor, "*count 2"]:
    """Return where windows that start in the middle lie after `shifts`.

    Raises `InputError` for windows that do not fit, and for shifts out of the images.
    """
    top, left = middle_of(images, size)
    below, right = images.shape[2] - size[0] - top, images.shape[3] - size[1] - left
    check_range(shifts, (-top, -left), (below, right), images)
    return shifts + shifts.new_tensor((top, left))


def wrapped(
    images: Shaped[Tensor, "n c height width"],
    shifts: Int[Tensor, "*count 2"],
    size: tuple[int, int],
) -> Windows:
    """Return windows of `size` at `shifts` in images that repeat without end."""
    sides = torch.tensor(images.shape[-2:], device=shifts.device)
    positions = shifts.remainder(sides)
    # The small shifts either way, so that few rows and columns need repeating.
    positions -= sides * (positions > sides // 2)
    return surrounded(images, positions, size, "circular")


def surrounded(
    images: Shaped[Tensor, "n c height width"],
    positions: Int[Tensor, "*count 2"],
    size: tuple[int, int],
    mode: str,
) -> Windows:
    """Return windows of `size` at positions partly outside of images, with what surrounds these.

    `mode` is "zero", "reflect" or "circular".
    """
    low, high = (bound.tolist() for bound in positions.flatten(0, -2).aminmax(dim=0))
    source = images
    for axis in (0, 1):
        side = images.shape[2 + axis]
        places = torch.arange(min(low[axis], 0), max(high[axis] + size[axis], side))
        places = places.to(images.device)
        inside = _PLACES[mode](places, side)
        source = source.index_select(2 + axis, inside)
        if mode == "zero":
            seen = (inside == places).reshape((-1, 1) if axis == 0 else (-1,))
            source = source * seen
    start = positions.new_tensor([min(bound, 0) for bound in low])
    return Windows(source, size, positions - start)


_PLACES: dict[str, Callable[[Tensor, int], Tensor]] = {
    "zero": lambda places, side: places.clamp(0, side - 1),
    "reflect": lambda places, side: side - 1 - (side - 1 - places.abs()).abs(),
    "circular": lambda places, side: places.remainder(side),
}
