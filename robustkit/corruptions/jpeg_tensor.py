"""JPEG compression in tensor code, to the digit of libjpeg, with straight-through gradients.

Every number below is an integer in a floating type wide enough to hold it exactly, so that sums
may run in any order and a CPU and a GPU agree. The pieces follow libjpeg's default path:
fixed-point colours, 2 x 2 means for chroma, the accurate integer cosine transform of 13 fractional
digits in two rounded passes, and the triangle filter ("fancy upsampling") on the way back.
"""

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from robustkit.shapes import precise
from robustkit.straight_through import straight_through

Steps = tuple[tuple[int, ...], ...]

# ITU-T T.81, tables K.1 and K.2.
_LUMINANCE: Steps = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMINANCE: Steps = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *(((99,) * 8,) * 4),
)


def compress(images: Float[Tensor, "n c h w"], quality: int) -> Float[Tensor, "n c h w"]:
    """Return images after JPEG compression and decompression; gradients pass every rounding.

    - `images`: in [0, 1], one channel or three; `quality`: 1 to 100.

    Equal in every 8-bit level to Pillow with libjpeg-turbo at its defaults. The gradient is that of
    the same map without rounding; it is 0 where a level is clipped. Source: ITU-T T.81.
    """
    height, width = images.shape[-2:]
    scaled = images.to(precise(images)) * 255
    levels = straight_through(scaled, scaled.round()).clamp(0, 255)
    if images.shape[1] == 1:
        result = _coded(levels[:, 0], _LUMINANCE, quality)[:, None]
    else:
        luma, blue, red = _to_luma_chroma(*levels.unbind(1))
        luma = _coded(luma, _LUMINANCE, quality)
        chroma = _halve(torch.cat([blue, red]))
        chroma = _coded(chroma, _CHROMINANCE, quality)[:, :, : -(-width // 2)]
        blue, red = _double(chroma)[:, :height, :width].chunk(2)
        result = _to_colours(luma, blue, red)
    return (result / 255).to(images.dtype)


def _floor(values: Tensor) -> Tensor:
    return straight_through(values, values.floor())


def _to_luma_chroma(red: Tensor, green: Tensor, blue: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    # All sums stay below 2**24, up to which float32 counts exactly.
    middle = 128 * 65536 + 32767
    return (
        _floor((19595 * red + 38470 * green + 7471 * blue + 32768) / 65536),
        _floor((32768 * blue - 11059 * red - 21709 * green + middle) / 65536),
        _floor((32768 * red - 27439 * green - 5329 * blue + middle) / 65536),
    )


def _to_colours(luma: Tensor, blue: Tensor, red: Tensor) -> Tensor:
    blue, red = blue - 128, red - 128
    colours = [
        luma + _floor((91881 * red + 32768) / 65536),
        luma + _floor((32768 - 22554 * blue - 46802 * red) / 65536),
        luma + _floor((116130 * blue + 32768) / 65536),
    ]
    return torch.stack(colours, dim=1).clamp(0, 255)


def _halve(parts: Tensor) -> Tensor:
    # libjpeg repeats the last column up to whole blocks before halving, rows only after it.
    parts = _extend(parts, 2, 16)
    pairs = parts[:, 0::2] + parts[:, 1::2]
    bias = 1 + torch.arange(pairs.shape[2] // 2, device=parts.device) % 2
    return _floor((pairs[:, :, 0::2] + pairs[:, :, 1::2] + bias) / 4)


def _double(parts: Tensor) -> Tensor:
    if parts.shape[2] <= 2:
        # So narrow an image gets no filter from libjpeg.
        return parts.repeat_interleave(2, 1).repeat_interleave(2, 2)
    above = torch.cat([parts[:, :1], parts[:, :-1]], dim=1)
    below = torch.cat([parts[:, 1:], parts[:, -1:]], dim=1)
    rows = torch.stack([3 * parts + above, 3 * parts + below], dim=2).flatten(1, 2)
    left = torch.cat([rows[:, :, :1], rows[:, :, :-1]], dim=2)
    right = torch.cat([rows[:, :, 1:], rows[:, :, -1:]], dim=2)
    doubled = torch.stack([3 * rows + left + 8, 3 * rows + right + 7], dim=3).flatten(2, 3)
    return _floor(doubled / 16)


def _coded(parts: Tensor, base: Steps, quality: int) -> Tensor:
    """Transform, quantise and transform back one component `(N, H, W)`, in blocks of 8 x 8."""
    height, width = parts.shape[-2:]
    blocks = _extend(parts, 8, 8)
    shape, across = blocks.shape, blocks.shape[-1]
    steps = _quantisation(base, quality, blocks.device).repeat(1, across // 8)
    matrix = _transform(blocks.device)
    values = blocks.reshape(-1, 8).double() - 128
    values = _floor((values @ matrix.mT + 2**10) / 2**11).reshape(-1, 8, across)
    values = _floor((matrix @ values + 2**14) / 2**15) / (8 * steps)
    values = straight_through(values, values.sign() * (values.abs() + 0.5).floor()) * steps
    values = _floor((matrix.mT @ values + 2**10) / 2**11).reshape(-1, 8)
    values = _floor((values @ matrix + 2**17) / 2**18) + 128
    return values.clamp(0, 255).to(parts.dtype).reshape(shape)[:, :height, :width]


def _extend(parts: Tensor, row_multiple: int, column_multiple: int) -> Tensor:
    height, width = parts.shape[-2:]
    pads = (0, -width % column_multiple, 0, -height % row_multiple)
    return functional.pad(parts[:, None], pads, mode="replicate")[:, 0] if any(pads) else parts


# Gradients pass through the numbers below, so that no tensor of inference mode serves.
@lru_cache(maxsize=64)
@torch.inference_mode(False)
def _quantisation(base: Steps, quality: int, device: torch.device) -> Tensor:
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return ((torch.tensor(base) * scale + 50) // 100).clamp(1, 255).double().to(device)


@lru_cache(maxsize=4)
@torch.inference_mode(False)
def _transform(device: torch.device) -> Tensor:
    """Return the matrix of libjpeg's integer cosine transform: 2**13 sqrt(8) times the DCT-II.

    The transform is a chain of sums and products with the rounded constants of Loeffler, Ligtenberg
    and Moschytz (ICASSP 1989), so its entries are up to 1.2 away from the cosines.
    """
    one = np.eye(8)
    low, high = one[:4] + one[:3:-1], one[:4] - one[:3:-1]
    outer, inner = low[:2] + low[3:1:-1], low[:2] - low[3:1:-1]
    turn = 4433 * (inner[0] + inner[1])
    a, b, c, d = high[3], high[2], high[1], high[0]
    shared = 9633 * (a + b + c + d)
    ac, bd = shared - 16069 * (a + c), shared - 3196 * (b + d)
    ad, bc = -7373 * (a + d), -20995 * (b + c)
    rows = np.stack(
        [
            8192 * (outer[0] + outer[1]),
            12299 * d + ad + bd,
            turn + 6270 * inner[0],
            25172 * c + bc + ac,
            8192 * (outer[0] - outer[1]),
            16819 * b + bc + bd,
            turn - 15137 * inner[1],
            2446 * a + ad + ac,
        ]
    )
    return torch.from_numpy(rows).to(device)
