"""Finished cells of an evaluation on disk, so that one that was interrupted goes on."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from robustkit.errors import DataError
from robustkit.files import atomic_path


class CellStore:
    """A folder with one file a cell, named by a digest of all that the cell depends on.

    Another seed, model or set of images has another name: nothing stored is ever used for it, and
    one folder serves several evaluations. `model` and `settings(cell)` are plain values that
    describe the model and the cell's images and labels.
    """

    def __init__(
        self,
        folder: Path | str,
        model: Mapping[str, object],
        settings: Callable[[tuple[str, int]], Mapping[str, object]],
    ) -> None:
        self.folder, self.model, self.settings = Path(folder), model, settings

    def read(self, cell: tuple[str, int], count: int) -> Bool[Tensor, " n"] | None:
        """Return the stored row `(count,)` of one cell, or None; raises `DataError` if damaged."""
        path = self._path(cell)
        if not path.exists():
            return None
        try:
            hits = np.load(path, allow_pickle=False)
        except (OSError, EOFError, ValueError) as error:
            raise DataError(f"{path} is damaged ({error}); delete it.") from error
        if hits.dtype != np.bool_ or hits.shape != (count,):
            raise DataError(f"{path} does not hold one bool for each of {count} images; delete it.")
        return torch.from_numpy(hits)

    def write(self, cell: tuple[str, int], hits: Bool[Tensor, " n"]) -> None:
        """Store the row of one cell, whole or not at all; raises `DataError` if it does not fit."""
        path = self._path(cell)
        try:
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                np.save(file, hits.numpy())
        except OSError as error:
            raise DataError(
                f"{path} cannot be written ({error}); is the disk full? Cells that are finished "
                "are kept: make room and call again."
            ) from error

    def _path(self, cell: tuple[str, int]) -> Path:
        content = {**self.model, **self.settings(cell), "cell": cell}
        text = json.dumps(content, sort_keys=True, default=repr)
        key = hashlib.sha256(text.encode()).hexdigest()[:16]
        return self.folder / f"{cell[0]}-{cell[1]}-{key}.npy"
