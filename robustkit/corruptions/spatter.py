"""Spatter: drops of water or mud on the lens, where smoothed noise passes a threshold."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from robustkit.arguments import Number
from robustkit.corruptions.draws import Draws
from robustkit.corruptions.edges import canny, distance, equalize, neighbourhood
from robustkit.corruptions.pixels import check_channels, grey
from robustkit.corruptions.smoothing import smooth
from robustkit.errors import unknown

_WATER = (175, 238, 238)
_MUD = (63, 42, 20)
_FARTHEST = 20
_MODES = ("published", "clip")


def spatter(
    images: Float[Tensor, "n c h w"],
    draws: Draws,
    location: Number,
    scale: Number,
    sigma: Number,
    threshold: Number,
    strength: Number,
    mud: Number,
    *,
    mode: str = "published",
) -> Float[Tensor, "n c h w"]:
    """Put drops where Gaussian noise, smoothed, passes a threshold: pale water or brown mud.

    - `images`: in [0, 1], red, green and blue, or one channel, to which the grey of the colour is
      applied; `draws`: uses the name "layer"; `location`, `scale`: mean and standard deviation of
      the noise; `sigma`: its smoothing in pixels; `threshold`: a drop is where it is passed;
      `strength`: largest share of the water colour, or the width in pixels of the smoothing of mud;
      `mud`: 0 for water, 1 for mud.
    - `mode`: of water whose noise exceeds 1: "published" wraps its 8-bit level modulo 256, as the
      published code does by its cast, which cuts dark islands into the drops; "clip" stops at 255.

    Water is added with a relief: distances to the edges of the drops, equalised, emboss a 3 x 3
    filter. Mud replaces the image. The steps that the published code takes from OpenCV (Canny with
    50 and 150, chamfer distances of mask size 5, equalised histogram, box and emboss filters on 8
    bits) are repeated from their definitions. An image without any drop stays as it is, where the
    published code divides by 0. Raises `InputError` for another number of channels or an unknown
    mode. Source: Hendrycks and Dietterich, ICLR 2019, released code.
    """
    check_channels("spatter", images, 1, 3)
    if mode not in _MODES:
        raise unknown("mode of spatter", mode, _MODES)
    layers = draws.normal("layer", images.shape[-2:])
    layers = smooth(layers * scale + location, sigma, truncate=4, border="nearest")
    if mud:
        drops = smooth(
            (layers > threshold).to(layers.dtype), strength, truncate=4, border="nearest"
        )
        drops = torch.where(drops < 0.8, 0, drops)[:, None].to(images.dtype)
        return images * (1 - drops) + _color(images, _MUD) * drops
    layers = torch.where(layers < threshold, 0, layers)
    levels = (layers * 255).to(torch.int32)
    levels = levels.clamp(0, 255) if mode == "clip" else levels & 255
    relief = levels * _emboss(levels).to(layers.dtype)
    highest = relief.amax(dim=(1, 2), keepdim=True)
    share = (torch.where(highest > 0, relief / highest, 0) * strength)[:, None].to(images.dtype)
    return images + _color(images, _WATER) * share


def _emboss(levels: Int[Tensor, "n h w"]) -> Int[Tensor, "n h w"]:
    far = distance(canny(levels, 50, 150), _FARTHEST)
    level = (neighbourhood(far, mirror=True).sum(0).double() * (1 / 9)).to(torch.int32)
    window = neighbourhood(equalize(level, _FARTHEST + 1), mirror=True)
    slope = 2 * (window[8] - window[0]) + window[7] + window[5] + window[4] - window[1] - window[3]
    mean = neighbourhood(slope.clamp(0, 255), mirror=True).sum(0, dtype=torch.float32) / 9
    return mean.round().to(torch.int32)


def _color(images: Tensor, color: tuple[int, int, int]) -> Tensor:
    levels = torch.tensor(color, dtype=images.dtype, device=images.device)[None, :, None, None]
    return levels / 255 if images.shape[1] == 3 else grey(levels / 255)
