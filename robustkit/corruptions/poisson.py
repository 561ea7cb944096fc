"""Poisson numbers from two table look-ups each, of any rate up to a bound, keyed per image."""

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy import stats as scipy_stats
from torch import Tensor

from robustkit.arguments import Number
from robustkit.corruptions.draws import Draws

_LEVELS = 255


def poisson(
    fractions: Float[Tensor, "n *shape"], draws: Draws, rate: Number
) -> Float[Tensor, "n *shape"]:
    """Draw Poisson numbers of the rates `rate * fractions`, as floats of the fractions' dtype.

    - `fractions`: in [0, 1]; `rate`: positive, at most some thousands.

    The law is exact to 1e-6 in total variation, rounding of the fractions to 1e-7 aside. A multiple
    of 1/255, which an 8-bit image has, is drawn from the table of its own rate. Another fraction
    gets the sum of two independent numbers, of the level below it and of the rest: such a sum is
    Poisson again.
    Source: alias tables, Walker, ACM Trans. Math. Softw. 1977.
    """
    shape = fractions.shape[1:]
    levels, rest = _split(fractions)
    table = _table(rate, fractions.device)
    drawn = table.look_up(levels, draws.bits("poisson", shape))
    # Images of whole levels have no rest: the second draw would be zero everywhere. Only the
    # processor looks at them first; it would have to wait for another device.
    if rest.device.type != "cpu" or bool((rest > 0).any()):
        drawn += _small(rest * rate, draws.uniform("poisson/rest", shape), rate / _LEVELS)
    return drawn.to(fractions.dtype)


def _split(fractions: Tensor) -> tuple[Tensor, Tensor]:
    scaled = fractions.to(torch.float32) * _LEVELS
    levels = (scaled + 2e-5).floor_()
    rest = scaled - levels
    # 8-bit levels divided by 255 come back with a rounding error, which is no rest.
    return levels.to(torch.int32), rest.mul_(rest > 2e-5).div_(_LEVELS)


def _small(rates: Tensor, uniform: Tensor, most: Number) -> Tensor:
    """Invert the distribution function of small rates, summed term by term."""
    term = torch.exp(-rates)
    total, drawn = term.clone(), torch.zeros_like(rates)
    last = int(scipy_stats.poisson.isf(2.0**-24, most)) + 1
    for count in range(1, last + 1):
        drawn += uniform >= total
        term.mul_(rates).div_(count)
        total += term
    return drawn


class _Table:
    """Walker's alias tables of the rates of all levels, side by side, `size` columns each.

    A column is hit with equal chances; it holds its own number below its threshold, in units of
    the bits under the column's, and its alias from there on.
    """

    def __init__(self, rate: Number, device: torch.device) -> None:
        first, probabilities = _support(rate)
        self.size = probabilities.shape[1]
        self.under = 32 - (self.size - 1).bit_length()
        share, alias = _alias(probabilities)
        thresholds = np.rint(share * 2**self.under).astype(np.int32)
        own = first[:, None] + np.arange(self.size)
        numbers = np.stack([first[:, None] + alias, own], axis=-1)
        self.thresholds = torch.from_numpy(thresholds.ravel()).to(device)
        self.numbers = torch.from_numpy(numbers.ravel().astype(np.float32)).to(device)

    def look_up(self, levels: Tensor, bits: Tensor) -> Tensor:
        """Return the number that 32 random bits stand for at each level."""
        columns = bits.bitwise_right_shift(self.under).bitwise_and_(self.size - 1)
        cells = columns.add_(levels, alpha=self.size).flatten()
        below = bits.flatten().bitwise_and(2**self.under - 1) < self.thresholds[cells]
        return self.numbers[cells.mul_(2).add_(below)].reshape(levels.shape)


@lru_cache(maxsize=32)
def _table(rate: Number, device: torch.device) -> _Table:
    return _Table(rate, device)


def _support(rate: Number) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the first number of each level and the probabilities from there on."""
    rates = rate * np.arange(_LEVELS + 1) / _LEVELS
    low = np.maximum(scipy_stats.poisson.ppf(1e-12, rates), 0).astype(np.int64)
    high = scipy_stats.poisson.isf(1e-12, rates).astype(np.int64)
    size = 1 << int(np.max(high - low)).bit_length()
    # Without photons a level draws zero alone.
    probabilities = scipy_stats.poisson.pmf(low[:, None] + np.arange(size), rates[:, None])
    return low, probabilities / probabilities.sum(axis=1, keepdims=True)


def _alias(
    probabilities: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Build the shares and aliases of each row: one column is settled a step, the emptiest."""
    rows = np.arange(len(probabilities))
    size = probabilities.shape[1]
    content = probabilities * size
    share, alias = np.ones_like(content), np.tile(np.arange(size), (len(rows), 1))
    open_columns = content.copy()
    for _ in range(size - 1):
        poor = np.argmin(open_columns, axis=1)
        rich = np.argmax(np.where(np.isinf(open_columns), -np.inf, open_columns), axis=1)
        missing = 1 - open_columns[rows, poor]
        share[rows, poor] = 1 - missing
        alias[rows, poor] = rich
        open_columns[rows, poor] = np.inf
        open_columns[rows, rich] -= missing
    return np.clip(share, 0, 1), alias
