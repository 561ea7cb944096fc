"""`imagefolder:PATH`: photographs of your own, or ImageNet.

Two layouts. One folder a class: labels follow the sorted folder names, and images come in turn
from each class (the first file of every class, then the second, ...), so that a limit stays
balanced. Or flat, with an `images.csv` beside the images as in the NIPS 2017 adversarial
development set: columns `ImageId` (the file name without its ending) and `TrueLabel` (class index
plus one), images in the order of the csv; class names come from an `imagenet_classes.json`
(a list of [index, wnid, name]) in the same folder or the one above, else they are the indices.

A path that holds nothing but folders called train, val or test holds splits: "train" reads train,
"test" reads test or else val. Any other folder is one split, whichever is asked for.
"""

import csv
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from robustkit.data.dataset import Content
from robustkit.errors import DataError, InputError
from robustkit.progress import progress

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")


class Listing(NamedTuple):
    """The images of a folder in order, their labels, and the files that say so."""

    images: list[Path]
    labels: list[int]
    classes: tuple[str, ...]
    described_by: list[Path]


def read(path: Path, split: str, *, limit: int | None, size: int | None) -> Content:
    """Read at most `limit` images of a folder as (N, 3, H, W).

    `size` resizes the shorter side to `size` (bilinear, antialiased, as torchvision's evaluation
    transforms do) and crops the centre square; None takes images that all have one size.

    Raises `InputError` when sizes differ and `size` is None, `DataError` when the folder is
    absent, laid out otherwise, or holds a file that is not a readable image.
    """
    found = listing(path, split)
    images = found.images[:limit]
    labels = np.array(found.labels[:limit], dtype=np.int64)
    return Content(decode(images, size), labels, found.classes, [*images, *found.described_by])


def listing(path: Path, split: str) -> Listing:
    """Return what images a folder holds; raises `DataError` as `read` does."""
    root = _choose_split(path, split)
    return _list_csv(root) if (root / "images.csv").is_file() else _list_classes(root)


def decode(files: list[Path], size: int | None) -> NDArray[np.uint8]:
    """Return image files as (N, 3, H, W), resized as `read` does it; raises as `read` does."""
    first = _decode(files[0], size)
    images = np.empty((len(files), *first.shape), dtype=np.uint8)
    with progress(len(files), "reading images") as bar, ThreadPoolExecutor() as pool:
        decoded = pool.map(lambda file: _decode(file, size), files)
        for index, image in enumerate(decoded):
            if image.shape != first.shape:
                raise InputError(
                    f"{files[index]} has {_pixels(image)} pixels but {files[0].name} has "
                    f"{_pixels(first)}; pass size=224, say, to bring all images to one size."
                )
            images[index] = image
            bar.update(1)
    return images


def sizes(files: list[Path]) -> list[tuple[int, int]]:
    """Return the width and height of image files, without decoding them; raises as `read` does."""

    def of(file: Path) -> tuple[int, int]:
        with _opened(file) as image:
            return image.size

    with ThreadPoolExecutor() as pool:
        return list(pool.map(of, files))


def _subfolders(path: Path) -> list[Path]:
    if not path.is_dir():
        raise DataError(f"there is no folder {path}; check the path after 'imagefolder:'.")
    return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))


def _choose_split(path: Path, split: str) -> Path:
    found = {folder.name: folder for folder in _subfolders(path)}
    if not found or not found.keys() <= {"train", "val", "test"}:
        return path
    for name in ("train",) if split == "train" else ("test", "val"):
        if name in found:
            return found[name]
    raise DataError(f"{path} has no {split!r} split, only {', '.join(found)}.")


def _list_classes(root: Path) -> Listing:
    folders = _subfolders(root)
    if not folders:
        raise DataError(f"{root} holds neither one folder a class nor an images.csv.")
    columns = []
    for label, folder in enumerate(folders):
        files = sorted(
            p
            for p in folder.iterdir()
            if p.suffix.lower() in ENDINGS and not p.name.startswith(".")
        )
        if not files:
            raise DataError(f"the class folder {folder} holds no image; fill or remove it.")
        columns.append([(file, label) for file in files])
    rows = [entry for turn in zip_longest(*columns) for entry in turn if entry]
    return Listing(
        [file for file, _ in rows],
        [label for _, label in rows],
        tuple(folder.name for folder in folders),
        [],
    )


def _list_csv(root: Path) -> Listing:
    table = root / "images.csv"
    present = {p.stem: p for p in sorted(root.iterdir()) if p.suffix.lower() in ENDINGS}
    images, labels = [], []
    try:
        with table.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            for row in rows:
                images.append(present[row["ImageId"]])
                labels.append(int(row["TrueLabel"]) - 1)
                if labels[-1] < 0:
                    raise ValueError("TrueLabel counts from 1")
    except KeyError as error:
        raise DataError(
            f"{table}: no column or no image file called {error}; it needs the columns ImageId and "
            "TrueLabel, and an image file for every ImageId."
        ) from error
    except (ValueError, TypeError, csv.Error) as error:
        raise DataError(f"{table}, line {rows.line_num}: {error}.") from error
    if not images:
        raise DataError(f"{table} lists no image.")
    classes, names_file = _class_names(root, max(labels) + 1)
    return Listing(images, labels, classes, [table, *names_file])


def _class_names(root: Path, count: int) -> tuple[tuple[str, ...], list[Path]]:
    for file in (root / "imagenet_classes.json", root.parent / "imagenet_classes.json"):
        if not file.is_file():
            continue
        try:
            entries = json.loads(file.read_text(encoding="utf-8"))
            names = {int(index): str(name) for index, _, name in entries}
            classes = tuple(names[index] for index in range(len(names)))
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"{file} is not a list of [index, wnid, name] ({error}).") from error
        if len(classes) < count:
            raise DataError(f"{file} names {len(classes)} classes, the labels need {count}.")
        return classes, [file]
    return tuple(str(index) for index in range(count)), []


def _pixels(image: NDArray[np.uint8]) -> str:
    return f"{image.shape[2]} x {image.shape[1]}"


@contextmanager
def _opened(file: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(file) as opened:
            yield opened
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(
            f"{file} cannot be read as an image ({error}); replace or remove it."
        ) from error


def _decode(file: Path, size: int | None) -> NDArray[np.uint8]:
    with _opened(file) as opened:
        image = opened.convert("RGB")
    if size is not None:
        image = _square(image, size)
    return np.asarray(image).transpose(2, 0, 1)


def _square(image: Image.Image, size: int) -> Image.Image:
    width, height = image.size
    shorter = min(width, height)
    image = image.resize(
        (size * width // shorter, size * height // shorter), Image.Resampling.BILINEAR
    )
    left, top = round((image.width - size) / 2), round((image.height - size) / 2)
    return image.crop((left, top, left + size, top + size))
