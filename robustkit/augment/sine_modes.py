"""Sine series on a pixel grid: modes above the grid's own are folded, and their variances add."""

import math
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from robustkit.augment.operation import without_autocast, working_dtype


def sine_series(
    coefficients: Float[Tensor, "*batch k l"], height: int, width: int
) -> Float[Tensor, "*batch height width"]:
    """Return `sum_ij c_ij sin(pi i y) sin(pi j x)` for y and x from 0 to 1, ends included.

    Coefficient `[i - 1, j - 1]` has i half-periods down the image and j across it. Frequencies
    beyond those of the grid are folded, so that two small matrix products do for any.

    Source: Petrini et al., Relative stability toward diffeomorphisms indicates performance in deep
    nets, NeurIPS 2021.
    """
    dtype, device = working_dtype(coefficients.dtype), coefficients.device
    folded = fold(coefficients.to(dtype), height, width)
    rows, columns = _sines(height, dtype, device), _sines(width, dtype, device)
    down = rows[:, : folded.shape[-2]]
    with without_autocast(device):
        return down @ (folded @ columns[:, : folded.shape[-1]].mT)


def fold(
    coefficients: Float[Tensor, "*batch k l"], height: int, width: int
) -> Float[Tensor, "*batch rows columns"]:
    """Add each coefficient to that of the grid's own mode that has the same values on the grid.

    On n pixels from 0 to 1 the modes are 1 to n - 2: mode k equals mode k - 2 (n - 1), and minus
    mode 2 (n - 1) - k; multiples of n - 1 vanish. Fewer coefficients than that stay as they are.

    Source: the symmetries of the sine; checked against the unfolded sum in the tests.
    """
    down, across = coefficients.shape[-2:]
    with without_autocast(coefficients.device):
        if down > max(height - 2, 0):
            coefficients = _folding(down, height, coefficients) @ coefficients
        if across > max(width - 2, 0):
            coefficients = coefficients @ _folding(across, width, coefficients).mT
    return coefficients


def folded_deviations(
    cutoffs: Int[Tensor, " n"], cutoff: int, height: int, width: int, dtype: torch.dtype
) -> Float[Tensor, "n rows columns"]:
    """Return the standard deviations of folded coefficients whose variances are 1 / (i^2 + j^2).

    Those before folding are independent and fill the disc `i^2 + j^2 < (c + 1/2)^2`, c being the
    image's entry of `cutoffs`, at most `cutoff`. So there is no need to draw what would be folded.

    Source: Petrini et al., NeurIPS 2021; variances of sums of independent variables.
    """
    squares, deviations = _aliases(cutoff, height, width, cutoffs.device)
    limits = (cutoffs * (cutoffs + 1)).to(squares.dtype).expand(len(squares), -1).contiguous()
    within = torch.searchsorted(squares, limits, right=True)
    found = deviations.to(dtype).gather(1, within)
    return found.mT.reshape(len(cutoffs), max(height - 2, 0), max(width - 2, 0))


def _place(frequencies: Int[Tensor, " k"], size: int) -> tuple[Tensor, Tensor]:
    """Return the grid's own mode of each frequency, and its sign there; 0 if it vanishes."""
    period = 2 * max(size - 1, 1)
    rest = frequencies % period
    mirrored = 2 * rest > period
    sign = torch.where(mirrored, -1, 1) * (2 * rest % period != 0)
    return torch.where(mirrored, period - rest, rest), sign


def _folding(count: int, size: int, like: Tensor) -> Float[Tensor, "own count"]:
    frequencies = torch.arange(1, count + 1, device=like.device)
    mode, sign = _place(frequencies, size)
    own = torch.arange(1, max(size - 1, 1), device=like.device)
    return ((own[:, None] == mode) * sign).to(like.dtype)


@lru_cache(maxsize=16)
def _sines(size: int, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "size modes"]:
    with torch.inference_mode(False), torch.no_grad():
        last = max(size - 1, 1)
        steps = torch.outer(torch.arange(size), torch.arange(1, last))
        # Reduced to a period in integers: the border is then 0 up to the sine of pi in float64.
        angles = (steps % (2 * last)).double() * (math.pi / last)
        return angles.sin().where(steps % last != 0, 0.0).to(dtype=dtype, device=device)


@lru_cache(maxsize=4)
def _aliases(
    cutoff: int, height: int, width: int, device: torch.device
) -> tuple[Int[Tensor, "modes aliases"], Float[Tensor, "modes counts"]]:
    """Return for each own mode the ascending i^2 + j^2 that fold to it, and the deviations.

    Entry m of the deviations is that of the sum of the m coefficients of lowest frequency.
    """
    with torch.inference_mode(False), torch.no_grad():
        frequencies = torch.arange(1, cutoff + 1)
        beyond = 2 * (cutoff + 1) ** 2
        sides = []
        for size in (height, width):
            mode, sign = _place(frequencies, size)
            own = torch.arange(1, max(size - 1, 1))
            hits = (own[:, None] == mode) & (sign != 0)
            found = torch.where(hits, frequencies.square(), beyond).sort(dim=1).values
            sides.append(found[:, : int(hits.sum(1).max()) if len(own) else 0])
        down, across = sides
        squares = (down[:, None, :, None] + across[None, :, None, :]).flatten(2).flatten(0, 1)
        squares = squares.sort(dim=1).values
        reached = (squares <= cutoff * (cutoff + 1)).any(0)
        squares = squares[:, : int(reached.sum())].contiguous()
        variances = torch.nn.functional.pad(squares.double().reciprocal().cumsum(1), (1, 0))
        # Short integers: an image's limits are one for every mode.
        short = torch.int32 if beyond < 2**30 else torch.int64
        return squares.to(device, short), variances.sqrt().to(device)
