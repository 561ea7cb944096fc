"""Heat maps: numbers over a grid of frequencies, or of frequencies and epochs.

Frequencies are in cycles a pixel, so that DCT blocks and Fourier frequencies share their axes.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Shaped
from matplotlib.colors import LogNorm, Normalize
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator
from torch import Tensor

from robustkit.arguments import Number
from robustkit.errors import InputError
from robustkit.margins.fourier_map import FourierMap, fold_frequencies
from robustkit.plots import FAINT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Numbers = Sequence[float] | Sequence[int] | Shaped[np.ndarray, "..."] | Shaped[Tensor, "..."]
Array = Shaped[np.ndarray, "..."]
Table = Shaped[np.ndarray, "..."] | Shaped[Tensor, "..."]
Limits = tuple[Number, Number] | None

# Perceptually uniform, and in order for readers who are colour blind.
_COLOUR_MAP = "viridis"


def block_heat_map(
    axes: "Axes",
    values: Table,
    *,
    label: str = "median margin",
    frequencies: tuple[Numbers, Numbers] | None = None,
    log: bool = True,
    limits: Limits = None,
) -> dict[str, list[float]]:
    """Draw one number for each block of a grid of frequencies, low frequencies at the lower left.

    - `values`: `(R, C)`, R blocks down and C across; infinite cells are hatched, NaN stays empty.
    - `frequencies`: the middle of each row and of each column in cycles a pixel, in [0, 0.5],
      increasing: the DCT coefficient i of H is at i / (2 H). By default the blocks tile the range.
    - `log`: a logarithmic colour scale; `limits`: its ends, to share one scale between maps.

    Returns the drawn columns: vertical, horizontal, value. Raises `InputError` for shapes that do
    not fit, frequencies that do not increase and limits that cannot be those of a scale.
    """
    cells = _table(values)
    sides = [(np.arange(length) + 0.5) * 0.5 / length for length in cells.shape]
    if frequencies is not None:
        sides = [plain_array(side) for side in frequencies]
    return _frequency_map(axes, sides, cells, label, log, limits)


def fourier_heat_map(
    axes: "Axes",
    values: FourierMap | Table,
    *,
    label: str = "error rate",
    log: bool = False,
    limits: Limits = None,
) -> dict[str, list[float]]:
    """Draw a Fourier map by absolute frequency, on the axes of `block_heat_map`.

    `values` is a `FourierMap`, of which the error rates are drawn, or a centred map `(H, W)`; what
    is shown is `robustkit.margins.fold_frequencies` of it. Other arguments, result and errors as in
    `block_heat_map`.
    """
    whole = _table(values.errors if isinstance(values, FourierMap) else values)
    folded = plain_array(fold_frequencies(torch.from_numpy(whole)))
    sides = [
        np.arange(count) / length for count, length in zip(folded.shape, whole.shape, strict=True)
    ]
    return _frequency_map(axes, sides, folded, label, log, limits)


def margin_film(
    axes: "Axes",
    epochs: Numbers,
    medians: Table,
    *,
    frequencies: Numbers | None = None,
    label: str = "median margin",
    limits: Limits = None,
) -> dict[str, list[float]]:
    """Draw margins over training: epochs across, subspaces up, the margin as a logarithmic colour.

    `epochs` `(E,)` increase; `medians` is `(E, M)`, infinite cells are hatched. `frequencies`
    `(M,)` increase, by default the ranks 0 to M - 1; `limits` are the ends of the colour scale.
    Returns the drawn columns: epoch, frequency, median. Raises `InputError` for shapes that do not
    fit, epochs or frequencies that do not increase and limits that cannot be those of a scale.
    """
    cells, across = _table(medians), plain_array(epochs)
    ranks, named = np.arange(cells.shape[1]), "frequency (cycles/pixel)"
    up = ranks.astype(float) if frequencies is None else plain_array(frequencies)
    _check_sides([across, up], cells)
    _mesh(axes, _edges(across), _edges(up), cells.T, label, True, limits)
    axes.set(xlabel="epoch", ylabel="subspace" if frequencies is None else named)
    return {
        "epoch": np.repeat(across, len(up)).tolist(),
        "frequency": np.tile(up, len(across)).tolist(),
        "median": cells.ravel().tolist(),
    }


def plain_array(values: Numbers) -> Array:
    """Return numbers from anywhere, a GPU's tensor too, as a float64 array."""
    here = values.detach().cpu().double().numpy() if isinstance(values, Tensor) else values
    return np.array(here, dtype=float)


def check_increasing(name: str, values: Array) -> None:
    """Refuse positions that are not finite or do not increase; raises `InputError`."""
    if not (np.isfinite(values).all() and (np.diff(values) > 0).all()):
        raise InputError(f"{name} must be finite and increase.")


