"""Readers of the released benchmarks: CIFAR-10-C and CIFAR-100-C, ImageNet-C and its like.

Both give the images of one corruption and severity as a `robustkit.data.Dataset` or batch by batch,
in the same order in every cell, and raise `DataError` for files that are missing or damaged.
"""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, UInt8
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from robustkit import inputs
from robustkit.arguments import check_count
from robustkit.corruptions.severities import ALL_SEVERITIES
from robustkit.data import Dataset
from robustkit.data.cifar import CIFAR10, CIFAR100
from robustkit.errors import DataError, InputError, unknown

_LEVELS = len(ALL_SEVERITIES)
_CIFARS = {source.name: source for source in (CIFAR10, CIFAR100)}


class CifarC:
    """The released CIFAR-10-C or CIFAR-100-C: a folder with one .npy a corruption, memory-mapped.

    Each file holds the test images five times, in the order of severity, as uint8 (5 N, H, W, 3);
    `labels.npy` their labels, five times the same. `labels` is int64 `(N,)`. Only the pages that
    are looked at are read from disk. `dataset` is "cifar10" or "cifar100", which names the classes.
    Raises `DataError` where labels are missing or not those of the dataset, `InputError` for
    another dataset.

    Source: Hendrycks and Dietterich, Benchmarking neural network robustness to common corruptions
    and perturbations, ICLR 2019.
    """

    def __init__(self, folder: Path | str, dataset: str = "cifar10") -> None:
        if dataset not in _CIFARS:
            raise unknown("dataset", dataset, _CIFARS)
        self.folder, self.name = Path(folder).expanduser(), f"{dataset}-c"
        self.classes = _CIFARS[dataset].classes
        labels = self._load("labels")
        count, rest = divmod(len(labels) if labels.ndim == 1 else 0, _LEVELS)
        levels = labels[: count * _LEVELS].reshape(_LEVELS, -1) if count else labels
        if rest or not count or labels.dtype.kind not in "iu" or (levels != levels[0]).any():
            raise DataError(
                f"{self.folder / 'labels.npy'} does not hold the same labels once for each of "
                f"{_LEVELS} severities; fetch it again."
            )
        if levels.min() < 0 or levels.max() >= len(self.classes):
            raise DataError(
                f"{self.folder / 'labels.npy'} has labels from {levels.min()} to {levels.max()}, "
                f"{dataset} has {len(self.classes)} classes; say which dataset it is."
            )
        self.labels: Int[Tensor, " n"] = torch.tensor(levels[0].astype(np.int64))

    @property
    def corruptions(self) -> tuple[str, ...]:
        """The corruptions that have a file, sorted."""
        return tuple(sorted({path.stem for path in self.folder.glob("*.npy")} - {"labels"}))

    def dataset(self, corruption: str, severity: int) -> Dataset:
        """Return the images of one corruption at severity 1 to 5, uint8 (N, 3, H, W), not yet read.

        Raises `DataError` and, for another severity, `InputError`.
        """
        _check_severity(severity)
        path, images = self.folder / f"{corruption}.npy", self._load(corruption)
        count = len(self.labels)
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
            raise DataError(f"{path} holds {images.dtype} {images.shape}, not uint8 (N, H, W, 3).")
        if len(images) != _LEVELS * count:
            raise DataError(
                f"{path} holds {len(images)} images, the labels are for {_LEVELS * count}; fetch "
                "it again."
            )
        inputs.note(f"data/{self.name}/{corruption}", [path])
        part = images[(severity - 1) * count : severity * count]
        return Dataset(
            name=self.name,
            split=f"{corruption}/{severity}",
            images=torch.from_numpy(part).permute(0, 3, 1, 2),
            labels=self.labels,
            classes=self.classes,
        )

    def batches(
        self, corruption: str, severity: int, batch_size: int
    ) -> Iterator[UInt8[Tensor, "m c h w"]]:
        """Yield the images of one corruption and severity in order, at most `batch_size` a time."""
        check_count("batch_size", batch_size, 1)
        yield from self.dataset(corruption, severity).images.split(batch_size)

    def fingerprint(self, corruption: str, severity: int) -> str:
        """Return a digest of name, size and time of change of the file."""
        del severity
        return _fingerprint(self.folder, [self._path(corruption)])

    def _path(self, name: str) -> Path:
        path = self.folder / f"{name}.npy"
        if not path.is_file():
            raise DataError(f"there is no {path}; unpack the released archive there.")
        return path

    def _load(self, name: str) -> NDArray[Any]:
        path = self._path(name)
        try:
            # Copy on write: torch refuses a read-only map, and nothing reaches the file.
            images: NDArray[Any] = np.load(path, mmap_mode="c", allow_pickle=False)
        except (OSError, EOFError, ValueError) as error:
            raise DataError(f"{path} is truncated or damaged ({error}); fetch it again.") from error
        return images


