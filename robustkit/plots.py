"""One style for every figure: colour-blind safe, transparent, readable on light and dark pages.

Figures are drawn once with the light palette. `DARK` says which colour replaces which on a dark
page; the book writes the dark twin of each SVG from it. Data colours stay: they are chosen to be
told apart on both.
"""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import matplotlib as mpl
import numpy as np
import seaborn as sns
import torch
from jaxtyping import Float, Shaped
from matplotlib import pyplot as plt
from matplotlib.cbook import is_math_text
from matplotlib.colors import to_rgba
from matplotlib.mathtext import MathTextParser
from torch import Tensor

from robustkit.checks import check_held
from robustkit.errors import InputError
from robustkit.stats import Interval, wilson

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, PAPER, FAINT = "#1f2328", "#ffffff", "#57606a"
DARK = {INK: "#e6e8eb", PAPER: "#14181e", FAINT: "#a9b1ba"}

# The first six of seaborn's colour-blind palette that keep contrast on white and on near black.
COLOURS = [mpl.colors.to_hex(sns.color_palette("colorblind")[i]) for i in (0, 3, 2, 4, 1, 9)]
DASHES = ["-", "--", "-.", ":"]
MARKERS = ["o", "s", "^", "D", "v", "P"]


def setup() -> None:
    """Set the style for this process and, in a notebook, make figures reproducible SVG.

    Takes no argument; safe to call twice and outside a notebook.
    """
    sns.set_theme(
        context="notebook",
        style="ticks",
        palette=COLOURS,
        rc={
            "figure.dpi": 100,
            "figure.facecolor": "none",
            "axes.facecolor": "none",
            "savefig.facecolor": "none",
            "text.color": INK,
            "axes.labelcolor": INK,
            "axes.titlecolor": INK,
            "axes.edgecolor": FAINT,
            "xtick.color": FAINT,
            "ytick.color": FAINT,
            "xtick.labelcolor": INK,
            "ytick.labelcolor": INK,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlelocation": "left",
            "axes.titlesize": "medium",
            "legend.frameon": False,
            "figure.constrained_layout.use": True,
            # A fixed salt and no date make the same data the same bytes.
            "svg.hashsalt": "robustkit",
        },
    )
    try:
        from matplotlib_inline.backend_inline import set_matplotlib_formats
    except ModuleNotFoundError:
        return
    set_matplotlib_formats("svg", metadata={"Date": None}, bbox_inches=None)


def recolour(svg: str, colours: Mapping[str, str] = DARK) -> str:
    """Return an SVG drawing with every colour of `colours` exchanged, all in one pass."""
    if not colours:
        return svg
    swap = {old.lower(): new for old, new in colours.items()}
    names = "|".join(re.escape(old) for old in sorted(swap))
    return re.sub(
        rf"({names})(?![0-9a-z])", lambda found: swap[found[0].lower()], svg, flags=re.IGNORECASE
    )


def drawable(text: str) -> str:
    """Return a text that can be drawn: dollar signs that enclose no mathematics stay dollar signs.

    A name of a class or a file may hold any sign.
    """
    # A drawing parses each line by itself, and only if dollar signs enclose something.
    return "\n".join(_drawable(line) for line in text.split("\n"))


def _drawable(line: str) -> str:
    if not is_math_text(line):
        return line
    try:
        MathTextParser("path").parse(line)
    except ValueError:
        return line.replace("$", r"\$")
    return line


def decision_regions(
    axes: "Axes",
    predict: "Callable[[Tensor], Tensor]",
    extent: tuple[float, float, float, float],
    *,
    resolution: int = 400,
) -> None:
    """Shade the class regions of a classifier of the plane and draw its decision boundary.

    `predict` maps points (M, 2) to class indices (M,); `extent` is (left, right, bottom, top).
    Raises `InputError` when the extent is empty or infinite, fewer than 2 points a side, and for
    predictions that are no indices.
    """
    left, right, bottom, top = extent
    if resolution < 2:
        raise InputError(f"resolution must be at least 2 points a side, got {resolution}.")
    if not (left < right and bottom < top and np.isfinite(extent).all()):
        raise InputError(f"extent must be (left, right, bottom, top), increasing; got {extent}.")
    across = torch.linspace(left, right, resolution)
    up = torch.linspace(bottom, top, resolution)
    grid = torch.cartesian_prod(up, across).flip(1)
    found = predict(grid)
    if found.shape != (len(grid),) or found.is_floating_point():
        raise InputError(
            f"predict must map points (M, 2) to class indices (M,), got {found.dtype} of shape "
            f"{tuple(found.shape)} for {len(grid)} points."
        )
    classes = found.reshape(resolution, resolution).cpu().numpy()
    tints = np.array([to_rgba(colour, 0.22) for colour in COLOURS])
    axes.imshow(tints[classes % len(COLOURS)], origin="lower", extent=extent, aspect="equal")
    for index in np.unique(classes):
        axes.contour(
            across.numpy(),
            up.numpy(),
            (classes == index).astype(float),
            levels=[0.5],
            colors=[FAINT],
            linewidths=1.2,
        )
    axes.set(xlim=(left, right), ylim=(bottom, top))


