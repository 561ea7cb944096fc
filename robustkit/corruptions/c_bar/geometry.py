"""What the corruptions of C-bar share: the unit of length, and one number an image.

The published code knows square images only. Here the unit of a length that it measures in image
sides is the shorter side, and a place that it draws in the square is drawn in the rectangle.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from robustkit.arguments import Number
from robustkit.corruptions.draws import Draws

GREY = 128 / 255


def shorter_side(images: Float[Tensor, "n c h w"]) -> int:
    """Return the number of pixels along the shorter side."""
    return min(images.shape[-2:])


def between(
    draws: Draws,
    name: str,
    low: Number,
    high: Number,
    dtype: torch.dtype,
    shape: tuple[int, ...] = (),
) -> Float[Tensor, "n *shape 1 1"]:
    """Draw uniforms in [low, high) of shape `(N, *shape, 1, 1)`, to broadcast against pixels."""
    values = draws.uniform(name, shape).to(dtype)
    return (low + (high - low) * values)[..., None, None]


def angles(
    draws: Draws, name: str, dtype: torch.dtype, shape: tuple[int, ...] = ()
) -> Float[Tensor, "n *shape 1 1"]:
    """Draw angles in [0, 2 pi) of shape `(N, *shape, 1, 1)`, to broadcast against pixels."""
    return between(draws, name, 0.0, 2 * math.pi, dtype, shape)
