"""One number for a table of errors under corruptions: mCE, relative mCE, corruption accuracy.

All of them are in percent. A table has one row a corruption and severity, with the error as a
fraction in [0, 1]: a `CorruptionTable`, or a DataFrame with the columns corruption, severity and
error, in any order of rows; the row ("clean", 0) holds the error on clean images. By default the 15
corruptions of the benchmark at severities 1 to 5 are judged and other rows are not; a cell that is
missing, or there twice, is refused, never averaged around.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from robustkit.corruptions.benchmark import alexnet
from robustkit.corruptions.benchmark.selection import select
from robustkit.corruptions.benchmark.table import CorruptionTable, check_distinct
from robustkit.corruptions.registry import CORRUPTIONS
from robustkit.corruptions.severities import ALL_SEVERITIES
from robustkit.errors import InputError, unknown

if TYPE_CHECKING:
    import pandas

Array = NDArray[np.float64]


@dataclass(frozen=True)
class _Scale:
    """What the reference errs: its errors summed over severities, one a corruption, and clean."""

    sums: Array
    clean: float | None


@dataclass(frozen=True)
class _Judged:
    """Errors `(corruptions, severities, N)`, clean errors `(N,)`, and the reference."""

    errors: Array
    clean: Array | None
    corruptions: Sequence[str]
    scale: _Scale | None


def mce(
    table: "CorruptionTable | pandas.DataFrame",
    reference: "str | CorruptionTable | pandas.DataFrame | None" = "alexnet",
    *,
    corruptions: Sequence[str] = CORRUPTIONS,
    severities: Sequence[int] = ALL_SEVERITIES,
) -> float:
    """Return the mean corruption error in percent: 100 for a model as good as the reference.

    For each corruption the errors are summed over the severities and divided by the same sum of the
    reference, then averaged over the corruptions. `reference` is "alexnet" (on ImageNet-C), another
    table, or None for no division: the mean error, as is usual on CIFAR. `corruptions` and
    `severities` name what is judged if not the 15 at severities 1 to 5. Raises `InputError` for
    cells that are missing or duplicate in either table, and errors outside [0, 1].

    Source: Hendrycks and Dietterich, Benchmarking neural network robustness to common corruptions
    and perturbations, ICLR 2019, section 4.
    """
    return float(_mce(_judge(table, reference, corruptions, severities)).mean())


def relative_mce(
    table: "CorruptionTable | pandas.DataFrame",
    reference: "str | CorruptionTable | pandas.DataFrame | None" = "alexnet",
    *,
    corruptions: Sequence[str] = CORRUPTIONS,
    severities: Sequence[int] = ALL_SEVERITIES,
) -> float:
    """Return the relative mCE in percent: as `mce`, of what corruptions add to the clean error.

    Both tables need the row ("clean", 0); AlexNet's clean error is 0.435. Raises `InputError` as
    `mce` does, where a clean error is missing, and for a corruption that adds nothing to the error
    of the reference. Source: Hendrycks and Dietterich, ICLR 2019, section 4.
    """
    return float(_relative_mce(_judge(table, reference, corruptions, severities)).mean())


def mean_corruption_error(
    table: "CorruptionTable | pandas.DataFrame",
    *,
    corruptions: Sequence[str] = CORRUPTIONS,
    severities: Sequence[int] = ALL_SEVERITIES,
) -> float:
    """Return the plain mean error in percent over corruptions and severities; CIFAR's "mCE".

    Raises `InputError` as `mce` does. Source: Hendrycks et al., AugMix, ICLR 2020, section 4.
    """
    return float(_mean_error(_judge(table, None, corruptions, severities)).mean())


def corruption_accuracy(
    table: "CorruptionTable | pandas.DataFrame",
    *,
    corruptions: Sequence[str] = CORRUPTIONS,
    severities: Sequence[int] = ALL_SEVERITIES,
) -> float:
    """Return the mean accuracy in percent over corruptions and severities.

    Raises `InputError` as `mce` does. Source: Croce et al., RobustBench, NeurIPS 2021.
    """
    return float(_accuracy(_judge(table, None, corruptions, severities)).mean())


def image_scores(
    results: CorruptionTable,
    metric: str = "corruption_accuracy",
    reference: "str | CorruptionTable | pandas.DataFrame | None" = "alexnet",
    *,
    corruptions: Sequence[str] = CORRUPTIONS,
    severities: Sequence[int] = ALL_SEVERITIES,
) -> Array:
    """Return the share of each image in a metric, `(N,)`: their mean is the metric, in percent.

    `metric` is "mce", "relative_mce", "mean_corruption_error" or "corruption_accuracy"; only the
    first two use `reference`, which is taken as known. `robustkit.stats.bootstrap` of the shares
    gives the metric's interval over images, and `paired_bootstrap` of the shares of two models on
    the same images that of their difference. Raises `InputError` as the metric does, and for an
    unknown one.
    """
    if metric not in _METRICS:
        raise unknown("metric", metric, _METRICS)
    used = reference if metric in _RELATIVE else None
    return _METRICS[metric](_judge(results, used, corruptions, severities))


def _mean_error(judged: _Judged) -> Array:
    mean: Array = 100 * judged.errors.mean(axis=(0, 1))
    return mean


def _accuracy(judged: _Judged) -> Array:
    return 100 - _mean_error(judged)


def _mce(judged: _Judged) -> Array:
    if judged.scale is None:
        return _mean_error(judged)
    return _normalised(judged.errors, judged.scale.sums)


def _relative_mce(judged: _Judged) -> Array:
    if judged.clean is None:
        raise InputError('the table has no row ("clean", 0): relative mCE needs the clean error.')
    added = judged.errors - judged.clean
    if judged.scale is None:
        mean: Array = 100 * added.mean(axis=(0, 1))
        return mean
    if judged.scale.clean is None:
        raise InputError('the reference has no row ("clean", 0): relative mCE needs its error.')
    sums = judged.scale.sums - judged.errors.shape[1] * judged.scale.clean
    _check_positive(sums, judged.corruptions, "adds nothing to the clean error")
    return _normalised(added, sums)


_METRICS: dict[str, Callable[[_Judged], Array]] = {
    "mce": _mce,
    "relative_mce": _relative_mce,
    "mean_corruption_error": _mean_error,
    "corruption_accuracy": _accuracy,
}
_RELATIVE = ("mce", "relative_mce")


def _normalised(errors: Array, sums: Array) -> Array:
    mean: Array = 100 * (errors.sum(axis=1) / sums[:, None]).mean(axis=0)
    return mean


def _judge(
    table: "CorruptionTable | pandas.DataFrame",
    reference: "str | CorruptionTable | pandas.DataFrame | None",
    corruptions: Sequence[str],
    severities: Sequence[int],
) -> _Judged:
    check_distinct("corruptions", corruptions)
    check_distinct("severities", severities)
    errors, clean = select(table, corruptions, severities, "table")
    return _Judged(errors, clean, corruptions, _scale(reference, corruptions, severities))


def _scale(
    reference: "str | CorruptionTable | pandas.DataFrame | None",
    corruptions: Sequence[str],
    severities: Sequence[int],
) -> _Scale | None:
    if reference is None:
        return None
    if isinstance(reference, str):
        if reference != "alexnet":
            raise unknown("reference", reference, ["alexnet"])
        own = [alexnet.summed_error(name, severities) for name in corruptions]
        return _Scale(np.array(own), alexnet.CLEAN_ERROR)
    errors, clean = select(reference, corruptions, severities, "reference")
    sums: Array = errors.mean(axis=2).sum(axis=1)
    _check_positive(sums, corruptions, "is never an error")
    return _Scale(sums, None if clean is None else float(clean.mean()))


def _check_positive(sums: Array, corruptions: Sequence[str], what: str) -> None:
    free = [name for name, total in zip(corruptions, sums, strict=True) if total <= 0]
    if free:
        raise InputError(
            f"for the reference {', '.join(free)} {what}: nothing can be divided by it. Leave it "
            "out with corruptions=..., or use reference=None."
        )
