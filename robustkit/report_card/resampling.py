"""Intervals where resampling alone would say too much: equal values, and infinite ones."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from robustkit.arguments import Number
from robustkit.report_card.card import Array, undefined
from robustkit.stats import Interval, bootstrap, paired_bootstrap, wilson


def widened(found: Interval, values: Array, lowest: Number, highest: Number) -> Interval:
    """Return an interval of a mean of values in `[lowest, highest]`, widened where all are equal.

    `found` is the bootstrap's interval of the mean of `values`, `(N,)`, N >= 1. A resample of equal
    values is always the same one, and so its interval has no width, although images that are not in
    the sample may have other values. What N equal values do tell is that most images have this one:
    at least the share that Wilson's interval has as its lower end for N of N, 1 - 4 / N or so. The
    others may lie at either end of the range. Values that differ leave `found` as it is. For shares
    that are 0 or 1 the result is Wilson's interval.

    Source: the "rule of three", Hanley and Lippman-Hand, JAMA 1983, with the two-sided bound of
    Wilson, J. Am. Stat. Assoc. 1927, in place of 3 / N.
    """
    value = float(values[0])
    if (values != value).any():
        return found
    others = 1 - wilson(len(values), len(values), level=found.level).low
    return dataclasses.replace(
        found,
        low=value - others * (value - float(lowest)),
        high=value + others * (float(highest) - value),
    )


def paired_means(first: Array, second: Array, level: float, seed: int) -> Interval:
    """Return mean(first) - mean(second), values `(N,)` in [0, 1], resampling pairs; see `widened`.

    Source: `robustkit.stats.paired_bootstrap`, keyed by `seed`.
    """
    found = paired_bootstrap(first, second, level=level, seed=seed)
    return widened(found, first - second, -1, 1)


def paired_medians(first: Array, second: Array, level: float, seed: int) -> Interval:
    """Return median(first) - median(second) with an interval that resamples the pairs.

    Values `(N,)` may be `inf` where nothing was found. A median is infinite where more than half of
    the values are. The difference is undefined where both medians are infinite, and in a resample
    where both are it may be anything: such resamples count as the least for the lower end and as
    the largest for the upper one, so that an end may be infinite. Of finite values it is the
    interval of `robustkit.stats.paired_bootstrap`, keyed by `seed`. Source: the same.
    """
    if np.isfinite(first).all() and np.isfinite(second).all():
        return paired_bootstrap(first, second, "median", level=level, seed=seed)
    if np.isinf(_medians(np.stack([first, second]))).all():
        return dataclasses.replace(undefined(level), count=len(first))

    def difference(unknown: float) -> Callable[[Array], Array]:
        def of_rows(rows: Array) -> Array:
            picked = rows.astype(np.int64)
            left, right = _medians(first[picked]), _medians(second[picked])
            both = np.isinf(left) & np.isinf(right)
            apart: Array = np.where(both, unknown, left - np.where(both, 0.0, right))
            return apart

        return of_rows

    places = np.arange(len(first))
    low, high = (
        bootstrap(places, difference(end), level=level, seed=seed) for end in (-math.inf, math.inf)
    )
    return dataclasses.replace(low, high=high.high)


def _medians(rows: Array) -> Array:
    """Return the median of each row; of two in the middle the finite one, if one is infinite."""
    middle = (rows.shape[1] - 1) // 2
    medians = np.median(rows, axis=1)
    lower = np.partition(rows, middle, axis=1)[:, middle]
    chosen: Array = np.where(np.isinf(medians), lower, medians)
    return chosen
