"""The spatial primitive: each image is warped by its own random smooth displacement."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from robustkit.arguments import check_count
from robustkit.augment.operation import check_augmentable, on_device, working_dtype
from robustkit.augment.sine_modes import folded_deviations, sine_series
from robustkit.checks import check_size
from robustkit.errors import InputError

# The share of the way to the first fold that a certified displacement goes at most.
_CERTIFIED_SHARE = 0.95

_Row = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Warps:
    """The warps of images: cutoffs and temperatures `(N,)`, and coefficients for both directions.

    `coefficients` `(N, 2, H - 2, W - 2)` are those of the sines that a grid of H x W holds, for the
    displacement to the right and downwards; see `displacement_field`. Source: `Diffeomorphism`.
    """

    cutoffs: Int[Tensor, " n"]
    temperatures: Float[Tensor, " n"]
    coefficients: Float[Tensor, "n 2 rows columns"]


@dataclass(frozen=True)
class Diffeomorphism:
    """A random smooth warp that keeps the border in place.

    A displacement is `sqrt(T) sum_ij C_ij / sqrt(i^2 + j^2) sin(pi i y) sin(pi j x)` over
    `i^2 + j^2 < (c + 1/2)^2`, in units of the image's side, with C standard normal; the other
    direction has its own C. Up to a largest cutoff, uniform on 3..cutoff, an image's c has the
    arcsine law on 2 and above, and so has T between that of a typical displacement of half a pixel
    and that where the map begins to fold, unless that is less.

    - `cutoff`: the highest c that can be drawn.
    - `certified`: shrink a displacement that folds the image over or nearly does: the determinant
      of its Jacobian is then positive everywhere. Without it warps are invertible mostly.
    - `shared`: one warp for all images of a call, as in the published code.

    Images need not be square: displacements are in units of each side, and the half pixel is that
    of the shorter one. Raises `InputError` for a cutoff below 3.

    Source: Modas et al., PRIME: A few primitives can boost robustness to common corruptions, ECCV
    2022, and its published code; Petrini et al., Relative stability toward
    diffeomorphisms indicates performance in deep nets, NeurIPS 2021.
    """

    cutoff: int = 100
    certified: bool = False
    shared: bool = False

    def __post_init__(self) -> None:
        if self.cutoff < 3:
            raise InputError(f"cutoff must be at least 3, got {self.cutoff}.")

    def sample(
        self,
        count: int,
        shape: tuple[int, int, int],
        *,
        generator: torch.Generator,
        dtype: torch.dtype,
        device: torch.device,
    ) -> Warps:
        """Draw a warp for each image; see `Operation`."""
        generator, dtype = on_device(generator, device), working_dtype(dtype)
        height, width = shape[1:]
        fresh = 1 if self.shared else count
        cutoffs, temperatures = self.strengths(
            fresh, min(height, width), generator=generator, dtype=dtype, device=device
        )
        deviations = folded_deviations(cutoffs, self.cutoff, height, width, dtype)
        deviations *= temperatures.sqrt()[:, None, None]
        coefficients = torch.randn(
            fresh, 2, *deviations.shape[1:], generator=generator, dtype=dtype, device=device
        )
        coefficients *= deviations[:, None]
        return Warps(
            cutoffs.expand(count),
            temperatures.expand(count),
            coefficients.expand(count, -1, -1, -1),
        )

    def strengths(
        self,
        count: int,
        side: int,
        *,
        generator: torch.Generator,
        dtype: torch.dtype,
        device: torch.device,
    ) -> tuple[Int[Tensor, " n"], Float[Tensor, " n"]]:
        """Draw a cutoff and a temperature for each image, whose shorter side has `side` pixels."""
        draws = torch.rand(3, count, generator=generator, dtype=dtype, device=device)
        largest = (draws[0] * (self.cutoff - 2)).floor_().clamp_(max=self.cutoff - 3) + 3
        arcsine = (draws[1:] * (math.pi / 2)).sin().square()
        cutoffs = (arcsine[0] * (largest - 1)).floor_().add_(2).minimum(largest).long()
        return cutoffs, torch.lerp(*temperature_range(cutoffs, side, dtype), arcsine[1])

    def apply(
        self, images: Float[Tensor, "n c h w"], parameters: Warps
    ) -> Float[Tensor, "n c h w"]:
        """Warp each image; see `Operation`."""
        displacement = displacement_field(parameters.coefficients, *images.shape[-2:])
        if self.certified:
            displacement = make_invertible(displacement)
        # Bilinear weights sum to 1 up to rounding: white would come out above 1 by as much.
        return warp(images, displacement).clamp_(0, 1)


def temperature_range(
    cutoffs: Int[Tensor, " n"], side: int, dtype: torch.dtype = torch.float32
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Return the lowest and the highest temperature for each cutoff, on `side` pixels.

    At the lowest the typical displacement `side sqrt(pi T log c) / 2` is half a pixel. At the
    highest it is `side / (pi c)`, where the map begins to fold; it is never below the lowest.
    Raises `InputError` for a side below one pixel and a dtype that is not floating point.

    Source: Petrini et al., NeurIPS 2021; the published code of PRIME.
    """
    check_count("side", side, 1)
    if not dtype.is_floating_point:
        raise InputError(f"dtype must be floating point, got {dtype}.")
    check_size("cutoffs", cutoffs)
    frequency = cutoffs.to(dtype)
    spread = math.pi * frequency.log()
    lowest = 1 / (spread * side**2)
    return lowest, torch.maximum(lowest, 4 / (math.pi**2 * frequency.square() * spread))


