"""Ice crystals on a window, drawn per image: the texture of procedural frost."""

import math
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from robustkit.corruptions.draws import Draws

# Feathers a side: their roots lie on a jittered grid.
_SIDE = 6
_DIRECTIONS = 64
_PROFILE = 512
# Places of the profile that a line across the shorter side passes.
_FINENESS = 200

# Weights of the barbs, the grain, the brightness of a feather, its spine, and the large structure.
_BARBS, _GRAIN, _FEATHER, _SPINE, _LARGE = 1.0, 0.35, 0.3, 1.0, 0.65


def crystals(draws: Draws, height: int, width: int) -> Float[Tensor, "n h w"]:
    """Return textures of feathery crystals with mean 0 and standard deviation 1, one an image.

    - `draws`: uses the names "roots", "directions", "feathers", "barbs", "grain" and "large";
      `height`, `width`: in pixels. Sizes of crystals follow the size of the image.

    Each pixel belongs to the nearest of 36 roots, in a distance that is three times longer across
    than along a random direction: the feather. Barbs at 45 degrees to it read a random profile;
    feathers differ in brightness and have a bright spine, grains of ice lie over all, and a smooth
    field makes the large structure. The outlines of feathers have 64 to 127 pixels on the shorter
    side of any larger image.
    """
    texture = _feathers(draws, height, width)
    texture += _GRAIN * (2 * draws.uniform("grain", (height, width)) - 1)
    large = _LARGE * (2 * draws.uniform("large", (1, 4, 4)) - 1)
    size = (height, width)
    texture += functional.interpolate(large, size, mode="bicubic", align_corners=True)[:, 0]
    texture = texture - texture.mean(dim=(1, 2), keepdim=True)
    return texture / texture.square().mean(dim=(1, 2), keepdim=True).sqrt().clamp(min=1e-6)


def _feathers(draws: Draws, height: int, width: int) -> Tensor:
    device, count = draws.indices.device, _SIDE**2
    short = min(height, width)
    y = (torch.arange(height, device=device, dtype=torch.float32)[:, None] + 0.5) / short
    x = (torch.arange(width, device=device, dtype=torch.float32) + 0.5) / short
    cell = torch.arange(count, device=device)
    roots = draws.uniform("roots", (2, count))
    root_y = (roots[:, 0] + cell // _SIDE) * (height / short / _SIDE)
    root_x = (roots[:, 1] + cell % _SIDE) * (width / short / _SIDE)
    # A table made on the host has the same digits on every device, as sines have not.
    direction = draws.integers("directions", 0, _DIRECTIONS, (count,))
    cosine, sine = (part[direction] for part in _circle(device))
    coarse = max(1, short // 64)
    owner = _owners(x[::coarse], y[::coarse], root_x, root_y, cosine, sine)
    owner = owner.repeat_interleave(coarse, 1).repeat_interleave(coarse, 2)
    owner = owner[:, :height, :width].flatten(1)

    def of_owner(values: Tensor) -> Tensor:
        return values.gather(1, owner).reshape(-1, height, width)

    # Pixel minus root, turned; the part of the root is taken before it is spread over the pixels.
    along = x * of_owner(cosine) + y * of_owner(sine) - of_owner(root_x * cosine + root_y * sine)
    across = y * of_owner(cosine) - x * of_owner(sine) - of_owner(root_y * cosine - root_x * sine)
    across = across.abs_()
    levels = draws.uniform("feathers", (2, count))
    places = (along + across) * _FINENESS + _PROFILE * of_owner(levels[:, 1])
    barbs = _profiles(draws).gather(1, places.flatten(1).long() % _PROFILE).reshape(places.shape)
    texture = _BARBS * barbs + _FEATHER * (2 * of_owner(levels[:, 0]) - 1)
    return texture.add_((1 - across * 100).clamp_(min=0), alpha=_SPINE)


def _owners(
    x: Tensor, y: Tensor, root_x: Tensor, root_y: Tensor, cosine: Tensor, sine: Tensor
) -> Tensor:
    # The squared distance is a quadratic form, whose parts of x or y alone are one-dimensional.
    xx, yy = cosine**2 + 9 * sine**2, sine**2 + 9 * cosine**2
    xy = -16 * cosine * sine
    owner = torch.zeros(len(root_x), len(y), len(x), dtype=torch.uint8, device=x.device)
    least = torch.full_like(owner, math.inf, dtype=x.dtype)
    for k in range(root_x.shape[1]):
        right = x - root_x[:, k, None, None]
        down = y - root_y[:, k, None, None]
        form = (xy[:, k, None, None] * down) * right
        form += xx[:, k, None, None] * right**2
        form += yy[:, k, None, None] * down**2
        owner.masked_fill_(form < least, k)
        least = torch.minimum(least, form)
    return owner.long()


def _profiles(draws: Draws) -> Tensor:
    """Return noise along a line, with each octave of frequencies as strong as the next."""
    noise = 2 * draws.uniform("barbs", (4, _PROFILE)) - 1
    octaves = [
        noise[:, octave, : _PROFILE >> octave].repeat_interleave(1 << octave, 1)
        for octave in range(4)
    ]
    return torch.stack(octaves).sum(0) / 2


@lru_cache(maxsize=4)
def _circle(device: torch.device) -> tuple[Tensor, Tensor]:
    angles = [math.pi * k / _DIRECTIONS for k in range(_DIRECTIONS)]
    cosine, sine = [math.cos(a) for a in angles], [math.sin(a) for a in angles]
    return torch.tensor(cosine, device=device), torch.tensor(sine, device=device)
