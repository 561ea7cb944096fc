"""Random tone curves as tables: built by one matrix product, looked up linearly."""

import math
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from robustkit.augment.operation import working_dtype

# Half an 8-bit step, and the curvature in standard deviations at which the table is off by as much.
_TOLERANCE, _DEVIATIONS = 1 / 510, 5.5


def table_cells(last: int, count: int, temperature: float) -> int:
    """Return how many cells keep a table within half an 8-bit step of its random curve.

    The curve has `count` frequencies up to `last`, with coefficients of variance `temperature`. Its
    second derivative has the mean square `pi^4 T / 2 * sum_k k^4` over values and curves, and is
    taken to stay below 5.5 times the root of that.

    Source: the error of linear interpolation; see `curve_tables`.
    """
    fourth_powers = sum(k**4 for k in range(last - count + 1, last + 1))
    curvature = math.pi**2 * math.sqrt(temperature / 2 * fourth_powers)
    return max(math.ceil(math.sqrt(_DEVIATIONS * curvature / (16 * _TOLERANCE))), 1)


def curve_tables(
    coefficients: Float[Tensor, "n c k"],
    first: Int[Tensor, " n"] | None = None,
    *,
    cells: int,
) -> Float[Tensor, "n c knots"]:
    """Tabulate `x + sum_j b_j sin(pi (first + j) x)` at `cells + 1` knots from 0 to 1.

    `first` is the lowest frequency of each image, 1 if None. Values are such that the largest error
    of linear interpolation is about half of that between knots on the curve: it is at most
    `pi^2 / (16 cells^2) * sum_k k^2 |b_k|` plus terms of fourth order in k / cells. The end knots
    are 0 and 1 exactly.

    Source: Modas et al., ECCV 2022; the table is ours.
    """
    coefficients = coefficients.to(working_dtype(coefficients.dtype))
    dtype, device = coefficients.dtype, coefficients.device
    width = coefficients.shape[-1]
    frequencies = torch.arange(width, device=device) + (
        1 if first is None else first[:, None, None]
    )
    # A chord lies below a concave arc by up to h^2 / 8 of its curvature: raised by half of that,
    # the table is off by as much above the arc as below.
    raised = coefficients * (1 + (frequencies.to(dtype) * (math.pi / (4 * cells))).square())
    if first is None:
        tables = raised @ _waves(width, cells, 1, dtype, device)[1]
    else:
        # sin((f + j) x) = sin(f x) cos(j x) + cos(f x) sin(j x): one product serves all `first`.
        cosines, sines = _waves(width, cells, 0, dtype, device)
        # The phase is reduced to one period in integers, for float32 loses it at high frequency.
        knots = torch.arange(cells + 1, device=device)
        phases = ((first[:, None] * knots) % (2 * cells)).to(dtype) * (math.pi / cells)
        tables = (raised @ cosines).mul_(phases.sin()[:, None])
        tables += (raised @ sines).mul_(phases.cos()[:, None])
    tables += torch.linspace(0, 1, cells + 1, dtype=dtype, device=device)
    tables[..., 0], tables[..., -1] = 0, 1
    return tables


def look_up(
    images: Float[Tensor, "n c h w"], tables: Float[Tensor, "n c knots"]
) -> Float[Tensor, "n c h w"]:
    """Map the pixels of each channel through its table, linearly between knots at equal distances.

    The first knot is pixel value 0, the last one is 1; values beyond are taken as those. Half
    precision is computed in float32 and returned as it came.

    Source: linear interpolation.
    """
    knots = tables.shape[-1]
    positions = images.flatten(2).to(working_dtype(images.dtype)) * (knots - 1)
    # Selection from one long row by short integers: faster than a gather, with half the memory.
    short = torch.int32 if tables.numel() < 2**31 else torch.int64
    cell = positions.to(short).clamp_(0, knots - 2)
    share = positions.sub_(cell).clamp_(0, 1).flatten()
    starts = torch.arange(0, tables.numel(), knots, dtype=short, device=images.device)
    place = cell.add_(starts.reshape(*tables.shape[:2], 1)).flatten()
    row = tables.flatten()
    values = torch.lerp(row.index_select(0, place), row[1:].index_select(0, place), share)
    return values.reshape(images.shape).to(images.dtype)


@lru_cache(maxsize=8)
def _waves(
    count: int, cells: int, lowest: int, dtype: torch.dtype, device: torch.device
) -> Float[Tensor, "2 count knots"]:
    """Return the cosines and sines of `count` half-frequencies from `lowest` on, at the knots."""
    with torch.inference_mode(False), torch.no_grad():
        steps = torch.outer(torch.arange(lowest, lowest + count), torch.arange(cells + 1))
        angles = (steps % (2 * cells)).double() * (math.pi / cells)
        return torch.stack([angles.cos(), angles.sin()]).to(dtype=dtype, device=device)
