"""Edges of 8-bit layers, distances to them and equalised histograms, as OpenCV defines them.

What spatter needs, batched: Canny's detector, the distance transform of mask size 5, histogram
equalisation and 3 x 3 filters. Layers hold integers 0 to 255.
"""

from functools import lru_cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

# tan(22.5 degrees) in 15 binary digits; tan(67.5 degrees) is 2 more.
_TANGENT = 13573

# Between two looks at whether the edges have stopped growing.
_STEPS = 8

# Lengths of a step straight, diagonal and like a knight, in OpenCV's 16 binary digits.
_STRAIGHT, _DIAGONAL, _KNIGHT = (round(length * 2**16) / 2**16 for length in (1, 1.4, 2.1969))


def canny(layers: Int[Tensor, "n h w"], low: int, high: int) -> Bool[Tensor, "n h w"]:
    """Return the edges of 8-bit layers by Canny's detector on 3 x 3 Sobel gradients.

    - `layers`: int32, 0 to 255; `low`, `high`: thresholds on |gx| + |gy|.

    An edge is a local maximum across its direction (rounded to 45 degrees) above `high`, or above
    `low` and connected to one over corners or sides. Beyond the border a layer keeps its last
    pixel, and the gradient is 0. How far an edge grows is known to the layers alone, so that a GPU
    is waited for after every 8 pixels. Source: Canny, IEEE PAMI 1986; the integer arithmetic of
    OpenCV's `Canny`.
    """
    window = neighbourhood(layers, mirror=False)
    gx = (window[2] + 2 * window[5] + window[8]) - (window[0] + 2 * window[3] + window[6])
    gy = (window[6] + 2 * window[7] + window[8]) - (window[0] + 2 * window[1] + window[2])
    size = gx.abs() + gy.abs()
    around = torch.nn.functional.pad(size, (1, 1, 1, 1))
    height, width = size.shape[-2:]

    def at(down: int, right: int) -> Tensor:
        return around[:, 1 + down : 1 + down + height, 1 + right : 1 + right + width]

    flat = gx.abs() * _TANGENT
    steep = flat + (gx.abs() << 16)
    rise = gy.abs() << 15
    along_x = (size > at(0, -1)) & (size >= at(0, 1))
    along_y = (size > at(-1, 0)) & (size >= at(1, 0))
    falling = (gx ^ gy) < 0
    diagonal = torch.where(
        falling,
        (size > at(-1, 1)) & (size > at(1, -1)),
        (size > at(-1, -1)) & (size > at(1, 1)),
    )
    peak = torch.where(rise < flat, along_x, torch.where(rise > steep, along_y, diagonal))
    candidates = peak & (size > low)
    return _grow(candidates & (size > high), candidates)


def _grow(edges: Tensor, candidates: Tensor) -> Tensor:
    while True:
        grown = edges
        for _ in range(_STEPS):
            wide = grown.clone()
            wide[:, :, 1:] |= grown[:, :, :-1]
            wide[:, :, :-1] |= grown[:, :, 1:]
            grown = wide.clone()
            grown[:, 1:] |= wide[:, :-1]
            grown[:, :-1] |= wide[:, 1:]
            grown &= candidates
        if torch.equal(grown, edges):
            return edges
        edges = grown


def distance(edges: Bool[Tensor, "n h w"], limit: int) -> Float[Tensor, "n h w"]:
    """Return the distance of each pixel to the nearest edge, at most `limit`, in chamfer lengths.

    The length of a path is the sum of its steps: 1 straight, 1.4 diagonal, 2.1969 for a knight's
    move, each in 16 binary digits. `limit` is at most 31. Source: Borgefors, CVGIP 1986; OpenCV's
    `distanceTransform` with `DIST_L2` and mask size 5.
    """
    lengths = torch.where(edges, 0.0, float(limit))
    for length, moves in _MOVES:
        for down, right in moves:
            # A shortest path has moves of two kinds at most, so any number of each is enough, and
            # any number is a sum of powers of 2.
            for times in (16, 8, 4, 2, 1):
                if times * length < limit:
                    _move(lengths, times * down, times * right, times * length)
    return lengths


_MOVES = (
    (_STRAIGHT, ((0, 1), (0, -1), (1, 0), (-1, 0))),
    (_DIAGONAL, ((1, 1), (1, -1), (-1, 1), (-1, -1))),
    (_KNIGHT, ((1, 2), (1, -2), (-1, 2), (-1, -2), (2, 1), (2, -1), (-2, 1), (-2, -1))),
)


def _move(lengths: Tensor, down: int, right: int, length: float) -> None:
    """Shorten, in place, what is reached sooner from the pixel that far up and left."""
    height, width = lengths.shape[-2:]
    if abs(down) < height and abs(right) < width:
        source = lengths[
            :, max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)
        ]
        target = lengths[
            :, max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)
        ]
        torch.minimum(target, source + length, out=target)


def equalize(layers: Int[Tensor, "n h w"], levels: int) -> Int[Tensor, "n h w"]:
    """Return 8-bit layers with equalised histograms; a layer of one value stays as it is.

    - `layers`: values 0 to `levels` - 1.

    The lowest value present goes to 0, and any other to 255 times the share of the remaining pixels
    that do not exceed it, rounded to the nearest even. Source: OpenCV's `equalizeHist`.
    """
    values = layers.flatten(1).long()
    total = values.shape[1]
    counts = values.new_zeros(len(layers), levels).scatter_add_(1, values, torch.ones_like(values))
    lowest = layers.amin(dim=(1, 2))
    first = counts.gather(1, lowest[:, None].long())
    above = counts.cumsum(1) - first
    others = (total - first).clamp(min=1).to(torch.float32)
    # One correctly rounded division: a number over a tensor would be a product with a reciprocal.
    scale = torch.full_like(others, 255).div_(others)
    mapped = (above * scale).round().to(layers.dtype)
    equal = mapped.gather(1, values).reshape(layers.shape)
    return torch.where((first == total)[:, :, None], layers, equal)


def neighbourhood(layers: Tensor, *, mirror: bool) -> Tensor:
    """Return the 9 values `(9, N, H, W)` around each pixel, row by row.

    Beyond the border a layer is mirrored without repeating its last pixel, or keeps it.
    """
    rows, columns = (_around(size, mirror, layers.device) for size in layers.shape[-2:])
    padded = layers[:, rows][:, :, columns]
    height, width = layers.shape[-2:]
    return torch.stack(
        [
            padded[:, down : down + height, right : right + width]
            for down in range(3)
            for right in range(3)
        ]
    )


@lru_cache(maxsize=64)
def _around(size: int, mirror: bool, device: torch.device) -> Tensor:
    places = torch.arange(-1, size + 1, device=device)
    if mirror and size > 1:
        return size - 1 - (size - 1 - places.abs()).abs()
    return places.clamp(0, size - 1)
