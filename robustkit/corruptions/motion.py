"""Motion blur: the image dragged along a straight line, with an angle of its own for each image."""

import math

import torch
import torch.nn.functional as functional
from jaxtyping import Float, Int
from torch import Tensor

from robustkit.arguments import Number
from robustkit.corruptions.draws import Draws
from robustkit.corruptions.levels import round_to_level
from robustkit.shapes import precise

# The published angles, in degrees.
SPAN = (-45.0, 45.0)


def motion_blur(
    images: Float[Tensor, "n c h w"], draws: Draws, radius: int, sigma: Number
) -> Float[Tensor, "n c h w"]:
    """Drag each image along a line at an angle drawn uniformly between -45 and 45 degrees.

    - `images`: in [0, 1]; `draws`: uses the name "angle"; `radius`, `sigma`: see
      `motion_blur_layer`, which says what is computed.

    The published images were made by ImageMagick's `MotionBlurImage`, which this emulates, and came
    back as an image file: the result is rounded to 8-bit levels, and no gradient passes. Source:
    Hendrycks and Dietterich, ICLR 2019, section 3; Michaelis et al., Benchmarking robustness in
    object detection, 2019, whose definition this is.
    """
    layers, angles = images.to(precise(images)), draw_angles(draws, SPAN)
    blurred = motion_blur_layer(layers, angles, radius, sigma, span=SPAN)
    return round_to_level(blurred).to(images.dtype) / 255


def draw_angles(draws: Draws, span: tuple[float, float]) -> Float[Tensor, " n"]:
    """Draw one angle an image, uniform in `span` degrees, in float64; uses the name "angle"."""
    low, high = span
    return low + (high - low) * draws.uniform("angle", ()).double()


def motion_blur_layer(
    layers: Float[Tensor, "n c h w"],
    angles: Float[Tensor, " n"],
    radius: int,
    sigma: Number,
    *,
    span: tuple[float, float] = (-180.0, 180.0),
) -> Float[Tensor, "n c h w"]:
    """Average each layer with its copies moved by 0, 1, ... 2 * radius pixels along a line.

    - `layers`: any number of channels, which move together; `angles`: in degrees, one an image,
      within `span`; a positive angle reads pixels further down, angle 0 further right; `radius`: in
      pixels, at least 0; `sigma`: of the weights, positive.
    - `span`: bounds that the caller knows of the angles; the narrower, the less memory is moved.

    Copy i has the weight `exp(-i**2 / (2 sigma**2))`, over the sum of all, and moves by the nearest
    whole number of pixels in each direction, a half counting down; beyond the border a layer keeps
    its last pixel. Source: Michaelis et al., 2019, released code of imagecorruptions.
    """
    count, channels, height, width = layers.shape
    reach = 2 * radius
    weights = [math.exp(-0.5 * (i / sigma) ** 2) for i in range(reach + 1)]
    top, bottom, left, right = _extents(reach, span)
    padded = functional.pad(layers, (left, right, top, bottom), mode="replicate")
    line = padded.shape[-1]
    # In memory a move down and right is one offset: each copy is a stretch of the flat layer.
    size = (height - 1) * line + width
    stretches = padded.reshape(count * channels, -1).unfold(-1, size, 1)
    rows = torch.arange(count * channels, device=layers.device)
    origin = top * line + left
    total = layers.new_zeros(count * channels, height * line)
    for i, (down, across) in enumerate(_moves(angles, reach)):
        starts = (origin + down * line + across).repeat_interleave(channels)
        total[:, :size].add_(stretches[rows, starts], alpha=weights[i] / sum(weights))
    return total.reshape(count, channels, height, line)[..., :width].contiguous()


def _moves(angles: Tensor, reach: int) -> list[tuple[Int[Tensor, " n"], Int[Tensor, " n"]]]:
    radians = torch.deg2rad(angles.double())
    steps = torch.arange(reach + 1, device=angles.device, dtype=torch.float64)[:, None]
    down = torch.ceil(steps * torch.sin(radians) - 0.5).long()
    across = torch.ceil(steps * torch.cos(radians) - 0.5).long()
    return list(zip(down, across, strict=True))


def _extents(reach: int, span: tuple[float, float]) -> tuple[int, int, int, int]:
    """Return how far up, down, left and right a line of `reach` pixels goes within the span."""
    low, high = span
    quarters = range(math.ceil(low / 90), math.floor(high / 90) + 1)
    angles = [
        math.radians(angle) for angle in (low, high, *(90.0 * quarter for quarter in quarters))
    ]
    down = [reach * math.sin(angle) for angle in angles]
    across = [reach * math.cos(angle) for angle in angles]
    return (
        math.ceil(max(0.0, -min(down)) + 0.5),
        math.ceil(max(0.0, max(down)) + 0.5),
        math.ceil(max(0.0, -min(across)) + 0.5),
        math.ceil(max(0.0, max(across)) + 0.5),
    )
