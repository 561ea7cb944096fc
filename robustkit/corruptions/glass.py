"""Glass blur: pixels exchanged with near ones in raster order, for all images at once."""

import torch
import torch.nn.functional as functional
from jaxtyping import Float, Int
from torch import Tensor

from robustkit.arguments import Number
from robustkit.corruptions.draws import Draws
from robustkit.corruptions.levels import truncate
from robustkit.corruptions.smoothing import smooth
from robustkit.errors import InputError, unknown

_MODES = ("published", "swap")
# A chain of copies grows with chance below 1/2 at each link: the chance of one that is longer than
# 2**6 links is below 1e-19.
_DOUBLINGS = 6


def glass_blur(
    images: Float[Tensor, "n c h w"],
    draws: Draws,
    sigma: Number,
    max_delta: int,
    iterations: int,
    *,
    mode: str = "published",
) -> Float[Tensor, "n c h w"]:
    """Blur, truncate to 8 bits, displace pixels from the bottom right on, and blur again.

    - `images`: in [0, 1]; `draws`: uses the name "offset"; `sigma`: of both blurs, in pixels, as in
      `gaussian_blur`; `max_delta`: offsets are drawn from `-max_delta` to `max_delta - 1` in both
      directions, at most 2**14 pixels; `iterations`: passes over the image.
    - `mode`: "published" copies the pixel at the offset, which is what the published code does to
      colour images, whose intended exchange works on views of one array; "swap" exchanges the two.

    Pixels of the first `max_delta + 1` rows and columns and of the last `max_delta - 1` draw no
    offset: copies leave them in place, while an exchange with an inner pixel may move them. Raises
    `InputError` for an unknown mode or too small an image. Source: Hendrycks and Dietterich, ICLR
    2019, section 3; released code.
    """
    if mode not in _MODES:
        raise unknown("mode of glass blur", mode, _MODES)
    count, channels, height, width = images.shape
    if min(height, width) <= 2 * max_delta:
        raise InputError(
            f"glass blur with offsets up to {max_delta} needs more than {2 * max_delta} pixels a "
            f"side, got {min(height, width)}."
        )
    soft = smooth(images.flatten(0, 1), sigma, truncate=4, border="nearest").clamp_(0, 1)
    levels = truncate(soft).reshape(count, channels, height * width)
    bits = draws.bits("offset", (iterations, height, width))
    sources = torch.arange(height * width, device=images.device).expand(count, -1)
    for step in range(iterations):
        offsets = _offsets(bits[:, step], max_delta)
        sources = (_swap if mode == "swap" else _copy)(sources, offsets, max_delta)
    moved = levels.gather(2, sources[:, None].expand(-1, channels, -1))
    layers = (moved.to(images.dtype) / 255).reshape(count * channels, height, width)
    return smooth(layers, sigma, truncate=4, border="nearest").reshape(images.shape)


def _offsets(bits: Int[Tensor, "n h w"], max_delta: int) -> Int[Tensor, "n h w"]:
    """Turn random bits into steps in the flat image, 0 where a pixel takes no part."""
    width, side = bits.shape[-1], 2 * max_delta
    inside = bits[:, *(slice(max_delta + 1, n - max_delta + 1) for n in bits.shape[1:])]
    # Each half of the bits, times the number of offsets, has the offset above its 16 digits.
    down, across = ((half & 0xFFFF) * side >> 16 for half in (inside >> 16, inside))
    steps = down.sub_(max_delta).mul_(width).add_(across).sub_(max_delta)
    edge = (max_delta + 1, max_delta - 1)
    return functional.pad(steps, (*edge, *edge))


def _copy(
    sources: Int[Tensor, "n size"], offsets: Int[Tensor, "n h w"], max_delta: int
) -> Int[Tensor, "n size"]:
    """Let each pixel take over what is at its offset, from the last pixel to the first.

    A step ahead reaches a pixel that was visited before and holds a copy itself; any other step
    reaches a pixel as it was. So each pixel is the start of a chain of steps ahead, and all chains
    are followed at once: each pass doubles how far they have been followed.
    """
    flat = offsets.flatten(1)
    size = flat.shape[1]
    places = torch.arange(size, device=flat.device)
    # A place as it was stands at `size` plus its number, and leads to itself.
    links = (flat + places).add_(size * (flat <= 0))
    if max_delta > 1:
        table = torch.cat([links, (places + size).expand_as(links)], dim=1)
        for _ in range(_DOUBLINGS):
            links = table.gather(1, links)
            table[:, :size] = links
    return sources.gather(1, links.sub_(size))


def _swap(
    sources: Int[Tensor, "n size"], offsets: Int[Tensor, "n h w"], max_delta: int
) -> Int[Tensor, "n size"]:
    """Exchange each pixel with the one at its offset, from the last pixel to the first.

    Exchanges that are at least `2 max_delta` columns or rows apart touch no common pixel. Those on
    a slanted line, that many columns to the left for each row down, are made at once: every
    exchange that one of them must wait for lies on an earlier line.
    """
    _, height, width = offsets.shape
    flat = offsets.flatten(1)
    sources = sources.clone()
    slope = 2 * max_delta
    top, bottom, left, right = max_delta + 1, height - max_delta, max_delta + 1, width - max_delta
    for line in range(slope * bottom + right, slope * top + left - 1, -1):
        first = max(top, -((right - line) // slope))
        last = min(bottom, (line - left) // slope)
        if first > last:
            continue
        start = first * width + line - slope * first
        stop = last * width + line - slope * last + 1
        here = slice(start, stop, width - slope)
        if first == last:
            here = slice(start, start + 1)
        places = torch.arange(start, stop, here.step or 1, device=flat.device)
        there = flat[:, here] + places
        kept, taken = sources[:, here].clone(), sources.gather(1, there)
        sources.scatter_(1, there, kept)
        sources[:, here] = taken
    return sources
