"""The color primitive: each channel of each image goes through its own random tone curve."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from robustkit.augment.operation import (
    check_augmentable,
    on_device,
    without_autocast,
    working_dtype,
)
from robustkit.augment.tone_tables import curve_tables, look_up, table_cells
from robustkit.checks import check_held, check_size
from robustkit.errors import InputError

# Cells a half-wave of the highest frequency: the table is then off by 0.0006 of each amplitude.
_CELLS = 32
_HIGHEST = 2**20


@dataclass(frozen=True)
class ToneCurves:
    """The tone curves of images: sine coefficients `(N, C, K)`, and where each image's K start.

    Coefficient j of image i belongs to the frequency `first[i] + j`. Source: `Color`.
    """

    first: Int[Tensor, " n"]
    coefficients: Float[Tensor, "n c k"]


@dataclass(frozen=True)
class Color:
    """A random smooth tone curve: `x + sum_k b_k sin(pi k x)`, clipped to [0, 1].

    The coefficients `b_k` are drawn from N(0, T) for each image and channel; black and white stay.

    - `cutoff`: the highest frequency that can be drawn; an image's K is uniform on 1..cutoff.
    - `temperature`: the largest T; an image's T is uniform on [0, temperature].
    - `band`: None for all frequencies 1..K, or the most that a curve has: then the first, k, is
      uniform on 1..K, and the others follow up to `min(k + band - 1, K)`.
    - `shared`: one K, T and first frequency for all images of a call, as in the published code.

    Raises `InputError` for a negative temperature, or a cutoff or band below 1.

    Source: Modas et al., PRIME: A few primitives can boost robustness to common corruptions, ECCV
    2022, and its published code.
    """

    cutoff: int = 100
    temperature: int | float = 0.01
    band: int | None = None
    shared: bool = False

    def __post_init__(self) -> None:
        if self.cutoff < 1 or (self.band is not None and self.band < 1):
            raise InputError(
                f"cutoff and band must be at least 1, got {self.cutoff} and {self.band}."
            )
        if not 0 <= self.temperature < math.inf:
            raise InputError(
                f"temperature must be a finite number of at least 0, got {self.temperature}."
            )

    def sample(
        self,
        count: int,
        shape: tuple[int, int, int],
        *,
        generator: torch.Generator,
        dtype: torch.dtype,
        device: torch.device,
    ) -> ToneCurves:
        """Draw curves for each image; see `Operation`."""
        generator, dtype = on_device(generator, device), working_dtype(dtype)
        draws = torch.rand(
            3, 1 if self.shared else count, generator=generator, dtype=dtype, device=device
        ).expand(3, count)
        last = _uniform_integer(draws[0], self.cutoff)
        if self.band is None:
            first, width = torch.ones_like(last), self.cutoff
        else:
            first, width = _uniform_integer(draws[1], last), min(self.band, self.cutoff)
        coefficients = torch.randn(
            count, shape[0], width, generator=generator, dtype=dtype, device=device
        )
        frequencies = first[:, None] + torch.arange(width, device=device)
        scale = (self.temperature * draws[2, :, None]).sqrt() * (frequencies <= last[:, None])
        return ToneCurves(first, coefficients.mul_(scale[:, None]))

    def apply(
        self, images: Float[Tensor, "n c h w"], parameters: ToneCurves
    ) -> Float[Tensor, "n c h w"]:
        """Put each channel through its curve and clip; see `Operation`."""
        # The first frequencies are known without a look at the device where there is no band.
        first = None if self.band is None else parameters.first
        width = min(self.band or self.cutoff, self.cutoff)
        cells = table_cells(self.cutoff, width, self.temperature)
        return tone_curve(images, parameters.coefficients, first, cells=cells).clamp_(0, 1)


def tone_curve(
    images: Shaped[Tensor, "..."],
    coefficients: Shaped[Tensor, "..."],
    first: Int[Tensor, " n"] | None = None,
    *,
    cells: int | None = None,
) -> Float[Tensor, "n c h w"]:
    """Map pixels x in [0, 1] to `x + sum_j b_j sin(pi (first + j) x)`, channel by channel.

    - `images`: `(N, C, H, W)`; `coefficients`: `(N, C, K)`, the `b_j` of each channel.
    - `first`: the lowest frequency of each image; None for 1.
    - `cells`: of the table that stands for the curve, between which it is linear: it is off by
      about `pi^2 / (16 cells^2) * sum_k k^2 |b_k|` at most. By default 32 for each half-wave of the
      highest frequency, K without `first`; with it, the largest of `first` is read from its device.

    Nothing is clipped; half precision is computed in float32 and returned as it came. Raises
    `InputError` for coefficients that are not one row a channel, or no cells.

    Source: Modas et al., ECCV 2022.
    """
    check_augmentable(images)
    if coefficients.ndim != 3 or coefficients.shape[:2] != images.shape[:2]:
        raise InputError(
            f"coefficients must be {(*images.shape[:2], 'K')}, a row a channel, got "
            f"{tuple(coefficients.shape)}."
        )
    check_size("coefficients", coefficients)
    if not coefficients.is_floating_point() or coefficients.device != images.device:
        raise InputError(
            f"coefficients must be floating point on {images.device}, got {coefficients.dtype} on "
            f"{coefficients.device}."
        )
    if first is not None:
        _check_first(first, len(images))
    coefficients = coefficients.to(working_dtype(images.dtype))
    if cells is None:
        if first is not None:
            check_held("first", first)
        lowest = 1 if first is None else int(first.max())
        if lowest > _HIGHEST:
            raise InputError(f"first must be at most {_HIGHEST}, got {lowest}.")
        cells = max(_CELLS * (lowest + coefficients.shape[2] - 1), 1)
    if cells < 1:
        raise InputError(f"cells must be at least 1, got {cells}.")
    with without_autocast(images.device):
        return look_up(images, curve_tables(coefficients, first, cells=cells))


def _check_first(first: Shaped[Tensor, "..."], count: int) -> None:
    if first.shape != (count,) or first.dtype != torch.int64:
        raise InputError(
            f"first must be int64 of shape ({count},), one frequency an image, got {first.dtype} "
            f"of shape {tuple(first.shape)}."
        )
    check_size("first", first)


def _uniform_integer(
    draws: Float[Tensor, " n"], last: int | Int[Tensor, " n"]
) -> Int[Tensor, " n"]:
    """Turn uniforms in [0, 1) into uniform integers in 1..last."""
    # Rounding can carry a product up to `last` itself.
    return ((draws * last).long() + 1).clamp(max=last)
