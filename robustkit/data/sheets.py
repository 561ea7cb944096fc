"""Sheets: 1,000 images of 32x32 in one lossless WebP picture, for small files that decode fast.

A folder holds `00.webp`, `01.webp`, ... in the published order, each 1600 x 640 pixels (20 rows of
50 images), and `labels.npy`.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from robustkit.errors import DataError

ROWS, COLUMNS, SIDE = 20, 50, 32


def read(folder: Path) -> tuple[NDArray[np.uint8], NDArray[Any], list[Path]]:
    """Read all sheets of a folder: images (N, 3, 32, 32), labels (N,), and the files read.

    Raises `DataError` that names the file when one is absent or damaged.
    """
    files = sorted(folder.glob("*.webp"))
    if not files:
        raise DataError(f"{folder} has no .webp sheet; put a whole copy in its place or delete it.")
    labels_file = folder / "labels.npy"
    try:
        labels = np.load(labels_file, allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise _unreadable(labels_file, error) from error
    images = np.concatenate([_read_sheet(file) for file in files])
    return images, labels, [*files, labels_file]


def _read_sheet(file: Path) -> NDArray[np.uint8]:
    try:
        with Image.open(file) as sheet:
            pixels = np.asarray(sheet.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise _unreadable(file, error) from error
    if pixels.shape != (ROWS * SIDE, COLUMNS * SIDE, 3):
        raise _unreadable(file, f"{pixels.shape[1]} x {pixels.shape[0]} pixels, not 1600 x 640")
    grid = pixels.reshape(ROWS, SIDE, COLUMNS, SIDE, 3)
    return grid.transpose(0, 2, 4, 1, 3).reshape(ROWS * COLUMNS, 3, SIDE, SIDE)


def _unreadable(file: Path, reason: object) -> DataError:
    return DataError(
        f"{file} is damaged ({reason}). Put a whole copy in its place, or delete the folder "
        f"{file.parent} and load again to fetch the dataset from its publisher."
    )
