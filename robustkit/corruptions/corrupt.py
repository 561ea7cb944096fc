"""The entry to all corruptions: any batch, any severity an image, the same numbers anywhere."""

import operator
from collections.abc import Iterator, Mapping
from typing import SupportsIndex

import torch
from jaxtyping import Shaped
from torch import Tensor

from robustkit.arguments import check_count, keys_of
from robustkit.checks import check_images
from robustkit.corruptions.draws import Draws
from robustkit.corruptions.levels import round_to_level, truncate
from robustkit.corruptions.precision import full_precision
from robustkit.corruptions.registry import Corruption, find, preset_of
from robustkit.errors import InputError, unknown
from robustkit.shapes import precise

_ROUNDINGS = {"truncate": truncate, "round": round_to_level}
# Numbers in a part of the batch: on a processor what stays in its cache, on a GPU what fills it.
_SIZES = {"cpu": 2**20}
_SIZE = 2**25

Rows = slice | Tensor


@torch.no_grad()
def corrupt(
    images: Shaped[Tensor, "..."],
    name: str,
    severity: SupportsIndex | Shaped[Tensor, "..."],
    *,
    seed: SupportsIndex = 0,
    indices: Shaped[Tensor, "..."] | None = None,
    preset: str | None = None,
    rounding: str = "truncate",
    chunk: int | None = None,
    **options: object,
) -> Shaped[Tensor, "..."]:
    """Corrupt a batch of images, each with random numbers of its own.

    - `images`: `(N, C, H, W)`, 8-bit levels (uint8) or floating point in [0, 1]; they are not
      changed.
    - `name`: of a corruption, one of `CORRUPTIONS`, `EXTRA` or `C_BAR`.
    - `severity`: 1 to 5, or 0 for the image as it is; one integer for all, or a tensor `(N,)`.
    - `seed` and `indices`: the random numbers of an image depend on the seed, the name, the
      severity and the image's index, int64, by default its row, and on nothing else: a data set
      comes out the same in any batches, order or shards, up to one level where a truncated result
      hangs on the rounding of a sum (seen for zoom blur, a few values in a hundred thousand).
    - `preset`: whose published strengths: "cifar" (made for 32 pixels a side), "tiny" (64) or
      "imagenet" (224); by default the first up to 48 pixels of the shorter side, the second up to
      128, else the third. C-bar was not published for 64 pixels: its default there is "imagenet".
      A corruption with a single preset has that one at any size.
    - `rounding`: of 8-bit results: "truncate", as the published sets were made, or "round".
    - `chunk`: most images at once; by default what suits the device. It changes no result by more
      than the rounding of sums.
    - `options`: of the one corruption; "glass_blur" takes `mode`, "published" (pixels are copied)
      or "swap" (exchanged, as was meant); "frost" takes `frost_folder`, where the photographs
      `frost1.png` to `frost5.jpg` are, for the published frost instead of a procedural one;
      "jpeg_compression" takes `mode`, "auto", "pil" (Pillow) or "tensor", all with equal levels;
      "spatter" takes `mode`, "published" (levels of water beyond 255 wrap) or "clip".

    The result has the shape, dtype and device of `images`: 8-bit levels, or numbers clipped to
    [0, 1], rounded to levels only where the published code does so itself. Half precision is
    computed in float32. No gradients pass.

    The published motion blur was made by ImageMagick. Here it is the definition of Michaelis et
    al., Benchmarking robustness in object detection, 2019: a mean of copies moved by whole pixels
    along a line, with half a Gaussian as weights.

    CPU and GPU share the random numbers and differ by the rounding of arithmetic: of 8-bit levels
    at most 1 % differ, and 0.1 % by more than one, where a threshold or a move by whole pixels
    hangs on the last digit. On CUDA, while it runs, products of matrices and convolutions are
    computed in full float32 precision by a setting of the whole process, which is put back after:
    other threads see it.

    Raises `InputError` for images, names, severities, seeds, indices, presets or options that it
    cannot work with. Sources: Hendrycks and Dietterich, Benchmarking neural network robustness to
    common corruptions and perturbations, ICLR 2019; for C-bar Mintun, Kirillov and Xie, On
    interaction between augmentations and corruptions in natural corruption robustness, NeurIPS
    2021.
    """
    check_batch(images)
    corruption, preset = prepare(name, min(images.shape[-2:]), preset, rounding, options)
    levels = _severities(severity, images)
    seed = whole_number("seed", seed)
    if indices is not None and not isinstance(indices, Tensor):
        raise InputError(f"indices must be a tensor, got {type(indices).__name__}.")
    keys = keys_of(indices, images)
    if chunk is None:
        whole = _SIZES.get(images.device.type, _SIZE)
        chunk = max(1, whole // images[0].numel())
    check_count("chunk", chunk, 1)
    result = images.clone(memory_format=torch.contiguous_format)
    with full_precision(images.device):
        for level, rows in _parts(levels, len(images), chunk):
            draws = Draws(seed, f"{name}/{level}", keys[rows])
            row = corruption.severities[preset][level - 1]
            values = corruption.function(_to_float(images[rows]), draws, *row, **options)
            values = values.clamp(0, 1)
            if images.dtype == torch.uint8:
                result[rows] = _ROUNDINGS[rounding](values)
            else:
                result[rows] = values.to(images.dtype)
    return result


def _to_float(images: Tensor) -> Tensor:
    if images.dtype == torch.uint8:
        return images.to(torch.float32).div_(255)
    return images.to(precise(images))


def prepare(
    name: str, side: int, preset: str | None, rounding: str, options: Mapping[str, object]
) -> tuple[Corruption, str]:
    """Return a corruption and the preset to use for images whose shorter side has `side` pixels.

    Raises `InputError` for an unknown name, preset, rounding or option.
    """
    if rounding not in _ROUNDINGS:
        raise unknown("rounding", rounding, _ROUNDINGS)
    corruption = find(name)
    corruption.check_options(options)
    return corruption, preset_of(corruption, preset, side)


def check_batch(images: object) -> None:
    """Refuse anything but images `(N, C, H, W)`, uint8 or floating point in [0, 1].

    Raises `InputError`.
    """
    if not isinstance(images, Tensor):
        raise InputError(
            f"images must be a tensor (N, C, H, W), got {type(images).__name__}; convert arrays "
            "(N, H, W, C) with torch.from_numpy(array).permute(0, 3, 1, 2)."
        )
    if images.ndim != 4:
        raise InputError(
            f"images must be a batch (N, C, H, W), got shape {tuple(images.shape)}; add what is "
            "missing with unsqueeze."
        )
    check_images(images, levels=True)


def whole_number(name: str, value: object) -> int:
    """Return an integer of any type as an int; raises `InputError` for what is no integer."""
    flag = isinstance(value, bool) or (isinstance(value, Tensor) and value.dtype == torch.bool)
    try:
        if isinstance(value, SupportsIndex) and not flag:
            return operator.index(value)
    except TypeError:
        pass
    raise InputError(f"{name} must be an integer, got {value!r}.")


def _severities(severity: object, images: Tensor) -> int | Tensor:
    """Check severities; one for all comes back as a number."""
    if isinstance(severity, Tensor) and severity.ndim:
        whole = not (severity.is_floating_point() or severity.is_complex())
        if severity.shape != (len(images),) or not whole or severity.dtype == torch.bool:
            raise InputError(
                f"severity must be one integer, or integers of shape ({len(images)},), got "
                f"{severity.dtype} of shape {tuple(severity.shape)}."
            )
        low, high = (int(value) for value in severity.aminmax())
    else:
        low = high = whole_number("a severity that is no tensor", severity)
    if low < 0 or high > 5:
        raise InputError(f"severity must lie in 0 to 5 (0: unchanged), got {low} to {high}.")
    return severity.to(images.device) if isinstance(severity, Tensor) and low < high else low


def _parts(severity: int | Tensor, count: int, chunk: int) -> Iterator[tuple[int, Rows]]:
    """Yield severities from 1 on, each with rows of that severity, at most `chunk` at once."""
    if isinstance(severity, int):
        if severity:
            for start in range(0, count, chunk):
                yield severity, slice(start, start + chunk)
        return
    for level in range(1, 6):
        for rows in torch.nonzero(severity == level).flatten().split(chunk):
            if len(rows):
                yield level, rows
