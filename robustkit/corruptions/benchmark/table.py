"""What an evaluation on corrupted images returns: which image is right under which corruption."""

from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jaxtyping import Bool
from torch import Tensor

from robustkit.errors import InputError
from robustkit.stats import wilson

if TYPE_CHECKING:
    import pandas

CLEAN = ("clean", 0)


@dataclass(frozen=True, eq=False, repr=False)
class CorruptionTable:
    """Correct and wrong labels of one model, image by image, at every corruption and severity.

    - `cells`: the pairs (corruption, severity) that were judged, corruption by corruption.
    - `hits`: `(cells, N)`, whether image n is labelled correctly in that cell; on the CPU.
    - `clean`: `(N,)`, the same for the images as they are; None where they were not judged.

    Image n is the same in all cells and in the tables of other models on the same images, so that
    `robustkit.stats.paired_bootstrap` compares two models. Raises `InputError` where a cell comes
    twice or the numbers of cells or images differ.
    """

    cells: tuple[tuple[str, int], ...]
    hits: Bool[Tensor, "cells n"]
    clean: Bool[Tensor, " _"] | None = None

    def __post_init__(self) -> None:
        check_distinct("cells", self.cells)
        if self.hits.ndim != 2 or (self.clean is not None and self.clean.ndim != 1):
            raise InputError("hits must be (cells, N) and clean (N,).")
        if len(self.cells) != len(self.hits):
            raise InputError(f"{len(self.cells)} cells need as many rows, got {len(self.hits)}.")
        if self.clean is not None and len(self.clean) != self.hits.shape[1]:
            raise InputError(f"{self.hits.shape[1]} images are corrupted, {len(self.clean)} clean.")

    def __len__(self) -> int:
        """Return the number of cells."""
        return len(self.cells)

    def __repr__(self) -> str:
        kinds = len({corruption for corruption, _ in self.cells})
        return (
            f"CorruptionTable({self.hits.shape[1]} images, {kinds} corruptions, {len(self)} cells, "
            f"mean error {1 - self.hits.double().mean().item():.4f})"
        )

    def cell(self, corruption: str, severity: int) -> Bool[Tensor, " n"]:
        """Return the row `(N,)` of one cell; ("clean", 0) is that of the images as they are.

        Raises `InputError` for a cell that was not judged.
        """
        if (corruption, severity) == CLEAN and self.clean is not None:
            return self.clean
        if (corruption, severity) not in self.cells:
            raise InputError(f"the table has no cell {corruption!r} at severity {severity}.")
        return self.hits[self.cells.index((corruption, severity))]

    def frame(self, *, level: float = 0.95) -> "pandas.DataFrame":
        """Return one row a cell: corruption, severity, correct, count, error, low, high.

        The first row is ("clean", 0) if clean images were judged. `error` is a fraction in [0, 1],
        `low` and `high` the ends of its Wilson interval at `level`. Raises `InputError` for a level
        outside (0, 1).
        """
        import pandas

        cells = self.cells if self.clean is None else (CLEAN, *self.cells)
        rows = []
        for corruption, severity in cells:
            hits = self.cell(corruption, severity)
            correct, count = int(hits.sum()), len(hits)
            error = wilson(count - correct, count, level=level)
            rows.append(
                (corruption, severity, correct, count, error.estimate, error.low, error.high)
            )
        names = ["corruption", "severity", "correct", "count", "error", "low", "high"]
        return pandas.DataFrame(rows, columns=names)


def check_distinct(name: str, values: Iterable[Hashable]) -> None:
    """Refuse one name in place of a list, no value, and a value twice; raises `InputError`."""
    if isinstance(values, str):
        raise InputError(f"{name} must be a list, got {values!r}; pass [{values!r}].")
    counts = Counter(values)
    if not counts:
        raise InputError(f"{name} is empty: name at least one.")
    twice = sorted(str(value) for value, count in counts.items() if count > 1)
    if twice:
        raise InputError(f"{name} has {', '.join(twice)} more than once.")
