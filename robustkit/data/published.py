"""Published datasets: found in the home folder or fetched once, and always verified.

A dataset is one file, `NAME.npz` with `x_train`, `y_train`, `x_test`, `y_test`: uint8 images
(N, H, W) or (N, H, W, 3) and integer labels (N,). Where that is absent, sheets of images in
`NAME/{train,test}` are read (see `robustkit.data.sheets`). Where both are absent, torchvision
fetches the publisher's archives, checks their md5, and they are converted to the one file.
"""

import hashlib
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from robustkit import files
from robustkit.data import sheets
from robustkit.data.dataset import Content
from robustkit.errors import DataError


@dataclass(frozen=True)
class Published:
    """A dataset as published: its shape, its classes and, where known, its content.

    `images` is the shape (C, H, W) of one image. `digests` gives for a split the sha256 over the
    bytes of the images (N, C, H, W) followed by the labels, all uint8. `per_class`, where there is
    no digest, gives for a split the number of images of every class.
    """

    name: str
    torchvision: str
    images: tuple[int, int, int]
    classes: tuple[str, ...]
    digests: Mapping[str, str] = field(default_factory=dict)
    per_class: Mapping[str, int] = field(default_factory=dict)


def read(source: Published, split: str) -> Content:
    """Read "train" or "test" from the home folder, after fetching the dataset if it is absent.

    Raises `DataError` when the dataset is absent and cannot be fetched, or is damaged.
    """
    path = files.home() / f"{source.name}.npz"
    folder = files.home() / source.name / split
    if not path.exists() and folder.is_dir():
        images, labels, read_from = sheets.read(folder)
        place = folder
    else:
        if not path.exists():
            _fetch(source, path)
        images, labels = _read_npz(path, split)
        read_from, place = [path], path
    images = np.ascontiguousarray(images[:, None] if images.ndim == 3 else images)
    if images.ndim == 4 and images.shape[1:] != source.images:
        images = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    reason = _difference(source, split, images, labels)
    if reason:
        raise _damaged(place, reason)
    return Content(images, labels, source.classes, read_from)


def _difference(
    source: Published, split: str, images: NDArray[Any], labels: NDArray[Any]
) -> str | None:
    if images.dtype != np.uint8 or images.shape[1:] != source.images:
        shape = ", ".join(str(length) for length in source.images)
        return f"images are {images.dtype} {images.shape}, expected uint8 (N, {shape})"
    if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
        return f"labels are {labels.dtype} {labels.shape} for {len(images)} images"
    if not len(labels) or labels.min() < 0 or labels.max() >= len(source.classes):
        return f"labels do not index the {len(source.classes)} classes"
    if split in source.digests:
        found = hashlib.sha256(images.data)
        found.update(labels.astype(np.uint8).tobytes())
        expected = source.digests[split]
        if found.hexdigest() != expected:
            return f"sha256 of the decoded {split} split {found.hexdigest()}, expected {expected}"
    elif (
        np.bincount(labels.astype(np.int64), minlength=len(source.classes))
        != source.per_class[split]
    ).any():
        return f"the {split} split does not hold {source.per_class[split]} images of every class"
    return None


def _read_npz(path: Path, split: str) -> tuple[NDArray[Any], NDArray[Any]]:
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            return archive[f"x_{split}"], archive[f"y_{split}"]
    except (
        OSError,
        EOFError,
        ValueError,
        LookupError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, reason: object) -> DataError:
    """Build the error for a file or folder that is not what was published."""
    return DataError(
        f"{path} is damaged or another version ({reason}). Delete it and load again, or put a "
        "whole copy in its place."
    )


def _fetch(source: Published, path: Path) -> None:
    manual = (
        f"Place {path.name} (arrays x_train, y_train, x_test, y_test) at {path}; "
        f"robustkit.data.load({source.name!r}) writes that file on a machine with a network. "
        f"Or set ROBUSTKIT_HOME to a folder that has it."
    )
    if files.offline():
        raise DataError(
            f"{source.name} is not in {files.home()} and ROBUSTKIT_OFFLINE is set. {manual}"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            if not path.exists():
                _convert(source, path)
    except (OSError, EOFError, RuntimeError, HTTPException, tarfile.TarError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{source.name} could not be fetched ({reason}). {manual}") from error


def _convert(source: Published, path: Path) -> None:
    from torchvision import datasets

    with TemporaryDirectory(dir=path.parent, prefix=f".{source.name}.") as folder:
        train, test = (
            getattr(datasets, source.torchvision)(folder, train=train, download=True)
            for train in (True, False)
        )
    with files.atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            x_train=np.asarray(train.data),
            y_train=np.asarray(train.targets, dtype=np.uint8),
            x_test=np.asarray(test.data),
            y_test=np.asarray(test.targets, dtype=np.uint8),
        )
