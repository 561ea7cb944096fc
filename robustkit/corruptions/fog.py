"""Fog: a plasma fractal, made by the diamond-square algorithm, added to the image."""

import torch
from jaxtyping import Float
from torch import Tensor

from robustkit.arguments import Number
from robustkit.corruptions.draws import Draws
from robustkit.shapes import precise


def fog(
    images: Float[Tensor, "n c h w"], draws: Draws, strength: Number, decay: Number
) -> Float[Tensor, "n c h w"]:
    """Add `strength` times a plasma fractal, then scale so that the brightest value can stay.

    - `images`: in [0, 1]; `draws`: uses the name "plasma"; `strength`: weight of the fog, above 0;
      `decay`: factor by which the random offsets shrink from one scale to the next; the smaller,
      the rougher.

    With M the largest value of an image and p the fractal in [0, 1], one for all channels, the
    result is `(x + strength p) M / (M + strength)`. The fractal has the side of the next power of
    two, and the image takes its top left part. Source: Hendrycks and Dietterich, ICLR 2019,
    section 3; released code.
    """
    height, width = images.shape[-2:]
    side = 1 << max(height - 1, width - 1, 1).bit_length()
    offsets = draws.uniform("plasma", (side, side)).to(precise(images))
    plasma = diamond_square(offsets, decay)[:, None, :height, :width].to(images.dtype)
    brightest = images.amax(dim=(1, 2, 3), keepdim=True)
    return (images + strength * plasma) * (brightest / (brightest + strength))


def diamond_square(
    offsets: Float[Tensor, "n side side"], decay: Number
) -> Float[Tensor, "n side side"]:
    """Return height maps that wrap around, scaled to [0, 1], by the diamond-square algorithm.

    - `offsets`: in [0, 1], side a power of two of at least 2; the entry of a point, mapped to
      [-1, 1], is its random offset; `decay`: the offsets of a scale shrink by its square (the
      published code multiplies the shrinking amplitude into its own range).

    Equal to the published function when that one is fed the same numbers. Source: Fournier,
    Fussell and Carpenter, Commun. ACM 1982; the code of Hendrycks and Dietterich, ICLR 2019.
    """
    offsets = 2 * offsets - 1
    side = offsets.shape[-1]
    heights = torch.zeros_like(offsets)
    step, wobble = side, 100.0
    while step >= 2:
        half, amplitude = step // 2, wobble * wobble
        whole, middle = slice(0, None, step), slice(half, None, step)
        corners = heights[:, whole, whole]
        squares = corners + corners.roll(-1, 1)
        squares = squares + squares.roll(-1, 2)
        centres = squares / 4 + amplitude * offsets[:, middle, middle]
        heights[:, middle, middle] = centres
        across = (centres + centres.roll(1, 1)) + (corners + corners.roll(-1, 2))
        heights[:, whole, middle] = across / 4 + amplitude * offsets[:, whole, middle]
        down = (centres + centres.roll(1, 2)) + (corners + corners.roll(-1, 1))
        heights[:, middle, whole] = down / 4 + amplitude * offsets[:, middle, whole]
        step, wobble = half, wobble / decay
    lowest = heights.amin(dim=(1, 2), keepdim=True)
    heights = heights - lowest
    return heights / heights.amax(dim=(1, 2), keepdim=True)
