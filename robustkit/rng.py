"""Random numbers keyed per image: the same for any batch size, order, shard or device.

A counter-based generator (splitmix64, Steele, Lea and Flood, OOPSLA 2014) in integer tensor
arithmetic. Number `c` of image `i` is a pure function of (seed, stream, i, c): nothing is
consumed, the global generators are never touched, and CPU and GPU agree bit for bit on uniforms.
`robustkit.corruptions.draws.Draws` makes twice as many numbers, of 32 bits, from the same words: it
draws other numbers than the functions of the same names here.
"""

import hashlib
import math
from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from robustkit.checks import check_size
from robustkit.errors import InputError


def _signed(value: int) -> int:
    value &= 2**64 - 1
    return value - 2**64 if value >= 2**63 else value


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_FIRST = _signed(0xBF58476D1CE4E5B9)
_SECOND = _signed(0x94D049BB133111EB)


def _shift(bits: Int[Tensor, "*shape"], by: int) -> Int[Tensor, "*shape"]:
    # torch shifts int64 arithmetically; the mask makes the shift logical.
    return (bits >> by) & ((1 << (64 - by)) - 1)


def _mix(bits: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    # In place: every caller has just made the bits.
    for by, factor in ((30, _FIRST), (27, _SECOND)):
        bits.bitwise_xor_(_shift(bits, by)).mul_(factor)
    return bits.bitwise_xor_(_shift(bits, 31))


def _states(seed: int, stream: str, indices: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    if indices.ndim != 1 or indices.dtype != torch.int64:
        raise InputError("indices must be a one-dimensional int64 tensor, one index an image.")
    check_size("indices", indices)
    digest = hashlib.sha256(f"{seed}/{stream}".encode()).digest()
    key = _signed(int.from_bytes(digest[:8], "little"))
    return _mix(_mix(indices * _GOLDEN + key) ^ key)


def _bits(seed: int, stream: str, indices: Int[Tensor, " n"], size: int) -> Int[Tensor, "n size"]:
    counter = torch.arange(1, size + 1, device=indices.device) * _GOLDEN
    return _mix(_states(seed, stream, indices)[:, None] + counter)


def _check_shape(shape: tuple[int, ...]) -> None:
    if min(shape, default=0) < 0:
        raise InputError(f"shape must be at least 0 each, got {shape}.")


def words(
    seed: int, stream: str, indices: Int[Tensor, " n"], count: int, block: int
) -> Iterator[tuple[slice, slice, Int[Tensor, "rows columns"]]]:
    """Yield the first `count` 64-bit words of each image, keyed by (seed, stream, index), by parts.

    A part is the slice of images, the slice of counters and the int64 words of both; it has at most
    about `block` words, so that what is made of it stays in the processor's cache, and its memory
    is the caller's. Together the parts cover `(N, count)` once.
    Raises `InputError` when `indices` is not a one-dimensional int64 tensor.
    """
    if count < 0:
        raise InputError(f"count must be at least 0, got {count}.")
    states = _states(seed, stream, indices)
    counter = torch.arange(1, count + 1, device=indices.device) * _GOLDEN
    height, width = max(1, block // max(count, 1)), min(block, count)
    for top in range(0, len(indices), height):
        rows = slice(top, min(top + height, len(indices)))
        for left in range(0, count, max(width, 1)):
            columns = slice(left, min(left + width, count))
            yield rows, columns, _mix(states[rows, None] + counter[columns])


def uniform(
    seed: int,
    stream: str,
    indices: Int[Tensor, " n"],
    shape: tuple[int, ...],
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, "n ..."]:
    """Draw uniforms in [0, 1) of shape `(N, *shape)`, keyed by (seed, stream, index).

    `stream` names the purpose ("noise", "start/3"), so that two uses never share numbers.
    Raises `InputError` when `indices` is not a one-dimensional int64 tensor.
    """
    _check_shape(shape)
    digits = 53 if dtype == torch.float64 else 24
    bits = _bits(seed, stream, indices, math.prod(shape))
    values = _shift(bits, 64 - digits).to(torch.float64) * 2.0**-digits
    return values.to(dtype).reshape(len(indices), *shape)


def normal(
    seed: int,
    stream: str,
    indices: Int[Tensor, " n"],
    shape: tuple[int, ...],
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, "n ..."]:
    """Draw standard normals of shape `(N, *shape)`, keyed by (seed, stream, index).

    Box-Muller on `uniform`; equal across devices up to the rounding of log and cos.
    Raises `InputError` when `indices` is not a one-dimensional int64 tensor.
    """
    _check_shape(shape)
    size = math.prod(shape)
    half = (size + 1) // 2
    pairs = uniform(seed, stream, indices, (2, half), torch.float64)
    radius = torch.sqrt(-2.0 * torch.log1p(-pairs[:, 0]))
    angle = 2.0 * math.pi * pairs[:, 1]
    values = torch.cat([radius * torch.cos(angle), radius * torch.sin(angle)], dim=1)[:, :size]
    return values.to(dtype).reshape(len(indices), *shape)
