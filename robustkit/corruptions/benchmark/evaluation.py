"""Models judged under every corruption: images made batch by batch, once for all models."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from robustkit.arguments import check_count, keys_of
from robustkit.corruptions.benchmark.descriptions import describe_code, describe_options
from robustkit.corruptions.benchmark.judging import Cell, Judge
from robustkit.corruptions.benchmark.released import CifarC, ImageNetC
from robustkit.corruptions.benchmark.table import CLEAN, CorruptionTable, check_distinct
from robustkit.corruptions.corrupt import check_batch, corrupt, prepare, whole_number
from robustkit.corruptions.registry import CORRUPTIONS
from robustkit.corruptions.severities import ALL_SEVERITIES
from robustkit.data import Dataset
from robustkit.data.dataset import check_dataset
from robustkit.digests import digest
from robustkit.errors import DataError, InputError, unknown


def evaluate_corruptions(
    model: nn.Module,
    images: Shaped[Tensor, "..."],
    labels: Shaped[Tensor, "..."],
    *,
    corruptions: Sequence[str] = CORRUPTIONS,
    severities: Sequence[int] = ALL_SEVERITIES,
    seed: int = 0,
    indices: Shaped[Tensor, "..."] | None = None,
    preset: str | None = None,
    rounding: str = "truncate",
    options: Mapping[str, Mapping[str, Any]] | None = None,
    batch_size: int = 512,
    checkpoint: Path | str | None = None,
) -> CorruptionTable:
    """Label images under every corruption and severity, and as they are; return what is right.

    - `model`: in eval mode; for several models at once see `compare_corruptions`.
    - `images`: `(N, C, H, W)`, uint8 or floating point in [0, 1]; corrupted 8-bit images are 8-bit
      again, as those of the published benchmarks are. `labels`: `(N,)`, the true classes.
    - `corruptions`, `severities`: the 15 of the benchmark at 1 to 5, or others that
      `robustkit.corruptions.corrupt` knows; `seed`, `indices`, `preset` and `rounding` go to it.
      The indices, int64 `(N,)`, are by default the rows. `options` holds further arguments by the
      name of the corruption that they are for, such as `{"glass_blur": {"mode": "swap"}}`.
    - `batch_size`: images corrupted and labelled at a time, on the device of the model.
    - `checkpoint`: a folder where each finished cell is kept. A second call reads what is there and
      goes on; what depends on anything else is judged anew: weights, images, seed, options, device,
      the source of the corruptions. A model is known by its printed form and its weights, so that
      a change of its forward method alone goes unseen.

    Raises `InputError` for images, labels, indices, models or arguments that it cannot work with,
    and `DataError` for a damaged checkpoint.

    Source: Hendrycks and Dietterich, Benchmarking neural network robustness to common corruptions
    and perturbations, ICLR 2019.
    """
    return compare_corruptions(
        {"": model},
        images,
        labels,
        corruptions=corruptions,
        severities=severities,
        seed=seed,
        indices=indices,
        preset=preset,
        rounding=rounding,
        options=options,
        batch_size=batch_size,
        checkpoint=checkpoint,
    )[""]


def compare_corruptions(
    models: Mapping[str, nn.Module],
    images: Shaped[Tensor, "..."],
    labels: Shaped[Tensor, "..."],
    *,
    corruptions: Sequence[str] = CORRUPTIONS,
    severities: Sequence[int] = ALL_SEVERITIES,
    seed: int = 0,
    indices: Shaped[Tensor, "..."] | None = None,
    preset: str | None = None,
    rounding: str = "truncate",
    options: Mapping[str, Mapping[str, Any]] | None = None,
    batch_size: int = 512,
    checkpoint: Path | str | None = None,
) -> dict[str, CorruptionTable]:
    """Evaluate several models by name on the same corrupted images; return a table a name.

    Each corrupted batch is made once and every model sees it. The models are on one device; the
    other arguments, the checkpoint and the errors are those of `evaluate_corruptions`, whose table
    each model would have alone.
    """
    check_batch(images)
    if labels.shape != (len(images),):
        raise InputError(f"labels must have shape ({len(images)},), got {tuple(labels.shape)}.")
    check_count("batch_size", batch_size, 1)
    keys = keys_of(indices, images)
    seed = whole_number("seed", seed)
    cells = _cells(corruptions, severities)
    further = {name: dict(own) for name, own in (options or {}).items()}
    for name in sorted(further.keys() - set(corruptions)):
        raise unknown("corruption in options", name, corruptions)
    for name in corruptions:
        prepare(name, min(images.shape[-2:]), preset, rounding, further.get(name, {}))
    if checkpoint is not None:
        data, code = digest({"images": images, "labels": labels}), describe_code()
        order = digest({"indices": keys})

    def described(cell: Cell) -> dict[str, object]:
        if cell == CLEAN:
            return {"data": data}
        return {
            **{"data": data, "indices": order, "code": code, "seed": seed, "preset": preset},
            **{"rounding": rounding, "options": describe_options(further.get(cell[0], {}))},
        }

    judge = Judge(models, images[:1], labels, checkpoint, described)

    def corrupted(cell: Cell) -> Iterable[Tensor]:
        own = further.get(cell[0], {})
        for part, rows in zip(images.split(batch_size), keys.split(batch_size), strict=True):
            yield corrupt(
                part.to(judge.device),
                *cell,
                seed=seed,
                indices=rows.to(judge.device),
                preset=preset,
                rounding=rounding,
                **own,
            )

    return judge.tables(cells, corrupted, lambda _: images.split(batch_size))


def compare_released(
    models: Mapping[str, nn.Module],
    released: CifarC | ImageNetC,
    *,
    corruptions: Sequence[str] = CORRUPTIONS,
    severities: Sequence[int] = ALL_SEVERITIES,
    clean: Dataset | None = None,
    batch_size: int = 512,
    checkpoint: Path | str | None = None,
) -> dict[str, CorruptionTable]:
    """Evaluate models by name on the images of a released benchmark; return a table a name.

    `clean` is the dataset that the corrupted images were made of, in the same order; without it the
    tables have no clean row. The other arguments are those of `compare_corruptions`; a checkpoint
    knows the released files by name, size and time of change. Raises `InputError` as
    `compare_corruptions` does and for clean images with other labels, and `DataError` for files
    that are missing or damaged.
    """
    check_count("batch_size", batch_size, 1)
    if clean is not None:
        check_dataset(clean)
    if clean is not None and not torch.equal(clean.labels.cpu(), released.labels):
        raise InputError("clean and released images have different labels: pass the same images.")
    cells = _cells(corruptions, severities)
    absent = [name for name in corruptions if name not in released.corruptions]
    if absent:
        raise DataError(
            f"{released.folder} lacks {', '.join(absent)}; unpack the released archive there, or "
            "name what to judge with corruptions=...."
        )

    @cache
    def described(cell: Cell) -> dict[str, object]:
        if cell == CLEAN and clean is not None:
            return {"data": digest({"images": clean.images, "labels": clean.labels})}
        labels = digest({"labels": released.labels})
        return {"released": released.fingerprint(*cell), "labels": labels}

    sample = next(iter(released.batches(*cells[0], 1)))
    judge = Judge(models, sample, released.labels, checkpoint, described)
    return judge.tables(
        cells,
        lambda cell: released.batches(*cell, batch_size),
        None if clean is None else lambda _: clean.images.split(batch_size),
    )


def _cells(corruptions: Sequence[str], severities: Iterable[object]) -> list[Cell]:
    check_distinct("corruptions", corruptions)
    levels = [whole_number("each severity", severity) for severity in severities]
    check_distinct("severities", levels)
    for level in levels:
        if level not in ALL_SEVERITIES:
            raise InputError(f"severities must lie in 1 to 5, got {level}.")
    return [(name, level) for name in corruptions for level in levels]
