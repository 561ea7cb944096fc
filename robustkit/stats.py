"""Intervals for what is measured: proportions, medians with censoring, paired differences."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats as scipy_stats

from robustkit.errors import InputError

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
Statistic = Literal["mean", "median"] | Callable[[Array], Array]


@dataclass(frozen=True)
class Interval:
    """An estimate with the interval that covers it at `level`, from `count` observations.

    Bounds may be infinite where observations are censored. Source: the function that made it.
    """

    estimate: float
    low: float
    high: float
    level: float = 0.95
    count: int = 0

    def __str__(self) -> str:
        return f"{self.estimate:.4g} [{self.low:.4g}, {self.high:.4g}]"


def wilson(successes: int, count: int, *, level: float = 0.95) -> Interval:
    """Return the proportion `successes / count` with Wilson's score interval.

    Raises `InputError` unless 0 <= successes <= count and count >= 1. Source: Wilson, J. Am. Stat.
    Assoc. 1927.
    """
    _check_level(level)
    if count < 1 or not 0 <= successes <= count:
        raise InputError(f"a proportion needs 0 <= successes <= count, got {successes} of {count}.")
    found = scipy_stats.binomtest(successes, count).proportion_ci(level, method="wilson")
    return Interval(successes / count, float(found.low), float(found.high), level, count)


def quantile_interval(
    values: ArrayLike, probability: float = 0.5, *, level: float = 0.95
) -> Interval:
    """Return a sample quantile with its distribution-free interval from order statistics.

    `values` has shape (N,) and may hold `inf` for censored observations (an attack that failed):
    they count as larger than any other, and the estimate is infinite when too many are. The
    coverage is at least `level` whatever the distribution; where N is too small for that, a bound
    is infinite. Raises `InputError` on NaN or an empty sample. Source: David and Nagaraja, Order
    Statistics, section 7.1.
    """
    _check_level(level)
    if not 0 < probability < 1:
        raise InputError(f"probability must lie in (0, 1), got {probability}.")
    ordered = np.sort(_sample(values))
    count = len(ordered)
    tail = (1 - level) / 2
    below = int(scipy_stats.binom.ppf(tail, count, probability))
    if scipy_stats.binom.cdf(below, count, probability) > tail:
        below -= 1
    above = int(scipy_stats.binom.isf(tail, count, probability))
    low = float(ordered[below]) if below >= 0 else -math.inf
    high = float(ordered[above]) if above < count else math.inf
    estimate = float(np.quantile(ordered, probability, method="inverted_cdf"))
    if probability == 0.5 and math.isfinite(float(ordered[count // 2])):
        estimate = float(np.median(ordered))
    return Interval(estimate, low, high, level, count)


def median(values: ArrayLike, *, level: float = 0.95) -> Interval:
    """Return the median with its distribution-free interval; see `quantile_interval`."""
    return quantile_interval(values, 0.5, level=level)


def bootstrap(
    values: ArrayLike,
    statistic: Statistic = "mean",
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return a statistic of (N,) values with its percentile bootstrap interval over observations.

    `statistic` is "mean", "median" or a function from (R, N) to (R,). Raises `InputError` on NaN,
    an empty sample, resamples < 1 or seed < 0. Source: Efron, Ann. Statist. 1979.
    """
    sample, one = _sample(values), _statistic(statistic)
    return _percentile(lambda rows: one(sample[rows]), len(sample), level, resamples, seed)


def paired_bootstrap(
    first: ArrayLike,
    second: ArrayLike,
    statistic: Statistic = "mean",
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return statistic(first) - statistic(second) with an interval that resamples the pairs.

    Both samples have shape (N,) and observation i of both is the same image, so what the two share
    cancels. Raises `InputError` when lengths differ, and as `bootstrap`. Source: Efron and
    Tibshirani, An Introduction to the Bootstrap, chapter 8.
    """
    left, right = _sample(first), _sample(second)
    if left.shape != right.shape:
        raise InputError(f"paired samples must have one length, got {len(left)} and {len(right)}.")
    one = _statistic(statistic)

    def difference(rows: Indices) -> Array:
        return one(left[rows]) - one(right[rows])

    return _percentile(difference, len(left), level, resamples, seed)


def _percentile(
    statistic: Callable[[Indices], Array], count: int, level: float, resamples: int, seed: int
) -> Interval:
    _check_level(level)
    if resamples < 1 or seed < 0:
        raise InputError(
            f"resamples must be at least 1 and seed at least 0, got {resamples} and {seed}."
        )
    generator = np.random.default_rng(seed)
    # A few million picks at a time: all resamples of a large sample would not fit in memory.
    rows = max(1, 4_000_000 // count)
    draws = np.concatenate(
        [
            statistic(generator.integers(0, count, size=(min(rows, resamples - start), count)))
            for start in range(0, resamples, rows)
        ]
    )
    tail = (1 - level) / 2
    low = float(np.quantile(draws, tail, method="inverted_cdf"))
    high = float(np.quantile(draws, 1 - tail, method="inverted_cdf"))
    return Interval(float(statistic(np.arange(count)[None])[0]), low, high, level, count)


def _statistic(statistic: Statistic) -> Callable[[Array], Array]:
    if statistic == "mean":
        return lambda rows: np.mean(rows, axis=1)
    if statistic == "median":
        return lambda rows: np.median(rows, axis=1)
    if callable(statistic):
        return statistic
    raise InputError(f"statistic must be 'mean', 'median' or a function, got {statistic!r}.")


def _sample(values: ArrayLike) -> Array:
    try:
        sample = np.asarray(values, dtype=np.float64)
    # A tensor without values or on a GPU, a ragged list, more than memory holds.
    except (TypeError, ValueError, MemoryError) as error:
        raise InputError(f"a sample must be a vector of numbers on the CPU: {error}") from error
    if sample.ndim != 1 or len(sample) == 0:
        raise InputError(f"a sample must be a non-empty vector, got shape {sample.shape}.")
    if np.isnan(sample).any():
        raise InputError("the sample has NaN; write inf for a censored value, or drop it.")
    return sample


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise InputError(f"level must lie in (0, 1), got {level}.")
