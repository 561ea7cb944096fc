"""The random numbers of a corruption, keyed per image: uniforms, normals, integers and bits."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from robustkit import rng
from robustkit.errors import InputError

# Words in a part: they and the few arrays made of them stay in a processor's second-level cache.
_BLOCKS = {"cpu": 2**16}
_BLOCK = 2**24


@dataclass(frozen=True)
class Draws:
    """Random numbers of a batch that are keyed by (seed, stream, index of the image).

    - `seed`: where all numbers start; `stream`: what they are for, such as "fog/3".
    - `indices`: int64 `(N,)`, one an image, on the device where the numbers are wanted.

    An image gets the same numbers in any batch, order, shard or device. Bits, integers and uniforms
    agree between CPU and GPU bit for bit; normals agree to 1e-5 in absolute value, which allows for
    the rounding of logarithm, sine and cosine. Each name has numbers of its own, which depend on
    the size of what is drawn; the global generators are not touched. They are other numbers than
    those of `robustkit.rng` for the same key: here one word of 64 bits makes two.
    """

    seed: int
    stream: str
    indices: Int[Tensor, " n"]

    def bits(self, name: str, shape: tuple[int, ...]) -> Int[Tensor, "n ..."]:
        """Draw int32 `(N, *shape)`, uniform over all values of 32 bits."""
        size = math.prod(shape)
        count = (size + 1) // 2
        drawn = torch.empty(
            len(self.indices), 2 * count, dtype=torch.int32, device=self.indices.device
        )
        for rows, columns, words in self._words(name, count):
            drawn[rows, 2 * columns.start : 2 * columns.stop] = words.view(torch.int32)
        return drawn[:, :size].reshape(len(self.indices), *shape)

    def uniform(self, name: str, shape: tuple[int, ...]) -> Float[Tensor, "n ..."]:
        """Draw float32 `(N, *shape)`, uniform over the multiples of 2**-24 in [0, 1)."""
        size = math.prod(shape)
        drawn = self._empty(size)
        for rows, columns, words in self._words(name, (size + 1) // 2):
            first, last = 2 * columns.start, min(2 * columns.stop, size)
            lanes = words.view(torch.int32).bitwise_right_shift_(8)
            drawn[rows, first:last] = lanes[:, : last - first]
            drawn[rows, first:last].mul_(2.0**-24).add_(0.5)
        return drawn.reshape(len(self.indices), *shape)

    def normal(self, name: str, shape: tuple[int, ...]) -> Float[Tensor, "n ..."]:
        """Draw float32 `(N, *shape)`, standard normal; at most 6.7 in absolute value.

        Source: Box and Muller, Ann. Math. Stat. 1958.
        """
        size = math.prod(shape)
        half = (size + 3) // 4
        drawn = self._empty(4 * half)
        radii, angles = self._words(name + "/radius", half), self._words(name + "/angle", half)
        for (rows, columns, first), (_, _, second) in zip(radii, angles, strict=True):
            # An absolute value of a signed number keeps all its digits near zero: the far tails.
            radius = first.view(torch.int32).to(torch.float32).abs_().mul_(2.0**-31)
            radius = radius.clamp_(min=2.0**-32).log_().mul_(-2).sqrt_()
            angle = second.view(torch.int32).bitwise_right_shift_(8).to(torch.float32)
            angle.mul_(2 * math.pi * 2.0**-24)
            near = slice(2 * columns.start, 2 * columns.stop)
            far = slice(2 * (half + columns.start), 2 * (half + columns.stop))
            torch.mul(angle.cos(), radius, out=drawn[rows, near])
            torch.mul(angle.sin_(), radius, out=drawn[rows, far])
        return drawn[:, :size].reshape(len(self.indices), *shape)

    def integers(
        self, name: str, low: int, high: int, shape: tuple[int, ...]
    ) -> Int[Tensor, "n ..."]:
        """Draw int64 `(N, *shape)` from low to high - 1, uniform up to (high - low) / 2**32.

        Raises `InputError` unless low < high <= low + 2**31.
        """
        if not low < high <= low + 2**31:
            raise InputError(f"integers need low < high <= low + 2**31, got [{low}, {high}).")
        lanes = self.bits(name, shape).to(torch.int64).bitwise_and_(2**32 - 1)
        return lanes.mul_(high - low).bitwise_right_shift_(32).add_(low)

    def _words(self, name: str, count: int) -> Iterator[tuple[slice, slice, Tensor]]:
        block = _BLOCKS.get(self.indices.device.type, _BLOCK)
        return rng.words(self.seed, f"{self.stream}/{name}", self.indices, count, block)

    def _empty(self, size: int) -> Tensor:
        return torch.empty(len(self.indices), size, device=self.indices.device)
