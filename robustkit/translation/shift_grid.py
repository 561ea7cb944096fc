"""A picture to play with: the predictions over all shifts of a window in one photograph.

One fragment of HTML that asks for no other file. Without its script it shows the window before any
shift, and at how many shifts each class is predicted.
"""

import base64
import hashlib
import io
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import torch
from jaxtyping import Int, Shaped, UInt8
from PIL import Image
from torch import Tensor

from robustkit.checks import check_held, check_labels
from robustkit.errors import InputError
from robustkit.translation.levels import Size, pair
from robustkit.translation.shift_grid_page import SCRIPT, STYLE
from robustkit.translation.windows import check_shifts, shifted_middle


@dataclass(frozen=True, repr=False)
class ShiftGrid:
    """Predictions over shifts; shows itself as a picture in a notebook and as text elsewhere.

    - `html`: a fragment that can stand on any page.
    - `text`: the title, and each class with the number of shifts that it is predicted at.
    """

    html: str
    text: str

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return self.html


def shift_grid(
    source: Shaped[Tensor, "..."],
    window: Size,
    shifts: Shaped[Tensor, "..."],
    labels: Shaped[Tensor, "..."],
    names: Sequence[str],
    *,
    positions: Shaped[Tensor, "..."] | None = None,
    crop: Size | None = None,
    title: str = "Predictions over all shifts",
) -> ShiftGrid:
    """Return a picture of the class predicted at each shift of a window of one photograph.

    A square stands for a shift. Pointing at it, touching it or going there with the arrow keys
    shows the window at that shift, its class and, where there are positions, the selected crop.

    - `source`: the photograph, uint8 `(C, H, W)` with one or three channels. Without a shift the
      window is in its middle, as that of `CropShift`.
    - `window`: rows and columns, or one number for both, in pixels.
    - `shifts`: int64 `(K, 2)`, all rows and columns from -k to k, with no shift, in any order.
    - `labels`: int64 `(K,)`, the predicted classes; `names`: of all classes, shown as plain text.
    - `positions`, `crop`: the pixel of the source where the crop begins that is selected at each
      shift, int64 `(K, 2)`, and its size in pixels; both or neither.

    The same input makes the same bytes. Raises `InputError` for other tensors, shifts that leave
    the photograph or are not a whole square, and crops that are not inside their windows.
    """
    # Loading Matplotlib takes its time: only who draws should wait for it.
    from robustkit.plots import COLOURS, INK, PAPER

    _check_photograph(source)
    size = pair("window", window)
    check_shifts(shifts, source[None])
    order = _square(shifts)
    starts = shifted_middle(source[None], size, shifts)[order].cpu()
    check_labels(labels, len(shifts), len(names))
    classes = labels[order.to(labels.device)].tolist()
    middle = len(classes) // 2
    sides = {"H": source.shape[1], "W": source.shape[2], "h": size[0], "w": size[1]}
    sides |= dict(zip("yx", starts[middle].tolist(), strict=True))
    crops: list[list[int]] = []
    if positions is not None and crop is not None:
        kept = pair("crop", crop)
        crops = _inside(positions, order, starts, size, kept).tolist()
        sides |= {"m": kept[0], "n": kept[1], "v": crops[middle][0], "u": crops[middle][1]}
    elif positions is not None or crop is not None:
        raise InputError("positions and crop say together what is selected; pass both or neither.")

    counts = sorted(Counter(classes).items(), key=lambda item: (-item[1], item[0]))
    rank = {label: place for place, (label, _) in enumerate(counts)}
    cells = [rank[label] for label in classes]
    legend = [(names[label], count) for label, count in counts]
    body = (
        f'<p><strong>{escape(title)}</strong></p>\n<div class="sg-body">\n{_table(cells)}\n'
        f"{_panel(cells[middle], names[classes[middle]], crops)}\n{_legend(legend, crops)}\n</div>"
    )
    style = ";".join(f"--{name}:{side}" for name, side in sides.items())
    trace = ";".join(f"{row},{column}" for row, column in crops)
    root = f'class="robustkit-shift-grid" role="group" aria-label="{escape(title)}"'
    root += f' style="{style}" data-crops="{trace}"'
    photograph = _png(source)
    name = f"shift-grid-{hashlib.sha256(f'{root}{body}{photograph}'.encode()).hexdigest()[:12]}"
    fills = "\n".join(
        f"#{name} .sg-{place}{{background:{colour};color:{_legible(colour)}}}"
        for place, colour in enumerate(COLOURS)
    )
    css = STYLE.substitute(
        id=name,
        photograph=photograph,
        side=math.isqrt(len(cells)),
        ink=INK,
        paper=PAPER,
        seen=COLOURS[5],
        kept=COLOURS[4],
        letter=0.7 if len(counts) <= 26 else 0.45,
        scaling="pixelated" if max(size) <= 96 else "auto",
    )
    html = (
        f'<div id="{name}" {root}>\n<style>\n{css}{fills}\n</style>\n{body}\n</div>\n'
        f"<script>\n{SCRIPT.substitute(id=name)}</script>"
    )
    text = "\n".join([title, *(f"{count:6d}  {name}" for name, count in legend)])
    return ShiftGrid(html, text)


