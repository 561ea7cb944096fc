"""The figures of a card, drawn from the tables of a record: the same in a chapter and on a page."""

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib import pyplot as plt

from robustkit import plots
from robustkit.report_card.words import printable
from robustkit.stats import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Record = Mapping[str, Any]
Rows = list[dict[str, Any]]

# What a figure shows, for those who do not see it, by the axis of the card.
ALTERNATIVES: Mapping[str, str] = {
    "l2": "Share of images that stay right against the l2 length of the perturbation, falling.",
    "sparse": "Share of images that stay right against the number of changed pixels, falling.",
    "spectrum": "Median margin against frequency, with the null curve as a dotted line.",
    "corruptions": "Accuracy against severity, one panel for each family of corruptions.",
    "translation": "Intervals of consistency, share fooled and robust accuracy at two radii.",
    "rics": "The same intervals for the network behind crop selection.",
}
_LONGEST_NAME = 40


def draw(record: Record, axis: str) -> "Figure | None":
    """Return the figure of an axis, or None where the record has no table for one."""
    tables = record["tables"]
    if axis == "l2" and "l2_curve" in tables:
        return _curves(tables["l2_curve"], "radius", "l2 length of the perturbation")
    if axis == "sparse" and "sparse_curve" in tables:
        return _curves(tables["sparse_curve"], "pixels", "changed pixels")
    if axis == "spectrum" and "spectrum" in tables:
        return _spectrum(tables["spectrum"])
    if axis == "corruptions" and "corruption_families" in tables:
        return _families(tables["corruption_families"])
    if axis in ("translation", "rics") and axis in tables:
        return _measures(tables[axis])
    return None


def svg(figure: "Figure") -> str:
    """Return a figure as an SVG drawing, the same bytes for the same data, and close it."""
    file = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "robustkit"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    plt.close(figure)
    return file.getvalue()


def label(name: str) -> str:
    """Return a network's name as a figure can write it: short, and without signs that mean more.

    Dollar signs start formulas, an underscore at the beginning hides a line from the legend, and
    not every font has every letter.
    """
    plain = printable(name).encode("ascii", "replace").decode().replace("$", r"\$")
    short = plain if len(plain) <= _LONGEST_NAME else f"{plain[: _LONGEST_NAME - 3]}..."
    return f" {short}" if short.startswith("_") else short


def _networks(table: Mapping[str, Sequence[Any]]) -> Iterator[tuple[int, str, Rows]]:
    """Yield position, name and rows of each network, in order."""
    names = list(table)
    rows = [dict(zip(names, cells, strict=True)) for cells in zip(*table.values(), strict=True)]
    for position, network in enumerate(dict.fromkeys(table["network"])):
        yield position, str(network), [row for row in rows if row["network"] == network]


def _columns(rows: Rows, names: Mapping[str, str]) -> dict[str, list[float]]:
    return {new: [_number(row[old]) for row in rows] for new, old in names.items()}


def _number(cell: Any) -> float:
    return math.nan if cell is None else float(cell)


def _curves(table: Mapping[str, Sequence[Any]], across: str, words: str) -> "Figure":
    figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    for position, network, rows in _networks(table):
        columns = _columns(rows, {"radius": across, "share": "share", "low": "low", "high": "high"})
        plots.banded_line(axes, columns, label=label(network), position=position)
    if across == "pixels":
        axes.set_xscale("symlog", linthresh=1)
        axes.xaxis.set_major_formatter("{x:g}")
    axes.set(xlabel=words, ylabel="share still right", ylim=(0, 1.02))
    axes.set_xlim(left=0)
    axes.legend(fontsize="small")
    return figure


def _spectrum(table: Mapping[str, Sequence[Any]]) -> "Figure | None":
    # Where no boundary was found there is nothing that a logarithmic axis could show.
    found = [
        (position, network, [row for row in rows if 0 < _number(row["median"]) < math.inf])
        for position, network, rows in _networks(table)
    ]
    if not any(rows for _, _, rows in found):
        return None
    figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    for position, network, rows in found:
        columns = _columns(
            rows, {"radius": "frequency", "share": "median", "low": "low", "high": "high"}
        )
        # A bound that is not known, or at zero, leaves the logarithmic axis at its estimate.
        for end in ("low", "high"):
            columns[end] = [
                bound if 0 < bound < math.inf else middle
                for bound, middle in zip(columns[end], columns["share"], strict=True)
            ]
        plots.banded_line(axes, columns, label=label(network), position=position)
        axes.plot(
            columns["radius"],
            [_number(row["null"]) for row in rows],
            color=plots.COLOURS[position],
            linestyle=":",
            linewidth=1.6,
            label=f"{label(network)}, null curve",
        )
    axes.set(yscale="log", xlabel="frequency (cycles a pixel)", ylabel="median margin")
    axes.legend(fontsize="small")
    return figure


def _families(table: Mapping[str, Sequence[Any]]) -> "Figure":
    families = [name for name in dict.fromkeys(table["family"]) if name != "all"]
    figure, panels = plt.subplots(
        2, 2, figsize=(6.4, 4.8), sharex=True, sharey=True, layout="constrained"
    )
    for axes, family in zip(panels.flat, families, strict=True):
        for position, network, rows in _networks(table):
            _severities(axes, [row for row in rows if row["family"] == family], network, position)
        axes.set(title=family, ylim=(0, 1.02))
        axes.set_xticks(sorted({*table["severity"]}))
    for axes in panels[1]:
        axes.set_xlabel("severity")
    for axes in panels[:, 0]:
        axes.set_ylabel("accuracy")
    handles, names = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, fontsize="small", loc="outside lower center", ncols=2)
    return figure


def _severities(axes: "Axes", rows: Rows, network: str, position: int) -> None:
    columns = _columns(
        rows, {"radius": "severity", "share": "accuracy", "low": "low", "high": "high"}
    )
    plots.banded_line(axes, columns, label=label(network), position=position)
    axes.plot(
        columns["radius"],
        columns["share"],
        plots.MARKERS[position],
        color=plots.COLOURS[position],
        markersize=5,
    )


def _measures(table: Mapping[str, Sequence[Any]]) -> "Figure":
    figure, axes = plt.subplots(figsize=(6.4, 3.0), layout="constrained")
    axes.set_xlim(0, 1)
    for position, network, rows in _networks(table):
        intervals = {
            f"{row['measure']}, {row['radius']} px": Interval(
                _number(row["value"]), _number(row["low"]), _number(row["high"])
            )
            for row in rows
        }
        plots.interval_rows(axes, intervals, position=position, offset=-0.22 * position)
        axes.plot(
            [], [], plots.MARKERS[position], color=plots.COLOURS[position], label=label(network)
        )
    axes.set_xlabel("share")
    axes.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.25), ncols=2)
    return figure