def displacement_field(
    coefficients: Shaped[Tensor, "..."], height: int, width: int
) -> Float[Tensor, "n 2 height width"]:
    """Return displacements in pixels: to the right in channel 0, downwards in channel 1.

    `coefficients` are `(N, 2, K, L)`: entry `[i - 1, j - 1]` is that of `sin(pi i y) sin(pi j x)`,
    where y and x go from 0 at the first pixel to 1 at the last one, and is in units of the width
    (channel 0) or height. There may be more coefficients than the grid has modes: those are folded.
    Computed in float32 or float64. Raises `InputError` for another shape, integers or a side below
    one pixel.

    Source: Petrini et al., NeurIPS 2021.
    """
    _check_pairs("coefficients", coefficients)
    if min(height, width) < 1:
        raise InputError(f"height and width must be at least 1, got {height} and {width}.")
    return sine_series(coefficients, height, width).mul_(_pair(width, height, coefficients))


def warp(
    images: Shaped[Tensor, "..."], displacement: Shaped[Tensor, "..."]
) -> Float[Tensor, "n c h w"]:
    """Move images along displacements in pixels: (y, x) gets the value at (y - down, x - right).

    `images` are `(N, C, H, W)`; `displacement` `(N, 2, H, W)` holds what is to the right in channel
    0 and down in channel 1. Values between pixels are bilinear, and those beyond the frame are the
    border's. Half precision is computed in float32 and returned as it came. Raises `InputError` for
    anything else than one displacement a pixel.

    Source: Petrini et al., NeurIPS 2021.
    """
    check_augmentable(images)
    count, _, height, width = images.shape
    if displacement.shape != (count, 2, height, width):
        raise InputError(
            f"displacement must be {(count, 2, height, width)}, got {tuple(displacement.shape)}."
        )
    check_size("displacement", displacement)
    if displacement.device != images.device:
        raise InputError(
            f"the displacement is on {displacement.device} and the images are on {images.device}; "
            "move them to one."
        )
    dtype, device = working_dtype(images.dtype), images.device
    across = torch.linspace(-1, 1, width, dtype=dtype, device=device).expand(height, -1)
    down = torch.linspace(-1, 1, height, dtype=dtype, device=device)[:, None].expand(-1, width)
    # A side of one pixel has nowhere to go: border padding takes its value wherever the grid is.
    scale = _pair(2 / max(width - 1, 1), 2 / max(height - 1, 1), images)
    grid = torch.addcmul(torch.stack([across, down]), displacement.to(dtype), scale, value=-1)
    warped = F.grid_sample(
        images.to(dtype),
        grid.permute(0, 2, 3, 1),
        mode="bilinear",
        padding_mode="border",
        align_corners=True,
    )
    return warped.to(images.dtype)


