"""Figures of margins: along a list of subspaces, over a grid of frequencies, and over training.

Every function draws into given axes in the style of `robustkit.plots` and returns what it drew as
columns, for the record of a run.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import FixedLocator, NullLocator

from robustkit.arguments import Number
from robustkit.errors import InputError
from robustkit.margins.heat_maps import (
    Array,
    Numbers,
    Table,
    block_heat_map,
    check_increasing,
    fourier_heat_map,
    margin_film,
    plain_array,
    round_steps,
    write_number,
)
from robustkit.plots import COLOURS, DASHES, FAINT, INK, MARKERS
from robustkit.stats import median

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["block_heat_map", "fourier_heat_map", "margin_film", "margin_spectrum", "thinned"]

# Shares of the height of the axes: free space at either end, and a line of censored marks.
_SPACE, _LINE = 0.05, 0.08
_CENSORED = "no boundary found (% of images)"


def margin_spectrum(
    axes: "Axes",
    positions: Numbers,
    margins: Table,
    *,
    label: str,
    position: int = 0,
    null: Numbers | None = None,
    null_label: str = "if no direction were preferred",
    ticks: Sequence[str] | None = None,
    cloud: int = 40,
    level: float = 0.95,
) -> dict[str, list[Any]]:
    """Draw the median margin in each of M subspaces, with its interval, on a logarithmic axis.

    - `positions`: `(M,)`, increasing: where the subspaces stand, a frequency or a rank.
    - `margins`: `(M, N)`, at least 0; infinite where no boundary was found. The line is the median,
      interrupted where it is infinite, and the band its distribution-free interval at `level`,
      which leaves the axes where the upper bound is infinite. Along the upper edge a mark stands
      over every subspace with infinite margins, with their share in percent.
    - `position` picks colour, dash and marker, and the line of marks.
    - `null`: `(M,)`, drawn dashed under `null_label`; see `robustkit.margins.null_curve`.
    - `ticks`: a name for each subspace. Every subspace has its tick, and as many are named as fit.
    - `cloud`: how many images are shown as points, those with the first indices; 0 for none.

    A legend goes outside, where it covers no mark: figure.legend(loc="outside lower center"). A
    margin of 0 is below the axis. Returns the drawn columns: position, median, low, high,
    censored (the share of infinite margins), null and name where given. Raises `InputError` for
    shapes that do not fit, positions that do not increase and margins that are negative or NaN.
    """
    across, values = plain_array(positions), plain_array(margins)
    if values.ndim != 2 or not values.size or across.shape != values.shape[:1]:
        raise InputError(
            f"margins must be (M, N), subspaces by images, with (M,) positions; got {values.shape} "
            f"and {across.shape}."
        )
    if not (values >= 0).all():
        raise InputError("margins must be at least 0, and infinite where none was found.")
    check_increasing("positions", across)
    columns = _columns(across, values, level)
    if null is not None:
        columns["null"] = plain_array(null).tolist()
    if ticks is not None:
        columns["name"] = list(ticks)
    for name, column in columns.items():
        if len(column) != len(across):
            raise InputError(f"{name}: {len(column)} values for {len(across)} subspaces.")
    reserved = _reserved(axes)
    colour, marker = COLOURS[position % len(COLOURS)], MARKERS[position % len(MARKERS)]
    _cloud(axes, across, values[:, :cloud], position)
    axes.plot(
        across,
        _shown(columns["median"]),
        color=colour,
        linestyle=DASHES[position % len(DASHES)],
        linewidth=2,
        marker=marker,
        markersize=5,
        label=label,
    )
    if null is not None:
        axes.plot(
            across,
            _shown(columns["null"]),
            color=FAINT,
            linestyle=(0, (5, 3)),
            linewidth=1.3,
            label=null_label,
            zorder=1.5,
        )
    _band(axes, columns, colour)
    line = _LINE * (position + 1) if any(columns["censored"]) else 0.0
    _logarithmic(axes, max(reserved, line))
    _censored_marks(axes, columns, colour, 1 - _LINE * position)
    if ticks is None:
        axes.set_xticks(across, minor=True)
    else:
        axes.set_xticks(across, thinned(ticks, across, axes))
    axes.set_ylabel("margin")
    return columns


def thinned(
    names: Sequence[str], positions: Numbers, axes: "Axes", *, size: Number = 11
) -> list[str]:
    """Return the names at M positions with all but every k-th empty, so that neighbours fit.

    k is the smallest that leaves room on the axes for letters of `size` points.
    """
    across = plain_array(positions)
    span = float(np.ptp(across)) if len(across) > 1 else 1.0
    points = across / span * 0.9 * axes.bbox.width / axes.figure.dpi * 72
    # A letter is about 0.6 of the size wide; one more keeps neighbours apart.
    widths = 0.6 * size * np.array([len(name) for name in names])
    for every in range(1, len(names) + 1):
        kept = widths[::every]
        needs = np.where(kept[1:] * kept[:-1] > 0, (kept[1:] + kept[:-1]) / 2 + 0.6 * size, 0)
        if (np.diff(points[::every]) >= needs).all():
            break
    return [name if index % every == 0 else "" for index, name in enumerate(names)]


def _columns(across: Array, values: Array, level: float) -> dict[str, list[Any]]:
    rows = [median(row, level=level) for row in values]
    return {
        "position": across.tolist(),
        "median": [row.estimate for row in rows],
        "low": [row.low for row in rows],
        "high": [row.high for row in rows],
        "censored": np.isinf(values).mean(axis=1).tolist(),
    }


def _cloud(axes: "Axes", across: Array, values: Array, position: int) -> None:
    gap = np.diff(across).min() if len(across) > 1 else 1.0
    aside = np.random.default_rng(position).uniform(-0.25, 0.25, values.shape) * gap
    axes.plot(
        (across[:, None] + aside).ravel(),
        _shown(values).ravel(),
        linestyle="none",
        marker=MARKERS[position % len(MARKERS)],
        markersize=2.8,
        markeredgewidth=0,
        color=COLOURS[position % len(COLOURS)],
        alpha=0.4,
    )


def _band(axes: "Axes", columns: dict[str, list[Any]], colour: str) -> None:
    low, high = np.array(columns["low"]), np.array(columns["high"])
    limits = axes.dataLim.frozen()
    if not np.isfinite(limits.y1):
        return
    # Ends that are infinite lie outside of the axes, and do not count as data.
    floor, ceiling = limits.y0 / 10, limits.y1 * 10
    axes.fill_between(
        columns["position"],
        np.clip(low, floor, None),
        np.clip(high, floor, ceiling),
        where=low < np.inf,
        color=colour,
        alpha=0.2,
        linewidth=0,
    )
    axes.dataLim.set(limits)
    for bounds in (_shown(low), _shown(high)):
        seen = ~np.isnan(bounds)
        axes.update_datalim(np.column_stack([columns["position"], bounds])[seen])


def _reserved(axes: "Axes") -> float:
    """Return the share of the axes above the data, where earlier spectra have their marks."""
    if axes.get_yscale() != "log" or not np.isfinite(axes.dataLim.y1):
        return 0.0
    low, high = np.log10(axes.get_ylim())
    return max(0.0, float((high - np.log10(axes.dataLim.y1)) / (high - low)) - _SPACE)


def _logarithmic(axes: "Axes", reserved: float) -> None:
    """Make the axis logarithmic, with a scale along the data and none beside the marks."""
    low, high = axes.dataLim.y0, axes.dataLim.y1
    axes.set_yscale("log")
    if not (np.isfinite(low) and np.isfinite(high)):
        return
    ends = np.log10([low, high])
    if ends[1] - ends[0] < 0.5:
        ends = ends.mean() + np.array([-0.25, 0.25])
    whole = (ends[1] - ends[0]) / (1 - min(reserved, 0.7) - 2 * _SPACE)
    bottom, top = ends[0] - _SPACE * whole, ends[1] + _SPACE * whole
    axes.set_ylim(10**bottom, 10 ** (top + min(reserved, 0.7) * whole))
    axes.yaxis.set_major_locator(FixedLocator(round_steps(10**bottom, 10**top)))
    axes.yaxis.set_major_formatter(write_number)
    axes.yaxis.set_minor_locator(NullLocator())


def _censored_marks(
    axes: "Axes", columns: dict[str, list[Any]], colour: str, height: float
) -> None:
    shares = [share for share in columns["censored"] if share]
    across = [
        at for at, share in zip(columns["position"], columns["censored"], strict=True) if share
    ]
    if not shares:
        return
    where = axes.get_xaxis_transform()
    axes.plot(
        across,
        np.full(len(across), height - 0.015),
        linestyle="none",
        marker="^",
        markersize=4,
        markeredgewidth=0,
        color=colour,
        transform=where,
    )
    percents = [_percent(share) for share in shares]
    for at, text in zip(across, thinned(percents, across, axes, size=8), strict=True):
        axes.text(
            at, height - 0.03, text, transform=where, ha="center", va="top", fontsize=8, color=INK
        )
    if _CENSORED not in axes.get_legend_handles_labels()[1]:
        axes.plot([], [], "^", color=FAINT, markersize=5, label=_CENSORED)


def _percent(share: float) -> str:
    """Write a share so that some is never read as none, nor nearly all as all."""
    if share < 0.01:
        return "<1"
    return ">99" if 0.99 < share < 1 else f"{100 * share:.0f}"


def _shown(values: Sequence[float] | Array) -> Array:
    """Return what a logarithmic axis can show; the rest as NaN, which is not drawn."""
    numbers = np.asarray(values, dtype=float)
    return np.where(np.isfinite(numbers) & (numbers > 0), numbers, np.nan)
