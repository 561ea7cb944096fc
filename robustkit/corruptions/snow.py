"""Snow: thresholded noise, enlarged to flakes, that falls along a line, over a whitened image."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from robustkit.arguments import Number
from robustkit.corruptions.draws import Draws
from robustkit.corruptions.levels import round_to_level
from robustkit.corruptions.motion import draw_angles, motion_blur_layer
from robustkit.corruptions.pixels import check_channels, enlarge, grey

# The published angles, in degrees.
_SPAN = (-135.0, -45.0)


def snow(
    images: Float[Tensor, "n c h w"],
    draws: Draws,
    location: Number,
    scale: Number,
    zoom: Number,
    threshold: Number,
    radius: int,
    sigma: Number,
    blend: Number,
) -> Float[Tensor, "n c h w"]:
    """Whiten the image and add a layer of falling flakes, and the layer turned by 180 degrees.

    - `images`: in [0, 1], red, green and blue, or one channel, which is its own grey; `draws`: uses
      the names "layer" and "angle"; `location`, `scale`: mean and standard deviation of the noise
      that flakes are made of; `zoom`: its enlargement, at least 1; `threshold`: below it noise
      becomes 0; `radius`, `sigma`: of the motion blur of the flakes; `blend`: weight of the image
      against the brighter of itself and `1.5 grey + 0.5`.

    The layer is clipped to [0, 1], cut to 8 bits, moved along an angle between -135 and -45 degrees
    and rounded to 8 bits, as where an image file passes it to ImageMagick; the blur is that of
    `motion_blur`. Raises `InputError` for another number of channels. Source: Hendrycks and
    Dietterich, ICLR 2019, section 3; released code.
    """
    check_channels("snow", images, 1, 3)
    height, width = images.shape[-2:]
    kept = (math.ceil(height / zoom), math.ceil(width / zoom))
    flakes = draws.normal("layer", (1, *kept)) * scale + location
    if zoom != 1:
        flakes = enlarge(flakes, zoom, height, width)
    flakes = torch.where(flakes < threshold, 0, flakes).clamp(0, 1)
    flakes = (flakes * 255).floor() / 255
    flakes = motion_blur_layer(flakes, draw_angles(draws, _SPAN), radius, sigma, span=_SPAN)
    flakes = round_to_level(flakes).to(images.dtype) / 255
    white = torch.maximum(images, 1.5 * grey(images) + 0.5)
    return blend * images + (1 - blend) * white + flakes + flakes.flip(-2, -1)