def jacobian_determinants(
    displacement: Shaped[Tensor, "..."],
) -> Float[Tensor, "n 4 rows columns"]:
    """Return the determinant of the Jacobian of a warp at the four corners of each pixel cell.

    Between pixels a displacement is taken as bilinear: in a cell the determinant of the Jacobian of
    `(y, x) -> (y - down, x - right)` is then linear along both axes, and lowest at a corner. A warp
    that keeps the border and has positive ones alone is invertible. Raises `InputError` unless the
    displacement is floating point `(N, 2, H, W)`.

    Source: the chain rule for bilinear maps of a cell.
    """
    _check_pairs("displacement", displacement)
    found = [(1 - a) * (1 - d) - b * c for (a, b), (c, d) in _corners(displacement)]
    return torch.stack(found, dim=1)


def make_invertible(
    displacement: Shaped[Tensor, "..."], *, share: float = _CERTIFIED_SHARE
) -> Float[Tensor, "n 2 h w"]:
    """Shrink displacements that go more than `share` of the way to a fold; the others stay.

    Each is multiplied by the largest number up to 1 for which the warp goes at most `share` of the
    way to where the determinant of its Jacobian vanishes first, anywhere: at one over the largest
    real eigenvalue of the displacement's Jacobian. With `share` < 1 all determinants are positive.
    Raises `InputError` unless the displacement is floating point `(N, 2, H, W)`.

    Source: `det(I - s J) = 0` where 1 / s is an eigenvalue of J.
    """
    _check_pairs("displacement", displacement)
    if min(displacement.shape[2:]) < 2:
        return displacement
    largest = displacement.new_zeros(len(displacement))
    for (a, b), (c, d) in _corners(displacement):
        half_trace = (a + d) / 2
        discriminant = half_trace.square() - (a * d - b * c)
        eigenvalue = half_trace + discriminant.clamp(min=0).sqrt()
        found = eigenvalue.where(discriminant >= 0, 0.0).flatten(1).amax(1)
        largest = torch.maximum(largest, found)
    return displacement * (share / largest).clamp(max=1)[:, None, None, None]


def _check_pairs(name: str, values: Shaped[Tensor, "..."]) -> None:
    """Refuse anything but a floating point `(N, 2, ..., ...)`, a plane for each direction."""
    if values.ndim != 4 or values.shape[1] != 2 or not values.is_floating_point():
        raise InputError(
            f"{name} must be floating point (N, 2, rows, columns), for the displacement to the "
            f"right and downwards, got {values.dtype} of shape {tuple(values.shape)}."
        )
    check_size(name, values)


def _corners(displacement: Float[Tensor, "n 2 h w"]) -> Iterator[tuple[_Row, _Row]]:
    """Yield the Jacobian of the displacement at each of the four corners of all cells, as rows.

    The rows are those of the components to the right and down, their entries the derivatives across
    and down. A corner takes the difference along each of the two edges of the cell that meet in it.
    """
    across, down = displacement.diff(dim=3), displacement.diff(dim=2)
    for x in (across[:, :, :-1], across[:, :, 1:]):
        for y in (down[..., :-1], down[..., 1:]):
            yield (x[:, 0], y[:, 0]), (x[:, 1], y[:, 1])


def _pair(first: int | float, second: int | float, like: Tensor) -> Float[Tensor, "2 1 1"]:
    """Return two numbers as a tensor on the device of `like`, without a copy from the host."""
    dtype = working_dtype(like.dtype)
    return torch.linspace(first, second, 2, dtype=dtype, device=like.device)[:, None, None]
