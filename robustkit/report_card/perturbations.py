"""The axes of minimal perturbations: the shortest in l2, and those of the fewest pixels."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from torch import nn

from robustkit.arguments import Number
from robustkit.attacks import AttackResult, deepfool, sparsefool
from robustkit.report_card.card import Array, Axis, Examples, Scalar, table_of, undefined
from robustkit.report_card.sample import Sample, Settings, batch_of
from robustkit.report_card.words import counted, number, percent
from robustkit.stats import Interval, quantile_interval, wilson

# Radii at which the curve of robust accuracy is drawn.
_RADII = 41


def measure_l2(model: nn.Module, sample: Sample, settings: Settings) -> Axis:
    """Measure the length of the shortest perturbations that DeepFool finds within [0, 1].

    The median is over the images that the model has right; in the curve an image that is wrong as
    it is has distance 0. See `robustkit.report_card.Axis`.
    """
    images = sample.images
    found = deepfool(model, images, sample.labels, bisection=8, chunk=batch_of(images))
    distances = found.distance(2).double().cpu().numpy()
    right = distances[found.attacked.cpu().numpy()]
    median = _quantile(right, 0.5, settings)
    finite = distances[np.isfinite(distances)]
    radii = np.linspace(0, max(float(finite.max(initial=0.0)), 1e-6), _RADII)
    return Axis(
        name="l2",
        method="DeepFool in l2 within the range of pixels, then halved back onto the boundary: an "
        "upper bound of the distance.",
        reading=_l2_reading(median, len(right), images[0].numel()),
        scalars={
            "l2_median": Scalar(median, "median l2 distance, of the images that are right"),
            "l2_fooled": Scalar(
                wilson(int(found.success.sum()), len(sample), level=settings.level),
                "share of images that are fooled at any distance, or wrong as they are",
            ),
        },
        tables={"l2_curve": _curve("radius", radii.tolist(), found, 2, settings)},
        outcomes={"l2_median": distances},
        rows=sample.rows,
        examples=_nearest(
            found, distances, sample, settings.examples, lambda one: f"l2 distance {number(one)}"
        ),
    )


def measure_sparse(model: nn.Module, sample: Sample, settings: Settings) -> Axis:
    """Measure how few pixels SparseFool with measured gains has to change, all channels of each.

    Quantiles are over the images that the model has right; in the curve an image that is wrong as
    it is needs 0 pixels. See `robustkit.report_card.Axis`.
    """
    images = sample.images
    found = sparsefool(model, images, sample.labels, unit="pixel", chunk=batch_of(images))
    pixels = found.distance("pixels").double().cpu().numpy()
    right = pixels[found.attacked.cpu().numpy()]
    half, most = (_quantile(right, share, settings) for share in (0.5, 0.9))
    area = images.shape[2] * images.shape[3]
    finite = pixels[np.isfinite(pixels)]
    budgets = _pixel_budgets(int(finite.max(initial=1.0)))
    return Axis(
        name="sparse",
        method="SparseFool with measured gains, all channels of a pixel at once: an upper bound of "
        "the number of pixels.",
        reading=_sparse_reading(half, most, len(right), area),
        scalars={
            "pixels_50": Scalar(half, "pixels that fool half of the images that are right"),
            "pixels_90": Scalar(most, "pixels that fool nine in ten of the images that are right"),
        },
        tables={"sparse_curve": _curve("pixels", budgets, found, "pixels", settings)},
        outcomes={"pixels_50": pixels},
        rows=sample.rows,
        examples=_nearest(
            found, pixels, sample, settings.examples, lambda one: counted(int(one), "pixel")
        ),
    )


def _quantile(values: Array, probability: float, settings: Settings) -> Interval:
    if len(values) == 0:
        return undefined(settings.level)
    return quantile_interval(values, probability, level=settings.level)


def _pixel_budgets(most: int) -> list[int]:
    # Every count that matters, and no more points than a curve can show.
    steps = np.unique(np.round(np.geomspace(1, max(most, 2), _RADII - 1)).astype(int))
    return [0, *steps.tolist()]


def _curve(
    name: str, budgets: Sequence[Number], found: AttackResult, unit: int | str, settings: Settings
) -> dict[str, list[Number]]:
    counts = found.robust_counts(budgets, unit).tolist()
    bands = [wilson(count, len(found), level=settings.level) for count in counts]
    return table_of(
        (name, "share", "low", "high"),
        [
            (budget, band.estimate, band.low, band.high)
            for budget, band in zip(budgets, bands, strict=True)
        ],
    )


def _l2_reading(median: Interval, right: int, size: int) -> str:
    if right == 0:
        return "No image is right: there is no boundary to cross."
    if not np.isfinite(median.estimate):
        return "For half of the images that are right or more no perturbation was found."
    rms = median.estimate / size**0.5
    return (
        f"Half of the images that are right change class within an l2 distance of "
        f"{number(median.estimate)}; spread evenly, that is {number(255 * rms)} levels of 255 a "
        "component."
    )


def _sparse_reading(half: Interval, most: Interval, right: int, area: int) -> str:
    if right == 0:
        return "No image is right: there is no pixel to change."
    if not np.isfinite(half.estimate):
        return "For half of the images that are right or more no set of pixels was found."
    pixels, share = math.ceil(half.estimate), percent(half.estimate / area)
    said = (
        f"{counted(pixels, 'pixel')} of {area} ({share}) are enough for half of the images that "
        "are right"
    )
    if not np.isfinite(most.estimate):
        return f"{said}; for more than one in ten none were found."
    return f"{said}, {math.ceil(most.estimate)} for nine in ten."


def _nearest(
    found: AttackResult,
    distances: Array,
    sample: Sample,
    count: int,
    written: Callable[[float], str],
) -> Examples | None:
    """Return the images that the smallest changes fool, of those that were right."""
    usable = (found.attacked & found.success).cpu().numpy()
    order = np.argsort(np.where(usable, distances, np.inf), kind="stable")[: int(usable.sum())]
    chosen = found.labels.new_tensor(order[:count].tolist())
    if len(chosen) == 0:
        return None
    return Examples(
        rows=sample.rows[chosen],
        labels=sample.labels[chosen],
        predictions=found.predictions[chosen],
        before=found.images[chosen],
        after=found.adversarial[chosen],
        details=tuple(written(float(distances[place])) for place in chosen.tolist()),
    )
