"""A keyed hash of the pixels of every crop: equal for equal crops, wherever they are."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from robustkit.translation.levels import check_fits, check_levels, in_parts

_MODULUS = 2**64


@dataclass(frozen=True)
class HashScore:
    """Hash the pixels of every crop of `(N, C, H, W)` 8-bit images, keyed by `key`.

    Calling it with images and the size (rows, columns) of crops returns int64 in [0, 2**63), of
    shape `(N, H - rows + 1, W - columns + 1)`. A hash depends on the key, the crop's size and its
    pixels alone, and is the same on every device.

    A row of a crop is hashed by a polynomial modulo 2**64 with a random odd base, the rows' hashes
    are scrambled, and hashed the same way down the crop. Different crops share a hash as rarely as
    random numbers of 63 bits do, unless they are made for it: along 1024 columns, or rows, of two
    kinds that take turns as in the Thue-Morse sequence, the sequence and its complement share
    theirs under every key.

    Raises `InputError` when a crop does not fit, and for images that are not uint8. Sources:
    Karp and Rabin, IBM J. Res. Dev. 1987; the scrambling is that of splitmix64, Steele, Lea and
    Flood, OOPSLA 2014.
    """

    key: int = 0

    def __call__(
        self, images: Shaped[Tensor, "..."], crop: tuple[int, int]
    ) -> Int[Tensor, "n rows columns"]:
        """Return the hash of every crop, placed as the crops are."""
        check_levels(images)
        check_fits(images, crop)
        parts = in_parts(images, 2**25, most_on_cpu=2**19)
        return torch.cat([self._hash(part, crop) for part in parts])

    def _hash(self, images: Tensor, crop: tuple[int, int]) -> Tensor:
        rows = _mix(_roll(self._pixels(images), crop[1], 2, self._odd("columns")))
        hashes = _roll(rows, crop[0], 1, self._odd("rows"))
        # A black crop sums to 0 in any size.
        size = _signed(self._word(f"{crop[0]} x {crop[1]}"))
        # Without the sign: differences of hashes, and marks below all hashes, fit into int64.
        return _mix(hashes.bitwise_xor_(size)).bitwise_and_(2**63 - 1)

    def _pixels(self, images: Tensor) -> Tensor:
        pixels = _digits(images[:, :3])
        for start in range(3, images.shape[1], 3):
            pixels = pixels * self._odd("channels") + _digits(images[:, start : start + 3])
        return pixels

    def _word(self, name: str) -> int:
        digest = hashlib.sha256(f"{self.key}/translation/{name}".encode()).digest()
        return int.from_bytes(digest[:8], "little")

    def _odd(self, name: str) -> int:
        # The powers of 3 and 5 modulo 8 repeat as late as they can.
        return _signed(self._word(name) & ~7 | 5)


def hash_score(key: int = 0) -> HashScore:
    """Return the score that is a keyed hash of all pixels of the crop; see `HashScore`."""
    return HashScore(key)


def _digits(images: Tensor) -> Tensor:
    # Levels are digits of a number to the odd base 257; of three it has 25 bits.
    pixels = images[:, 0].to(torch.int32)
    for channel in range(1, images.shape[1]):
        pixels.add_(images[:, channel].to(torch.int32), alpha=257**channel)
    return pixels.to(torch.int64)


def _roll(values: Tensor, length: int, axis: int, base: int) -> Tensor:
    """Return, for every run of `length` along `axis`, the sum of value `j` times `base**j`.

    Overwrites the values.
    """
    count = values.shape[axis]
    powers, inverses = _powers(base, count, values.device)
    shape = (-1, 1) if axis == 1 else (-1,)
    terms = values.mul_(powers.reshape(shape))
    moves = count - length
    # The first run is a sum; each later one gains a term and loses one.
    first = terms.narrow(axis, 0, length).sum(dim=axis, keepdim=True)
    changes = terms.narrow(axis, length, moves) - terms.narrow(axis, 0, moves)
    runs = torch.cat([first, changes], dim=axis).cumsum_(axis)
    return runs.mul_(inverses[: moves + 1].reshape(shape))


@lru_cache(maxsize=64)
def _powers(base: int, count: int, device: torch.device) -> tuple[Tensor, Tensor]:
    # An odd number has an inverse modulo 2**64, so a run moves back to exponent 0 exactly.
    both = []
    for factor in (base, pow(base, -1, _MODULUS)):
        power, powers = 1, []
        for _ in range(count):
            powers.append(_signed(power))
            power = power * factor % _MODULUS
        both.append(powers)
    with torch.inference_mode(False), torch.no_grad():
        first, second = (torch.tensor(powers, device=device) for powers in both)
    return first, second


def _mix(bits: Tensor) -> Tensor:
    # In place: every caller has just made the bits. Masks make the shifts logical.
    for by, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        bits.bitwise_xor_((bits >> by) & ((1 << (64 - by)) - 1)).mul_(_signed(factor))
    return bits.bitwise_xor_((bits >> 31) & ((1 << 33) - 1))


def _signed(value: int) -> int:
    value %= _MODULUS
    return value - _MODULUS if value >= _MODULUS // 2 else value
