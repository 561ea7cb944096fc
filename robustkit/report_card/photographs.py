"""The images of a folder for a card: which of them, at what size, and what is said of both."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from robustkit import inputs, rng
from robustkit.data import Dataset, folder
from robustkit.report_card.card import Report
from robustkit.report_card.words import counted

# Photographs are brought to this many times what the network sees, so that a window can move.
_LARGER = 256 / 224
# The weights of red, green and blue in grey, of 2^16: ITU-R BT.601, as Pillow rounds them.
_GREY = (19595, 38470, 7471)


@dataclass(frozen=True, eq=False, repr=False)
class Images(Dataset):
    """Labelled images for a card.

    - `read`: in a sentence or two, how they were chosen and resized; empty where they were not.
    - `cautions`: what to keep in mind about them, one text each.
    - `folders`: whether a class is a folder, and its label the place among the folders alone.
    - `numbers`: by the place of such a class, the output that it stands for, where that is said.
    """

    read: str = ""
    cautions: tuple[str, ...] = ()
    folders: bool = False
    numbers: tuple[int, ...] = ()


def read_folder(
    path: Path, window: tuple[int, int] | None, *, limit: int, seed: int, grey: bool
) -> Images:
    """Read at most `limit` images of a folder, drawn at random, for a network that sees `window`.

    Images of one size whose shorter side is that of the window stay as they are. Where any is
    larger, all are brought to an eighth more than the window, so that there is something for it to
    move into; where none is, to the window itself. Without a window they must all have one size.
    With `grey` they get one channel. Raises `DataError` and `InputError` as loading does.
    """
    listing = folder.listing(path, "test")
    chosen = _chosen(len(listing.images), limit, seed)
    files = [listing.images[place] for place in chosen]
    sizes = [] if window is None else folder.sizes(files)
    side = None if window is None else _side(sizes, window)
    pixels = torch.from_numpy(folder.decode(files, side))
    # As `robustkit.data.load` has it: no page may depend on where a folder stands.
    name = f"imagefolder:{path.name}"
    inputs.note(f"data/{name}/test", [*files, *listing.described_by])
    small = 0 if side is None else sum(min(size) < side for size in sizes)
    resized = side is not None and any(size != (side, side) for size in sizes)
    return Images(
        name=name,
        split="test",
        images=_grey(pixels) if grey else pixels,
        labels=torch.tensor([listing.labels[place] for place in chosen]),
        classes=listing.classes,
        read=_read(len(files), len(listing.images), side if resized else None, grey),
        cautions=(_enlarged(small, len(files), side),) if side and small else (),
        folders=not listing.described_by,
    )


def described(report: Report, images: Images) -> Report:
    """Return a report that says how its images were read."""
    cautions = (*images.cautions, *report.cautions)
    return dataclasses.replace(report, read=images.read, cautions=cautions)


def _chosen(count: int, limit: int, seed: int) -> list[int]:
    """Return which images of a listing are read, in its order."""
    keys = rng.uniform(seed, "report/folder", torch.arange(count), (), torch.float64)
    found: list[int] = keys.argsort(stable=True)[:limit].sort().values.tolist()
    return found


def _side(sizes: Sequence[tuple[int, int]], window: tuple[int, int]) -> int | None:
    """Return how many pixels a side the images are read at; None where they stay as they are."""
    seen, alike = max(window), len({*sizes}) == 1
    width, height = sizes[0]
    if alike and (min(sizes[0]) == seen or (height, width) == window):
        return None
    return round(seen * _LARGER) if any(min(size) > seen for size in sizes) else seen


def _grey(pixels: UInt8[Tensor, "n 3 h w"]) -> UInt8[Tensor, "n 1 h w"]:
    red, green, blue = (weight * pixels[:, channel].int() for channel, weight in enumerate(_GREY))
    return ((red + green + blue + 2**15) >> 16).to(torch.uint8)[:, None]


def _read(count: int, whole: int, side: int | None, grey: bool) -> str:
    parts = []
    if count < whole:
        parts.append(f"They are {count:,} of {whole:,} images of the folder, drawn at random.")
    if side is not None:
        parts.append(
            f"They were read at {side} x {side}: the shorter side resized, the middle cut out."
        )
    if grey:
        parts.append("They were read as shades of grey, which the network takes.")
    return " ".join(parts)


def _enlarged(small: int, count: int, side: int) -> str:
    which = counted(count, "image") if small == count else f"{small:,} of {count:,} images"
    verb = "was" if count == 1 else "were"
    return (
        f"{which} {verb} enlarged to {side} pixels a side: what is enlarged is smoother than a "
        "photograph of that size."
    )