def robustness_curve(
    axes: "Axes",
    distances: Shaped[np.ndarray, " n"] | Float[Tensor, " n"],
    *,
    label: str,
    position: int = 0,
    radii: Sequence[float] | None = None,
) -> dict[str, list[float]]:
    """Draw the share of images whose nearest boundary is farther than each radius, with its band.

    `distances` (N,) holds 0 for images that are misclassified as they are and inf where no
    boundary was found. `position` picks colour and dash. The band is Wilson's 95% interval at each
    radius. Returns the drawn columns: radius, share, low, high. Raises `InputError` for anything
    but a vector of numbers.
    """
    try:
        values = np.sort(np.asarray(distances, dtype=float))
    except (TypeError, ValueError, MemoryError) as error:
        raise InputError(f"distances must be numbers on the CPU: {error}") from error
    if values.ndim != 1 or len(values) == 0:
        raise InputError(f"distances must be a vector (N,), N > 0, got shape {values.shape}.")
    finite = values[np.isfinite(values)]
    end = finite.max() if len(finite) else 1.0
    grid = np.linspace(0, end, 120) if radii is None else np.asarray(radii, dtype=float)
    standing = len(values) - np.searchsorted(values, grid, side="right")
    if not np.isfinite(grid).all():
        raise InputError("radii must be finite numbers.")
    bands = [wilson(int(count), len(values)) for count in standing]
    columns = {
        "radius": grid.tolist(),
        "share": [band.estimate for band in bands],
        "low": [band.low for band in bands],
        "high": [band.high for band in bands],
    }
    banded_line(axes, columns, label=label, position=position)
    axes.set(ylim=(0, 1), xlim=(0, grid[-1]))
    return columns


@runtime_checkable
class Columns(Protocol):
    """Columns by name: a dictionary, or a data frame."""

    def __contains__(self, name: object, /) -> bool:
        """Tell whether there is such a column."""

    def __getitem__(self, name: str, /) -> Any:
        """Return one column."""


def banded_line(axes: "Axes", columns: Columns, *, label: str, position: int = 0) -> None:
    """Draw columns "radius" and "share" as a line with the band between "low" and "high".

    `position` picks colour and dash, so that lines differ without colour too. Raises `InputError`
    when a column is absent.
    """
    names = ("radius", "share", "low", "high")
    absent = [name for name in names if name not in columns]
    if absent:
        raise InputError(f"columns must hold {', '.join(names)}; {', '.join(absent)} is absent.")
    colour = COLOURS[position % len(COLOURS)]
    across = np.asarray(columns["radius"])
    axes.plot(
        across,
        np.asarray(columns["share"]),
        color=colour,
        linestyle=DASHES[position % len(DASHES)],
        linewidth=2,
        label=drawable(label),
    )
    axes.fill_between(
        across,
        np.asarray(columns["low"]),
        np.asarray(columns["high"]),
        color=colour,
        alpha=0.2,
        linewidth=0,
    )


def interval_rows(
    axes: "Axes", rows: dict[str, Interval], *, position: int = 0, offset: float = 0.0
) -> None:
    """Draw one horizontal interval with its estimate a row, first row on top.

    Infinite bounds are drawn to the edge of the axes.
    """
    names = list(rows)
    for place, name in enumerate(names):
        row = rows[name]
        height = len(names) - 1 - place + offset
        colour = COLOURS[position % len(COLOURS)]
        high = row.high if np.isfinite(row.high) else axes.get_xlim()[1]
        axes.plot([row.low, high], [height, height], color=colour, linewidth=2.5)
        axes.plot(row.estimate, height, MARKERS[position % len(MARKERS)], color=colour)
    axes.set_yticks(range(len(names)), [drawable(name) for name in names[::-1]])
    axes.set_ylim(-0.6, len(names) - 0.4)


def image_grid(
    rows: dict[str, Shaped[Tensor, "n c h w"]], titles: Sequence[str] | None = None, **layout: Any
) -> "Figure":
    """Draw rows of images in [0, 1], a name at the left of each row and a title over each column.

    Every row holds N images (N, C, H, W) with one or three channels. Returns the figure. Raises
    `InputError` when rows differ in length or are no images.
    """
    for name, images in rows.items():
        if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape:
            raise InputError(
                f"row {name!r} must be images (N, C, H, W) of one or three channels, got shape "
                f"{tuple(images.shape)}."
            )
        check_held(f"row {name!r}", images)
    counts = {len(images) for images in rows.values()}
    if len(counts) != 1 or counts == {0}:
        raise InputError(f"every row needs the same number of images, at least one; got {counts}.")
    columns = counts.pop()
    size = layout.pop("size", 1.35)
    figure, grid = plt.subplots(
        len(rows), columns, figsize=(size * columns + 0.9, size * len(rows) + 0.3), squeeze=False
    )
    for line, (name, images) in zip(grid, rows.items(), strict=True):
        for axes, image in zip(line, images.detach().cpu(), strict=True):
            pixels = image.float().clamp(0, 1).permute(1, 2, 0).numpy()
            axes.imshow(pixels.repeat(3, axis=2) if pixels.shape[2] == 1 else pixels)
            axes.set(xticks=[], yticks=[])
            sns.despine(ax=axes, left=True, bottom=True)
        line[0].set_ylabel(drawable(name), rotation=0, ha="right", va="center")
    for axes, title in zip(grid[0], titles or [], strict=False):
        axes.set_title(drawable(title), fontsize="small", loc="center")
    return figure
