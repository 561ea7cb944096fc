"""`patches`: colour photographs that come inside installed packages, cut into 32x32 images.

The class of a patch is the photograph it is cut from; nothing is downloaded. The photographs are
those that the wheels of scikit-image and scikit-learn contain and that hold natural texture on
both sides: left out are drawings, scans of text, a portrait whose two sides show different
objects, and photographs too small or too smooth. The choice was made by looking at test accuracy
too, so that accuracy on this set says that a network learned it, and no more. Two large ones are
halved (2x2 box mean), so that 32 pixels span something; the three grey textures and the cameraman
repeat one channel.

The left 70% of a photograph is cut for training (windows every 8 pixels, which overlap), the
right 30% for testing (side by side, none overlap): no test pixel is ever a training pixel. Nearly
flat windows (standard deviation of the grey value below 4 of 255: sky, blurred background) are
left out, as their class cannot be told. Of the rest, 320 evenly spaced windows a class train and
at most 48 test, in a fixed mixed order. The selection is integer arithmetic alone.
"""

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image

from robustkit import rng
from robustkit.data.dataset import Content
from robustkit.errors import DataError

SIDE = 32
TRAIN_PERCENT = 70
FLAT = 4
STRIDE = {"train": 8, "test": SIDE}
COUNT = {"train": 320, "test": 48}


class Photograph(NamedTuple):
    """A photograph inside an installed package, and the factor that reduces it."""

    package: str
    path: str
    reduce: int = 1


PHOTOGRAPHS = {
    "brick": Photograph("skimage", "data/brick.png"),
    "cameraman": Photograph("skimage", "data/camera.png"),
    "cat": Photograph("skimage", "data/chelsea.png"),
    "coffee": Photograph("skimage", "data/coffee.png"),
    "flower": Photograph("sklearn", "datasets/images/flower.jpg"),
    "galaxies": Photograph("skimage", "data/hubble_deep_field.jpg", 2),
    "grass": Photograph("skimage", "data/grass.png"),
    "gravel": Photograph("skimage", "data/gravel.png"),
    "motorcycle": Photograph("skimage", "data/motorcycle_left.png"),
    "pagoda": Photograph("sklearn", "datasets/images/china.jpg"),
    "retina": Photograph("skimage", "data/retina.jpg", 2),
    "rocket": Photograph("skimage", "data/rocket.jpg"),
    "tissue": Photograph("skimage", "data/ihc.png"),
}


class Window(NamedTuple):
    """The place of a patch: a photograph and the left top corner, in pixels after reduction."""

    photograph: str
    left: int
    top: int


def read(split: str) -> Content:
    """Read the patches of "train" or "test"; raises `DataError` when a photograph is missing."""
    classes = tuple(PHOTOGRAPHS)
    places = windows(split)
    images = np.stack([_patch(window) for window in places]).transpose(0, 3, 1, 2)
    labels = np.array([classes.index(window.photograph) for window in places])
    return Content(images, labels, classes, [_locate(name) for name in classes])


@lru_cache
def windows(split: str) -> tuple[Window, ...]:
    """Return the place of every patch of "train" or "test", in the order of the dataset."""
    found = [window for name in PHOTOGRAPHS for window in _cut(name, split)]
    keys = rng.uniform(0, f"data/patches/{split}", torch.arange(len(found)), (), torch.float64)
    return tuple(found[i] for i in keys.argsort(stable=True).tolist())


@lru_cache
def photograph(name: str) -> NDArray[np.uint8]:
    """Return a photograph as read-only uint8 (H, W, 3), reduced where `PHOTOGRAPHS` says so.

    Raises `DataError` when the installed package lacks it.
    """
    path = _locate(name)
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB").reduce(PHOTOGRAPHS[name].reduce))
    except (OSError, SyntaxError) as error:
        raise DataError(f"{path} cannot be read ({error}); {_reinstall(name)}") from error
    pixels.flags.writeable = False
    return pixels


def split_column(name: str) -> int:
    """Return the first pixel column of a photograph's test region."""
    return int(photograph(name).shape[1]) * TRAIN_PERCENT // 100


def _cut(name: str, split: str) -> list[Window]:
    pixels = photograph(name)
    column = split_column(name)
    start, end = (0, column) if split == "train" else (column, pixels.shape[1])
    stride = STRIDE[split]
    grey = pixels[:, start:end].sum(axis=2, dtype=np.int64)
    views = sliding_window_view(grey, (SIDE, SIDE))[::stride, ::stride]
    area = SIDE * SIDE
    # area^2 times the variance of R + G + B, in integers: the choice is the same everywhere.
    spread = area * (views**2).sum(axis=(2, 3)) - views.sum(axis=(2, 3)) ** 2
    corners = np.argwhere(spread >= (3 * FLAT * area) ** 2)
    count = min(COUNT[split], len(corners))
    chosen = corners[np.arange(count) * len(corners) // count]
    return [Window(name, start + stride * int(x), stride * int(y)) for y, x in chosen]


def _patch(window: Window) -> NDArray[np.uint8]:
    rows = slice(window.top, window.top + SIDE)
    columns = slice(window.left, window.left + SIDE)
    return photograph(window.photograph)[rows, columns]


def _locate(name: str) -> Path:
    # Found, not imported: importing these packages takes longer than cutting the patches.
    package, path, _ = PHOTOGRAPHS[name]
    spec = find_spec(package)
    if spec is None or spec.origin is None or not (Path(spec.origin).parent / path).is_file():
        raise DataError(f"the photograph {package}/{path} is missing; {_reinstall(name)}")
    return Path(spec.origin).parent / path


def _reinstall(name: str) -> str:
    package = {"skimage": "scikit-image", "sklearn": "scikit-learn"}[PHOTOGRAPHS[name].package]
    return f"reinstall {package} from its wheel (pip install --force-reinstall {package})."
