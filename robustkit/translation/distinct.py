"""Shifts after which a model selects a crop that it has labelled before: no second pass."""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Int, Shaped
from torch import Tensor, nn

from robustkit.prediction import predict
from robustkit.progress import progress
from robustkit.translation.labels import device_of, parts_of
from robustkit.translation.levels import Size, in_parts
from robustkit.translation.selection import Selection
from robustkit.translation.windows import ShiftModel, WindowShift

# A large odd number, that of a well-known generator.
_ODD = 0x5851F42D4C957F2D

# Pixels of the sources that are copied to a device, or continued at their borders, at once.
_PIXELS = 2**23


@runtime_checkable
class SelectsCrops(Protocol):
    """A model whose logits depend on the content of the crops that it selects alone: `RICS`.

    `mode` is "crop" where all crops lie within the window.
    """

    mode: str

    def select(self, images: Shaped[Tensor, "..."]) -> Selection:
        """Return what is selected in images, with the first dimension N."""

    def select_windows(
        self, source: Shaped[Tensor, "..."], window: Size, positions: Shaped[Tensor, "..."]
    ) -> Selection:
        """Return what is selected in windows of each source, with first dimensions (N, P)."""


@torch.no_grad()
def selected_content(
    model: nn.Module,
    images: Shaped[Tensor, "n c height width"],
    shift_model: ShiftModel,
    shifts: Shaped[Tensor, "k *axes"],
    *,
    batch_size: int,
) -> Int[Tensor, "n places"] | None:
    """Return a number for what a model selects without a shift and after each, `(N, 1 + K)`.

    Where two numbers of an image are equal, so are the selected pixels, and with them the logits. A
    model that selects within its window needs one score map an image, another one a selection a
    shift, of at most `batch_size` shifted images at once. None is for models and shifts of which
    nothing is known.
    """
    if not (isinstance(model, SelectsCrops) and isinstance(shift_model, WindowShift)):
        return None
    every = torch.cat([shifts.new_zeros(1, 2), shifts])
    device = device_of(model, images)
    if model.mode == "crop":
        contents = []
        for part in in_parts(images, _PIXELS):
            windows = shift_model.windows(part.to(device), every)
            found = model.select_windows(windows.source, windows.size, windows.positions)
            contents.append(_joined(found.hashes).to(images.device))
        return torch.cat(contents)
    numbers = torch.empty(len(images), len(every), dtype=torch.int64, device=images.device)
    for rows, columns in parts_of(len(images), len(every), batch_size):
        seen = shift_model.apply(images[rows].to(device), every[columns])
        chosen = model.select(seen.flatten(0, 1)).hashes.unflatten(0, seen.shape[:2])
        numbers[rows, columns] = _joined(chosen).to(images.device)
    return numbers


def _joined(hashes: Int[Tensor, "n p *count"]) -> Int[Tensor, "n p"]:
    """Make one number of the hashes of several crops, in their order."""
    joined, *others = hashes.reshape(*hashes.shape[:2], -1).unbind(dim=2)
    for other in others:
        joined = joined * _ODD + other
    return joined


def distinct_labels(
    model: nn.Module,
    images: Shaped[Tensor, "n c height width"],
    shift_model: ShiftModel,
    shifts: Int[Tensor, "k 2"],
    contents: Int[Tensor, "n places"],
    base: Int[Tensor, " n"],
    *,
    batch_size: int,
) -> tuple[Int[Tensor, "n k"], Int[Tensor, " n"]]:
    """Return the labels after all shifts, and of how many images these are, the base included.

    - `contents`: of `selected_content`; `base`: the labels without a shift.

    One image of each content is labelled. Raises `InputError` as `predict`.
    """
    ordered, places = contents.sort(dim=1, stable=True)
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    rows, ranks = first.nonzero(as_tuple=True)
    # The sort is stable: the base comes first among its equals, and is labelled already.
    place = places[rows, ranks]
    found = base[rows]
    (new,) = place.nonzero(as_tuple=True)
    device = device_of(model, images)
    with progress(len(new), "labels of distinct crops") as line:
        for part in new.split(batch_size) if len(new) else ():
            chosen = shifts[(place[part] - 1).to(shifts.device), None]
            seen = shift_model.apply(images[rows[part]].to(device), chosen)
            labels = predict(model, seen.flatten(0, 1), batch_size=batch_size, unit_range=False)
            found[part] = labels.to(found.device)
            line.update(len(part))
    groups = first.flatten().cumsum(dim=0).reshape(first.shape) - 1
    every = torch.empty_like(contents).scatter_(1, places, found[groups])
    return every[:, 1:], first.sum(dim=1)
