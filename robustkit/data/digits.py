"""`digits`: the 8x8 handwritten digits that come with scikit-learn."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from robustkit.data.dataset import Content
from robustkit.errors import DataError


def read(split: str) -> Content:
    """Read the digits of "train" or "test", (1, 8, 8) each.

    Every fourth image of a digit, in scikit-learn's order, is for testing. Ink runs from 0 to 16
    in the source and is scaled to 0 to 255, rounded to the nearest.

    Raises `DataError` when the installed scikit-learn lacks the file.
    """
    spec = find_spec("sklearn")
    path = Path(spec.origin if spec and spec.origin else "").parent / "datasets/data/digits.csv.gz"
    try:
        table = np.loadtxt(path, delimiter=",", dtype=np.int64)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read ({error}); reinstall scikit-learn "
            "(pip install --force-reinstall scikit-learn)."
        ) from error
    labels = table[:, -1]
    images = ((255 * table[:, :-1] + 8) // 16).astype(np.uint8).reshape(-1, 1, 8, 8)
    test = np.zeros(len(labels), dtype=bool)
    for digit in range(10):
        test[np.flatnonzero(labels == digit)[3::4]] = True
    chosen = test if split == "test" else ~test
    return Content(images[chosen], labels[chosen], tuple("0123456789"), [path])
