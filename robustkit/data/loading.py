"""One door to every dataset: check the request, read the source, move it to the device."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from robustkit import inputs
from robustkit.checks import check_device
from robustkit.data import cifar, digits, folder, mnist, patches
from robustkit.data.dataset import Content, Dataset
from robustkit.errors import InputError, unknown

SPLITS = ("train", "test")

_FOLDER = "imagefolder"

_READERS: dict[str, Callable[[str], Content]] = {
    "patches": patches.read,
    "digits": digits.read,
    "mnist": mnist.read,
    "cifar10": cifar.read_cifar10,
    "cifar100": cifar.read_cifar100,
}


def names() -> tuple[str, ...]:
    """Return the names that `load` knows; PATH stands for a folder of your own."""
    return (*_READERS, f"{_FOLDER}:PATH")


def load(
    name: str,
    split: str = "test",
    *,
    device: str | torch.device = "cpu",
    limit: int | None = None,
    size: int | None = None,
) -> Dataset:
    """Load one split of a dataset: uint8 images (N, C, H, W), int64 labels (N,), class names.

    `patches` (3, 32, 32) and `digits` (1, 8, 8) come with the installed packages. `mnist`
    (1, 28, 28), `cifar10` and `cifar100` (3, 32, 32) are looked for in `ROBUSTKIT_HOME` (else the
    user's cache) and fetched once when they are absent. `imagefolder:PATH` reads a folder of your
    own: one folder a class, or flat with an `images.csv` (see `robustkit.data.folder`).

    `split` is "train" or "test". `limit` keeps at most the first `limit` images. `size`, for
    image folders, resizes the shorter side to `size` pixels and crops the centre square.

    Raises `InputError` for a request that cannot be met, with the near match for an unknown name,
    and `DataError` for data that is absent, damaged or cannot be fetched.
    """
    kind, _, path = name.partition(":")
    if name not in _READERS and kind != _FOLDER:
        raise unknown("dataset", name, names())
    if kind == _FOLDER and not path:
        raise InputError(f"which folder? Write load({_FOLDER + ':PATH'!r}).")
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    for argument, value in {"limit": limit, "size": size}.items():
        if value is not None and value < 1:
            raise InputError(f"{argument} must be at least 1, got {value}.")
    if kind != _FOLDER and size is not None:
        raise InputError(f"size is for {_FOLDER}:PATH; the images of {name!r} have one size.")
    check_device(device)

    if kind == _FOLDER:
        root = Path(path).expanduser().resolve()
        # The last part alone: records and pages must not depend on where a folder stands.
        name = f"{_FOLDER}:{root.name}"
        content = folder.read(root, split, limit=limit, size=size)
    else:
        content = _READERS[name](split)
    inputs.note(f"data/{name}/{split}", content.files)
    return Dataset(
        name=name,
        split=split,
        images=torch.tensor(content.images[:limit], device=device),
        labels=torch.tensor(content.labels[:limit].astype(np.int64), device=device),
        classes=content.classes,
    )
