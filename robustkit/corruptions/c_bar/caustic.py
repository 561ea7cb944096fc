"""Caustic refraction of C-bar: an image seen through a lit water surface."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from robustkit.corruptions.c_bar.geometry import between, shorter_side
from robustkit.corruptions.draws import Draws
from robustkit.corruptions.pixels import bilinear, pixel_grid
from robustkit.corruptions.smoothing import smooth
from robustkit.shapes import precise


def caustic_refraction(
    images: Float[Tensor, "n c h w"], draws: Draws, lens: float, lighting: float
) -> Float[Tensor, "n c h w"]:
    """See the image through a water surface: refracted and lit by the slope of caustics.

    - `lens`: how far a refracted ray travels sideways, in shorter sides.
    - `lighting`: brightness added per unit of slope.

    A surface that slopes by less than 2.56 degrees does not refract. The result is in [0, 1].
    Source: Mintun, Kirillov and Xie, NeurIPS 2021, published code, which rounds displacements to
    0.001 pixels besides.
    """
    dtype = precise(images)
    rows, columns = pixel_grid(images, dtype)
    surface = smooth(_caustics(images, draws, dtype), 1, truncate=4, border="reflect")
    surface = torch.nn.functional.pad(surface, (1, 1, 1, 1))
    down = surface[:, 2:, 1:-1] - surface[:, :-2, 1:-1]
    across = surface[:, 1:-1, 2:] - surface[:, 1:-1, :-2]
    # Snell's law with an index of 4, for a ray that falls straight onto the slope.
    normal = (1 + down.square() + across.square()).rsqrt()
    refracted = (1 - (1 - normal.square()) / 16).sqrt() - normal / 4
    reach = torch.where(normal < 1 - 1e-3, lens * shorter_side(images) * normal * refracted, 0)
    seen = bilinear(images.to(dtype), rows + down * reach, columns + across * reach, "black")
    light = lighting * (down - across)
    return (seen + light[:, None]).clamp(0, 1).to(images.dtype)


def _caustics(images: Tensor, draws: Draws, dtype: torch.dtype) -> Tensor:
    """Return the brightness of caustics in [0, 1], `(N, H, W)`: five waves that bend each other."""
    side = shorter_side(images)
    time = between(draws, "time", 0.5, 2.0, dtype)
    size = between(draws, "size", 0.75 * side, 1.25 * side, dtype)
    # Published phases start at -250: that many whole turns later, sines keep more digits.
    origin = 80 * math.pi - 250
    row, column = ((grid / size).remainder(1) * (2 * math.pi) for grid in pixel_grid(images, dtype))
    row, column = row + origin, column + origin
    far_row, far_column = (200 / (part - 80 * math.pi) for part in (row, column))
    bent_row, bent_column = row, column
    total = torch.ones_like(row + column)
    for wave in range(5):
        shift = time * (1 - 3.5 / (wave + 1))
        bent_row, bent_column = (
            row + (shift - bent_row).cos() + (shift + bent_column).sin(),
            column + (shift - bent_column).sin() + (shift + bent_row).cos(),
        )
        down, across = far_row * (bent_row + shift).sin(), far_column * (bent_column + shift).cos()
        # Both may be zero at once, where the product is zero as well.
        steep = torch.hypot(down, across).clamp_min(torch.finfo(dtype).tiny)
        total = total + (down * across).abs() / steep
    return (1.17 - (total / 5) ** 1.4).abs().pow(8).clamp(0, 1)
