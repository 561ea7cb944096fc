"""What a report card holds: one entry an axis, each of tables, numbers with intervals and words."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from robustkit.errors import unknown
from robustkit.stats import Interval

if TYPE_CHECKING:
    import pandas

Table = Mapping[str, list[Any]]
Array = NDArray[np.float64]

# The axes of a card, in the order of the page, with their headings.
TITLES: Mapping[str, str] = {
    "clean": "Clean images",
    "l2": "Shortest perturbations",
    "sparse": "Sparsest perturbations",
    "spectrum": "Margins by frequency",
    "corruptions": "Common corruptions",
    "translation": "Translations",
    "rics": "What crop selection would give",
}
AXES: tuple[str, ...] = tuple(TITLES)


@dataclass(frozen=True)
class Scalar:
    """One number of a card: its interval, its unit, and what it is in a few words."""

    interval: Interval
    note: str
    unit: str = ""


@dataclass(frozen=True, eq=False)
class Examples:
    """The worst images of an axis; row i of every field is about the same image.

    - `rows`: `(n,)`, int64, the places of the images in the batch that was given.
    - `labels`, `predictions`: `(n,)`, int64, the true class and the one the model ends up with.
    - `before`, `after`: `(n, C, H, W)` in [0, 1], the image as it is and as it was changed.
    - `details`: how far it was changed, in words, one text an image.
    """

    rows: Int[Tensor, " n"]
    labels: Int[Tensor, " n"]
    predictions: Int[Tensor, " n"]
    before: Float[Tensor, "n c h w"]
    after: Float[Tensor, "n c h w"]
    details: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.rows)


@dataclass(frozen=True, eq=False)
class Axis:
    """What was measured along one axis.

    - `name`: one of `AXES`; `method`: what was done, and `reading`: what the numbers say, a
      sentence each.
    - `scalars`: numbers by name; `tables`: tidy tables by name, columns of equal length.
    - `outcomes`: by the name of a scalar, one value for each image that was measured, which
      `compare` pairs with those of another model; infinite where nothing was found.
    - `rows`: `(n,)`, int64, the images that were measured, by their places in the given batch.
    - `examples`: the worst images; None where there are none.
    - `seconds`: how long it took.
    """

    name: str
    method: str
    reading: str
    scalars: Mapping[str, Scalar]
    tables: Mapping[str, Table]
    outcomes: Mapping[str, Array]
    rows: Int[Tensor, " n"]
    examples: Examples | None = None
    seconds: float = math.nan

    @property
    def title(self) -> str:
        """The heading of the axis on a page."""
        return TITLES[self.name]

    def __len__(self) -> int:
        """Return the number of images that were measured."""
        return len(self.rows)


@dataclass(frozen=True, eq=False, repr=False)
class Report:
    """The report card of one model on one batch of labelled images.

    - `name`, `data`: what the model and the images are called; `data` is empty where it is not
      known. `classes`: the names of the classes.
    - `axes`: what was measured, by axis, in the order of `AXES`.
    - `count`: how many images were given; `digest`: a sha256 over them and their labels.
    - `budget`: minutes, if the sizes of the samples were chosen for a time; `planned`: seconds that
      each axis was expected to take, where that is known.
    - `read`: how the images were chosen and resized, where a card was asked to read them.
    - `cautions`: what to keep in mind about these very data and this model, one text each.
    - `references`: numbers of known networks on the same data, a tidy table: axis, scalar, network,
      value, low, high, images, record.
    - `conditions`: what was measured under, by the names of the arguments of `report`: size, crop,
      radius, severities, preset, level and seed.
    """

    name: str
    data: str
    classes: tuple[str, ...]
    axes: Mapping[str, Axis]
    count: int
    digest: str
    budget: float | None = None
    planned: Mapping[str, float] = field(default_factory=dict)
    read: str = ""
    cautions: tuple[str, ...] = ()
    references: Table = field(default_factory=dict)
    conditions: Mapping[str, Any] = field(default_factory=dict)

    @property
    def scalars(self) -> dict[str, Scalar]:
        """All numbers by name, over all axes."""
        return {name: one for axis in self.axes.values() for name, one in axis.scalars.items()}

    @property
    def tables(self) -> dict[str, Table]:
        """All tidy tables by name, over all axes."""
        return {name: one for axis in self.axes.values() for name, one in axis.tables.items()}

    @property
    def level(self) -> float:
        """The level of the intervals."""
        return next(iter(self.scalars.values())).interval.level

    @property
    def readings(self) -> dict[str, str]:
        """What the numbers of each axis say, one sentence an axis."""
        return {name: axis.reading for name, axis in self.axes.items()}

    def scalar(self, name: str) -> Interval:
        """Return a number with its interval; raises `UnknownNameError` with the near match."""
        if name not in self.scalars:
            raise unknown("number of the card", name, self.scalars)
        return self.scalars[name].interval

    def frame(self, name: str) -> "pandas.DataFrame":
        """Return a table as a pandas DataFrame; raises `UnknownNameError` with the near match."""
        import pandas

        if name not in self.tables:
            raise unknown("table of the card", name, self.tables)
        return pandas.DataFrame(dict(self.tables[name]))

    def __repr__(self) -> str:
        lines = [f"Report({self.name}: {', '.join(self.axes)})"]
        lines += [f"{axis.title}: {axis.reading}" for axis in self.axes.values()]
        return "\n".join(lines)


def table_of(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> dict[str, list[Any]]:
    """Return the columns of a table that is given row by row."""
    whole = list(rows)
    return {name: [row[place] for row in whole] for place, name in enumerate(names)}


def undefined(level: float) -> Interval:
    """Return the interval of a number that no image says anything about."""
    return Interval(math.nan, math.nan, math.nan, level, 0)
