"""The labels that a model gives to images under many shifts, in bounded memory."""

from collections.abc import Iterator

import torch
from jaxtyping import Int, Shaped
from torch import Tensor, nn

from robustkit.arguments import check_count
from robustkit.checks import check_held, check_model
from robustkit.errors import InputError
from robustkit.prediction import predict
from robustkit.progress import progress
from robustkit.translation.levels import check_batch
from robustkit.translation.windows import ShiftModel


def shifted_labels(
    model: nn.Module,
    images: Shaped[Tensor, "..."],
    shift_model: ShiftModel,
    shifts: Shaped[Tensor, "..."],
    *,
    batch_size: int | None = None,
) -> Int[Tensor, "n k"]:
    """Return the label of every image after every shift, int64 `(N, K)`, on the images' device.

    - `model`: any classifier in evaluation mode; normalisation belongs to it.
    - `images`: the sources `(N, C, H, W)`, uint8 or floating point in [0, 1].
    - `shift_model`: what a shift does, `CropShift(224)` for one.
    - `shifts`: `(K, 2)` for all images or `(N, K, 2)`, as the shift model takes them.
    - `batch_size`: the most shifted images at once; None for what suits the device.

    Raises `InputError` for images, shifts and models that do not fit, and NaN logits.
    """
    check_model(model)
    check_shiftable(images, shift_model, shifts)
    batch_size = suited_batch(model, images, batch_size)
    labels = torch.empty(len(images), count_of(shifts), dtype=torch.int64, device=images.device)
    device = device_of(model, images)
    with progress(labels.numel(), "labels of shifted images") as line:
        for rows, columns in parts_of(labels.shape[0], labels.shape[1], batch_size):
            chosen = chosen_shifts(shifts, rows, columns)
            seen = shift_model.apply(images[rows].to(device), chosen)
            # An ideal shift of a part of a pixel may leave [0, 1].
            found = predict(model, seen.flatten(0, 1), batch_size=batch_size, unit_range=False)
            labels[rows, columns] = found.reshape(seen.shape[:2]).to(labels.device)
            line.update(found.numel())
    return labels


def suited_batch(model: nn.Module, images: Shaped[Tensor, "..."], batch_size: int | None) -> int:
    """Return `batch_size`, or for None how many images a pass labels soonest, at most 256.

    A processor is fastest with a few photographs at once, whose layers stay near it.
    """
    if batch_size is not None:
        return batch_size
    pixels = 2**21 if device_of(model, images).type == "cpu" else 2**25
    return min(256, max(1, pixels // (images.shape[2] * images.shape[3])))


def parts_of(images: int, shifts: int, batch_size: int) -> Iterator[tuple[slice, slice]]:
    """Yield images and shifts that make at most `batch_size` pairs, and all pairs together.

    Raises `InputError` for a `batch_size` below 1.
    """
    check_count("batch_size", batch_size, 1)
    height = max(1, batch_size // shifts)
    # Of equal width, so that no part is left with a few shifts only.
    width = -(-shifts // -(-shifts // batch_size))
    for top in range(0, images, height):
        for left in range(0, shifts, width):
            yield slice(top, min(top + height, images)), slice(left, min(left + width, shifts))


def chosen_shifts(shifts: Shaped[Tensor, "..."], rows: slice, columns: slice) -> Tensor:
    """Return some of the shifts of some of the images."""
    return shifts[rows, columns] if shifts.ndim == 3 else shifts[columns]


def count_of(shifts: Shaped[Tensor, "..."]) -> int:
    """Return how many shifts an image has."""
    return int(shifts.shape[1 if shifts.ndim == 3 else 0])


def check_shiftable(
    images: Shaped[Tensor, "..."], shift_model: ShiftModel, shifts: Shaped[Tensor, "..."]
) -> None:
    """Refuse images that are none, and shifts that the shift model refuses; raises `InputError`.

    Of the shifts the outermost are tried, on one image, before any work is done.
    """
    check_batch(images)
    check_held("shifts", shifts)
    if shifts.numel() == 0 or shifts.ndim == 0:
        raise InputError("there are no shifts; take some from neighbourhood(radius).")
    if shifts.ndim == 3 and len(shifts) != len(images):
        raise InputError(f"there are {len(images)} images, but shifts of {len(shifts)}.")
    every = shifts.flatten(0, 1) if shifts.ndim == 3 else shifts
    values = every.double()
    outermost = torch.stack([values.argmin(dim=0), values.argmax(dim=0)]).flatten()
    shift_model.apply(images[:1], every[outermost])


def device_of(model: nn.Module, images: Shaped[Tensor, "..."]) -> torch.device:
    """Return where the parameters of the model are, or the images if it has none."""
    return next((parameter.device for parameter in model.parameters()), images.device)
