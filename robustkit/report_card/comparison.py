"""Two report cards side by side: differences on the same images, with paired tests."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from robustkit.errors import InputError
from robustkit.report_card.card import Array, Axis, Report, Table, table_of, undefined
from robustkit.report_card.paired import PairedTest, holm, mcnemar, sign_test
from robustkit.report_card.resampling import paired_means, paired_medians
from robustkit.report_card.words import worded
from robustkit.stats import Interval

if TYPE_CHECKING:
    import pandas

# What makes no difference to other axes than these; all else does to all.
_OF_AXES = {
    "radius": {"translation", "rics"},
    "crop": {"rics"},
    "severities": {"corruptions"},
    "preset": {"corruptions"},
}
# Along these axes the number of a card is a median, along the others a mean.
_MEDIANS = ("l2", "sparse", "spectrum")


@dataclass(frozen=True)
class Difference:
    """One number of two models: first minus second, its interval, and the paired test.

    `first` and `second` are the numbers of the two models, on the images that are compared;
    `difference` has the interval that resamples these; `p` is the test's p-value after Holm's
    correction over all numbers.
    """

    axis: str
    scalar: str
    first: float
    second: float
    difference: Interval
    test: PairedTest
    p: float


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two models on the same images: `first` and `second` are their names.

    `differences` has one entry for every number that pairs image by image, in the order of the
    card; `level` is that of their intervals.
    """

    first: str
    second: str
    differences: tuple[Difference, ...]
    level: float

    @property
    def table(self) -> Table:
        """One row a number: axis, scalar, both values, their difference with interval, the test."""
        return table_of(
            (
                *("axis", "scalar", "first", "second", "difference", "low", "high"),
                *("p", "first larger", "second larger", "images"),
            ),
            [
                (
                    *(one.axis, one.scalar, one.first, one.second, one.difference.estimate),
                    *(one.difference.low, one.difference.high),
                    *(one.p, one.test.first, one.test.second, one.test.count),
                )
                for one in self.differences
            ],
        )

    def frame(self) -> "pandas.DataFrame":
        """Return the table as a pandas DataFrame."""
        import pandas

        return pandas.DataFrame(dict(self.table))

    @property
    def reading(self) -> str:
        """Which model is better at what, as far as the tests decide, in one sentence.

        A sign test counts images, and a mean weighs them: where the two disagree, neither wins.
        """
        better: dict[str, list[str]] = {self.first: [], self.second: []}
        for one in self.differences:
            more = one.test.first - one.test.second
            if one.p < 1 - self.level and not more * one.difference.estimate < 0:
                # Being fooled is the only thing measured that is better seldom.
                wins = (more > 0) != ("fooled" in one.scalar)
                better[self.first if wins else self.second].append(worded(one.scalar))
        parts = [f"{name} in {', '.join(won)}" for name, won in better.items() if won]
        if not parts:
            return "On these images no test tells the two apart."
        return f"Better by tests that hold together: {'; '.join(parts)}."


def compare(first: Report, second: Report, *, level: float = 0.95, seed: int = 0) -> Comparison:
    """Compare two reports of the same images, number by number.

    Numbers that are 0 or 1 for an image are compared by McNemar's exact test, others by the sign
    test, which infinite distances do no harm; intervals of differences resample the pairs, keyed by
    `seed`, at least 0. Minimal perturbations are compared on images that both models have right.
    p-values are Holm's over all numbers. Raises `InputError` for reports of one name, of other
    images or samples, or measured in another way, and a level outside (0, 1).
    """
    check_names([first, second])
    if first.digest != second.digest:
        raise InputError(
            f"{first.name!r} and {second.name!r} were measured on other images: measure both with "
            "reports({...}, images, labels)."
        )
    if not 0 < level < 1 or seed < 0:
        raise InputError(
            f"level must lie in (0, 1) and seed be at least 0, got {level} and {seed}."
        )
    _check_conditions(first, second)
    found = []
    for name, axis in first.axes.items():
        if name in second.axes:
            other = second.axes[name]
            if not torch.equal(axis.rows.cpu(), other.rows.cpu()):
                raise InputError(
                    f"the samples of axis {name!r} differ: use the same seed and samples for both."
                )
            found += list(_differences(axis, other, level, seed))
    if not found:
        raise InputError("the two reports have no axis in common.")
    adjusted = holm([one.test.p for one in found])
    return Comparison(
        first.name,
        second.name,
        tuple(dataclasses.replace(one, p=p) for one, p in zip(found, adjusted, strict=True)),
        level,
    )


def check_names(reports: Sequence[Report]) -> None:
    """Refuse reports that nothing tells apart; raises `InputError` for equal names."""
    names = [report.name for report in reports]
    if len({*names}) < len(names):
        raise InputError(
            f"the reports are both called {names[0]!r}, and rows could not be told apart: give "
            "each its own, report(..., name=...)."
        )


def _check_conditions(first: Report, second: Report) -> None:
    common = {*first.axes} & {*second.axes}
    others = [
        f"{name} ({first.conditions.get(name)} and {second.conditions.get(name)})"
        for name in dict.fromkeys([*first.conditions, *second.conditions])
        if common & _OF_AXES.get(name, common)
        and first.conditions.get(name) != second.conditions.get(name)
    ]
    if others:
        raise InputError(
            f"{first.name!r} and {second.name!r} were not measured in the same way, they differ in "
            f"{', '.join(others)}: measure both with reports({{...}}, images, labels)."
        )


def _differences(first: Axis, second: Axis, level: float, seed: int) -> Iterator[Difference]:
    for name in first.outcomes:
        left, right = first.outcomes[name], second.outcomes[name]
        if first.name in ("l2", "sparse"):
            # An image that is wrong as it is has distance 0, and no perturbation to compare.
            both = (left > 0) & (right > 0)
            left, right = left[both], right[both]
        if len(left) == 0:
            continue
        binary = all(np.isin(values, (0.0, 1.0)).all() for values in (left, right))
        test = mcnemar(left, right) if binary else sign_test(left, right)
        statistic = np.median if first.name in _MEDIANS else np.mean
        yield Difference(
            axis=first.name,
            scalar=name,
            first=float(statistic(left)),
            second=float(statistic(right)),
            difference=_difference(first.name, left, right, level, seed),
            test=test,
            p=test.p,
        )


def _difference(axis: str, first: Array, second: Array, level: float, seed: int) -> Interval:
    if axis not in _MEDIANS:
        return paired_means(first, second, level, seed)
    if not all(np.isfinite(np.median(values)) for values in (first, second)):
        return undefined(level)
    if 2 * 0.5 ** len(first) > 1 - level:
        # So few pairs lie on one side of any median too often: they have no interval.
        estimate = float(np.median(first) - np.median(second))
        return dataclasses.replace(undefined(level), estimate=estimate, count=len(first))
    return paired_medians(first, second, level, seed)