class ImageNetC:
    """Released ImageNet-C or Tiny-ImageNet-C, `CORRUPTION/SEVERITY/CLASS/*.JPEG`, read lazily.

    `classes` are the names of the class folders in the order of the logits of the models to be
    judged; by default all that are there, sorted, which for the 1000 of ImageNet is the usual
    order. Images come class by class, by name; with `limit` only the first so many, taken in turn
    from each class. `labels` is int64 `(N,)`. Raises `DataError` where there is no such folder or a
    class that is not in `classes`. The files are too many to be noted in the records of runs.

    Source: Hendrycks and Dietterich, Benchmarking neural network robustness to common corruptions
    and perturbations, ICLR 2019.
    """

    name = "imagenet-c"

    def __init__(
        self,
        folder: Path | str,
        *,
        classes: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> None:
        self.folder = Path(folder).expanduser()
        if limit is not None and limit < 1:
            raise InputError(f"limit must be at least 1, got {limit}.")
        if not self.corruptions:
            raise DataError(
                f"{self.folder} holds no CORRUPTION/SEVERITY folders; unpack the archives there."
            )
        levels = (self.folder / self.corruptions[0] / str(level) for level in range(1, _LEVELS + 1))
        listed = _list(next(level for level in levels if level.is_dir()))
        found = sorted({file.parent.name for _, file in listed})
        self.classes = tuple(found if classes is None else classes)
        strange = sorted(set(found) - set(self.classes))
        if strange:
            raise DataError(f"{self.folder} has class folders that are not named: {strange[:3]}.")
        chosen = sorted(listed)[:limit] if limit else listed
        self._files = sorted(file for _, file in chosen)
        index = {name: label for label, name in enumerate(self.classes)}
        self.labels: Int[Tensor, " n"] = torch.tensor([index[f.parent.name] for f in self._files])

    @property
    def corruptions(self) -> tuple[str, ...]:
        """The corruptions that have a folder with a severity in it, sorted."""
        levels = [str(level) for level in range(1, _LEVELS + 1)]
        folders = self.folder.iterdir() if self.folder.is_dir() else ()
        return tuple(sorted(f.name for f in folders if any((f / x).is_dir() for x in levels)))

    def dataset(self, corruption: str, severity: int) -> Dataset:
        """Read all images of one corruption at severity 1 to 5, uint8 (N, 3, H, W).

        Raises `DataError` and, for another severity, `InputError`.
        """
        return Dataset(
            name=self.name,
            split=f"{corruption}/{severity}",
            images=torch.cat(list(self.batches(corruption, severity, 256))),
            labels=self.labels,
            classes=self.classes,
        )

    def batches(
        self, corruption: str, severity: int, batch_size: int
    ) -> Iterator[UInt8[Tensor, "m c h w"]]:
        """Yield the images of one corruption and severity in order, at most `batch_size` a time.

        The next batch is decoded while one is used.
        """
        check_count("batch_size", batch_size, 1)
        files = self._paths(corruption, severity)
        parts = [files[start : start + batch_size] for start in range(0, len(files), batch_size)]
        with ThreadPoolExecutor() as pool:
            ahead = [pool.submit(_decode, file) for file in parts[0]]
            for following in [*parts[1:], []]:
                ready, ahead = ahead, [pool.submit(_decode, file) for file in following]
                yield _stack(ready, self.folder / corruption / str(severity))

    def fingerprint(self, corruption: str, severity: int) -> str:
        """Return a digest of name, size and time of change of the files."""
        return _fingerprint(self.folder, self._paths(corruption, severity))

    def _paths(self, corruption: str, severity: int) -> list[Path]:
        _check_severity(severity)
        root = self.folder / corruption / str(severity)
        paths = [root / file for file in self._files]
        absent = [path for path in paths if not path.is_file()]
        if absent:
            raise DataError(
                f"{root} lacks {len(absent)} of {len(paths)} images, {absent[0]} first; unpack the "
                "released archive again."
            )
        return paths


def _check_severity(severity: int) -> None:
    if severity not in range(1, _LEVELS + 1):
        raise InputError(f"severity must be 1 to {_LEVELS}, got {severity}.")


def _list(level: Path) -> list[tuple[int, Path]]:
    """List the images below one severity: each one's rank in its class, and its relative path."""
    listed = []
    for folder in sorted(path for path in level.iterdir() if path.is_dir()):
        names = sorted(f.name for f in folder.iterdir() if f.suffix.lower() in (".jpeg", ".jpg"))
        listed += [(rank, Path(folder.name) / name) for rank, name in enumerate(names)]
    if not listed:
        raise DataError(f"{level} holds no CLASS/*.JPEG; unpack the released archive again.")
    return listed


def _decode(file: Path) -> NDArray[np.uint8]:
    try:
        with Image.open(file) as opened:
            return np.array(opened.convert("RGB")).transpose(2, 0, 1)
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{file} cannot be read as an image ({error}); fetch it again.") from error


def _stack(images: list[Future[NDArray[np.uint8]]], where: Path) -> UInt8[Tensor, "m c h w"]:
    decoded = [image.result() for image in images]
    sizes = {image.shape for image in decoded}
    if len(sizes) > 1:
        raise DataError(f"{where} holds images of several sizes: {sorted(sizes)}.")
    return torch.from_numpy(np.stack(decoded))


def _fingerprint(folder: Path, files: Sequence[Path]) -> str:
    total = hashlib.sha256()
    for file in files:
        status = file.stat()
        name = file.relative_to(folder).as_posix()
        total.update(f"{name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return total.hexdigest()