def _check_photograph(source: Tensor) -> None:
    if source.ndim != 3 or source.dtype != torch.uint8 or source.shape[0] not in (1, 3):
        raise InputError(
            "source must be one photograph, uint8 (C, H, W) with one or three channels, got "
            f"{source.dtype} of shape {tuple(source.shape)}."
        )
    check_held("source", source)


def _square(shifts: Tensor) -> Int[Tensor, " k"]:
    radius = (math.isqrt(len(shifts)) - 1) // 2
    line = range(-radius, radius + 1)
    if shifts.ndim == 2 and len(shifts) == len(line) ** 2:
        places = {(row, column): place for place, (row, column) in enumerate(shifts.tolist())}
        order = [places.get((row, column), -1) for row in line for column in line]
        if -1 not in order:
            return torch.tensor(order, device=shifts.device)
    raise InputError(
        "shifts must be the (2k + 1)^2 of a whole square, each once; join (0, 0) and "
        f"neighbourhood(k). Got shape {tuple(shifts.shape)}."
    )


def _inside(
    positions: Tensor, order: Tensor, starts: Tensor, window: tuple[int, int], crop: tuple[int, int]
) -> Int[Tensor, "k 2"]:
    if positions.shape != starts.shape or positions.dtype != torch.int64:
        raise InputError(
            f"positions must be int64 {tuple(starts.shape)}, one a shift, got {positions.dtype} of "
            f"shape {tuple(positions.shape)}."
        )
    check_held("positions", positions)
    placed = positions[order.to(positions.device)].cpu()
    room = torch.tensor(window) - torch.tensor(crop)
    if bool(((placed < starts) | (placed > starts + room)).any()):
        raise InputError(
            "a crop is not inside its window; give positions in the source: that of the window "
            "plus that of the crop in it."
        )
    return placed


def _png(source: UInt8[Tensor, "c h w"]) -> str:
    pixels = source.permute(1, 2, 0).contiguous().cpu().numpy()
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if len(source) == 1 else pixels).save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def _legible(colour: str) -> str:
    from matplotlib.colors import to_rgb

    # Relative luminance of WCAG 2; at 0.179 black and white text have the same contrast.
    linear = [((c + 0.055) / 1.055) ** 2.4 if c > 0.04045 else c / 12.92 for c in to_rgb(colour)]
    bright = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000" if bright > 0.179 else "#fff"


def _letters(place: int) -> str:
    before, last = divmod(place, 26)
    return (_letters(before - 1) if before else "") + chr(ord("A") + last)


def _mark(tag: str, kind: str, place: int) -> str:
    from robustkit.plots import COLOURS

    return f'<{tag} class="sg-{place % len(COLOURS)}{kind}">{_letters(place)}</{tag}>'


def _table(cells: Sequence[int]) -> str:
    side, middle = math.isqrt(len(cells)), len(cells) // 2
    marks = [_mark("td", " sg-zero" if i == middle else "", cell) for i, cell in enumerate(cells)]
    rows = "\n".join(
        f"<tr>{''.join(marks[row : row + side])}</tr>" for row in range(0, len(cells), side)
    )
    ends = "<span>\N{MINUS SIGN}%d</span><span>%s</span><span>+%d</span>"
    down, across = (ends % (side // 2, axis, side // 2) for axis in ("rows", "columns"))
    return (
        f'<div class="sg-grid"><div class="sg-axis sg-down">{down}</div><div class="sg-squares">'
        f'<table aria-label="Class predicted at each shift"><tbody>\n{rows}\n</tbody></table></div>'
        f'<div class="sg-axis sg-across">{across}</div></div>'
    )


def _panel(place: int, name: str, crops: list[list[int]]) -> str:
    frames = '<span class="sg-seen"></span>' + ('<span class="sg-kept"></span>' if crops else "")
    views = _view("photograph", "Photograph", frames) + _view("window", "Window (solid frame)")
    where = ""
    if crops:
        views += _view("crop", "Selected crop (dashed frame)")
        row, column = crops[len(crops) // 2]
        where = f'<br><span class="sg-where">crop from row {row}, column {column}</span>'
    return (
        f'<div class="sg-panel"><p>{_mark("span", " sg-mark", place)} '
        f'<strong class="sg-name">{escape(name)}</strong><br>'
        f'<span class="sg-shift">rows 0, columns 0 (no shift)</span>{where}</p>\n'
        f"{views}</div>"
    )


def _view(kind: str, caption: str, frames: str = "") -> str:
    return (
        f'<figure class="sg-of-{kind}"><div class="sg-{kind}" role="img" aria-label="{caption}">'
        f"{frames}</div><figcaption>{caption}</figcaption></figure>"
    )


def _legend(counts: Sequence[tuple[str, int]], crops: list[list[int]]) -> str:
    total = sum(count for _, count in counts)
    items = "\n".join(
        f"<li>{_mark('span', ' sg-mark', place)} <span>{escape(name)}</span> "
        f"<span>{count} of {total}</span></li>"
        for place, (name, count) in enumerate(counts)
    )
    note = "The framed square is no shift."
    if crops:
        note += f" The crop is the same at {crops.count(crops[total // 2])} of {total} shifts."
    return (
        f'<div class="sg-legend"><ul>\n{items}\n</ul>\n<p>{note}'
        "<span hidden> Point at a square, or go there with the arrow keys.</span></p></div>"
    )


# A theme may put outputs on a light box on its dark pages: here the page itself is the ground.