def round_steps(low: float, high: float) -> list[float]:
    """Return the round numbers of a logarithmic scale from `low` to `high`."""
    steps = (1, 2, 5) if high < 1e3 * low else (1,)
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    numbers = [step * 10.0**power for power in powers for step in steps]
    return [number for number in numbers if low <= number <= high]


def write_number(value: Number, _: Number = 0) -> str:
    """Write a number of a scale in the shortest way."""
    return f"{value:g}"


def _frequency_map(
    axes: "Axes", sides: list[Array], cells: Array, label: str, log: bool, limits: Limits
) -> dict[str, list[float]]:
    _check_sides(sides, cells)
    down, across = (np.clip(_edges(side), 0, 0.5) for side in sides)
    _mesh(axes, across, down, cells, label, log, limits)
    ticks = [0, 0.1, 0.2, 0.3, 0.4, 0.5]
    axes.set(xlim=(0, 0.5), ylim=(0, 0.5), aspect="equal", xticks=ticks, yticks=ticks)
    axes.xaxis.set_major_formatter(write_number)
    axes.yaxis.set_major_formatter(write_number)
    axes.set_xlabel("horizontal (cycles/pixel)", fontsize="small")
    axes.set_ylabel("vertical (cycles/pixel)", fontsize="small")
    return {
        "vertical": np.repeat(sides[0], len(sides[1])).tolist(),
        "horizontal": np.tile(sides[1], len(sides[0])).tolist(),
        "value": cells.ravel().tolist(),
    }


def _mesh(
    axes: "Axes", across: Array, up: Array, cells: Array, label: str, log: bool, limits: Limits
) -> None:
    """Draw cells between edges, with a colour bar as high as the axes."""
    low, high = _limits(cells, log, limits)
    mesh = axes.pcolormesh(
        across,
        up,
        np.ma.masked_invalid(np.maximum(cells, low) if log else cells),
        norm=LogNorm(low, high) if log else Normalize(low, high),
        cmap=_COLOUR_MAP,
        # Cells overlap a little: between cells that only touch, the page shines through.
        edgecolors="face",
        linewidth=0.7,
        # Each cell as a path of its own makes a page of megabytes.
        rasterized=cells.size > 200,
    )
    for row, column in np.argwhere(np.isinf(cells)):
        corner, width, height = (across[column], up[row]), np.diff(across)[column], np.diff(up)[row]
        axes.add_patch(
            Rectangle(corner, width, height, fill=False, hatch="////", edgecolor=FAINT, linewidth=0)
        )
    place = axes.inset_axes((1.04, 0.0, 0.05, 1.0))
    said = f"{label}\n(hatched: infinite)" if np.isinf(cells).any() else label
    bar = axes.figure.colorbar(mesh, cax=place)
    bar.set_label(said, fontsize="small")
    bar.outline.set_visible(False)
    place.collections[-1].set_rasterized(True)
    if log:
        place.yaxis.set_major_locator(FixedLocator(round_steps(low, high)))
        place.yaxis.set_major_formatter(write_number)
        bar.minorticks_off()
    for spine in axes.spines.values():
        spine.set_visible(True)


def _limits(cells: Array, log: bool, limits: Limits) -> tuple[float, float]:
    usable = cells[np.isfinite(cells) & ((cells > 0) | (not log))]
    low, high = limits or ((usable.min(), usable.max()) if usable.size else (1.0, 10.0))
    if low == high:
        low, high = (low / 1.5, high * 1.5) if log else (low - 0.5, high + 0.5)
    if not low < high < np.inf or (log and low <= 0):
        raise InputError(
            f"limits must be finite and increase, and above 0 on a logarithmic scale; got "
            f"({low}, {high})."
        )
    return float(low), float(high)


def _edges(middles: Array) -> Array:
    """Return the edges of cells half way between their middles; the outer ones are the nearest."""
    half = np.diff(middles).min() / 2 if len(middles) > 1 else 0.5
    inner = (middles[:-1] + middles[1:]) / 2
    return np.concatenate([[middles[0] - half], inner, [middles[-1] + half]])


def _table(values: Numbers) -> Array:
    cells = plain_array(values)
    if cells.ndim != 2 or not cells.size:
        raise InputError(f"the values must be a table, rows by columns; got shape {cells.shape}.")
    return cells


def _check_sides(sides: list[Array], cells: Array) -> None:
    lengths = tuple(side.shape for side in sides)
    if lengths != tuple((length,) for length in cells.shape):
        raise InputError(f"a table of shape {cells.shape} has positions of shapes {lengths}.")
    for side in sides:
        check_increasing("positions", side)
