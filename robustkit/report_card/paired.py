"""Exact tests for two models on the same images, and the correction for asking several times."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats as scipy_stats

from robustkit.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PairedTest:
    """What an exact paired test found.

    - `p`: the two-sided p-value: how probable a split at least as uneven is if neither model is
      better; 1 where no image tells them apart.
    - `first`, `second`: images on which the value of the first, or of the second, is larger.
    - `count`: all images, those that tell nothing included.
    """

    p: float
    first: int
    second: int
    count: int


def mcnemar(first: ArrayLike, second: ArrayLike) -> PairedTest:
    """Test whether two binary outcomes of the same images are equally frequent, exactly.

    Both have shape `(N,)` and are 0 or 1 (or False and True), image i of both being the same. Under
    the null hypothesis each image on which they differ falls to either side like a fair coin.
    Raises `InputError` for other values, shapes that differ or no image. Source: McNemar,
    Psychometrika 1947, with the exact binomial tail.
    """
    left, right = _pair(first, second)
    for values in (left, right):
        if not np.isin(values, (0.0, 1.0)).all():
            raise InputError("McNemar's test compares outcomes that are 0 or 1; see sign_test.")
    return sign_test(left, right)


def sign_test(first: ArrayLike, second: ArrayLike) -> PairedTest:
    """Test whether the values of the first are as often larger as smaller than those of the second.

    Both have shape `(N,)` and may be infinite; equal values tell nothing and are left out. It asks
    nothing of their distribution. Raises `InputError` for NaN, shapes that differ or no image.
    Source: Dixon and Mood, J. Am. Stat. Assoc. 1946.
    """
    left, right = _pair(first, second)
    above, below = int((left > right).sum()), int((left < right).sum())
    p = 1.0 if above + below == 0 else scipy_stats.binomtest(above, above + below).pvalue
    return PairedTest(float(p), above, below, len(left))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number, so that no false alarm among them is as probable.

    In the order given, at least as large as before and at most 1. Raises `InputError` for values
    outside [0, 1]. Source: Holm, Scand. J. Statist. 1979.
    """
    if not all(0 <= p <= 1 for p in p_values):
        raise InputError(f"p-values must lie in [0, 1], got {list(p_values)}.")
    adjusted, largest = [math.nan] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def _pair(first: ArrayLike, second: ArrayLike) -> tuple[Array, Array]:
    left, right = (np.asarray(values, dtype=np.float64) for values in (first, second))
    if left.ndim != 1 or left.shape != right.shape or len(left) == 0:
        raise InputError(
            f"paired samples must be vectors of one length, got {left.shape} and {right.shape}."
        )
    if np.isnan(left).any() or np.isnan(right).any():
        raise InputError("the samples have NaN; write inf for a censored value, or drop the pair.")
    return left, right
