"""What a dataset is: images, labels and class names that stay together."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped, UInt8
from numpy.typing import NDArray
from torch import Tensor

from robustkit.checks import check_held, check_size
from robustkit.errors import InputError


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Labelled images of one split.

    `images` are uint8 (N, C, H, W) in 0 to 255, or floating point of any finite range and any shape
    `(N, *shape)`, vectors (N, D) too; `labels` are int64 (N,) that index `classes`; both are on the
    same device. `as_float(dataset.images)` gives what a model takes.
    """

    name: str
    split: str
    images: UInt8[Tensor, "n c h w"] | Float[Tensor, "n *shape"]
    labels: Int[Tensor, " n"]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        count, *shape = self.images.shape
        kind = "vectors of" if len(shape) == 1 else "images"
        return (
            f"Dataset({self.name}/{self.split}: {count} {kind} {'x'.join(map(str, shape))}, "
            f"{len(self.classes)} classes, {self.images.device.type})"
        )


def check_dataset(dataset: Dataset) -> None:
    """Refuse images that are no batch, labels not one an image, and tensors without values.

    Raises `InputError`.
    """
    images, labels = dataset.images, dataset.labels
    if images.ndim < 2 or labels.shape != images.shape[:1]:
        raise InputError(
            f"a dataset has images (N, *shape) and labels (N,), got {tuple(images.shape)} and "
            f"{tuple(labels.shape)}."
        )
    check_held("images", images)
    check_held("labels", labels)


class Content(NamedTuple):
    """What a reader of one source returns: arrays shaped as in `Dataset`, and the files read."""

    images: NDArray[np.uint8]
    labels: NDArray[np.integer[Any]]
    classes: tuple[str, ...]
    files: list[Path]


def to_float(
    images: Shaped[Tensor, "*shape"], dtype: torch.dtype = torch.float32
) -> Float[Tensor, "*shape"]:
    """Turn uint8 images in 0 to 255 into floating point in [0, 1], on the same device.

    Raises `InputError` when the images are not uint8 or `dtype` is not floating point.
    """
    if images.dtype != torch.uint8:
        raise InputError(
            f"to_float takes uint8 images, got {images.dtype}; floating images are used as they "
            "are, once they lie in [0, 1]."
        )
    check_size("images", images)
    if not dtype.is_floating_point:
        raise InputError(f"dtype must be floating point, got {dtype}.")
    return images.to(dtype) / 255


def as_float(images: Shaped[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return what a model takes: uint8 images by `to_float`, floating point ones as they are.

    Raises `InputError` for any other type.
    """
    return images if images.is_floating_point() else to_float(images)
