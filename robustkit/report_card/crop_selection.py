"""The axis of crop selection: what the same network does under shifts behind RICS."""

from torch import Tensor, nn

from robustkit.prediction import predict
from robustkit.report_card.card import Axis, Scalar
from robustkit.report_card.sample import Sample, Settings, batch_of
from robustkit.report_card.shifts import (
    most_shifted,
    radii,
    scalars_of,
    shifted,
    table_by_radius,
)
from robustkit.report_card.words import decided, percent
from robustkit.stats import Interval, paired_bootstrap
from robustkit.translation import RICS, Adversary

# Rows and columns of the filter that scores crops.
_FILTER = 7


def rics_axis(model: nn.Module, plain: Adversary, sample: Sample, settings: Settings) -> Axis:
    """Measure the network behind RICS, and the difference on the same images; see `Axis`.

    RICS classifies one crop of each view, selected by its own pixels. The network gets it resized
    to what it usually sees or, if it takes that and is right on more of these images so, as it is:
    the better of two ways, and so a little better than it would be on others. `plain`
    is what `shifted` returned for the network alone; the sample holds 8-bit levels.
    """
    wrapped = _wrapped(model, sample, settings)
    found = shifted(wrapped, sample, settings)
    cost = _difference(found.correct, plain.correct, settings)
    gains = {
        radius: _difference(found.within(radius).robust, plain.within(radius).robust, settings)
        for radius in radii(settings)
    }
    crop = " x ".join(map(str, settings.crop))
    rule = "filter score" if _fits_filter(settings) else "hash"
    how = "as it is" if wrapped.size is None else "resized to what the network sees"
    return Axis(
        name="rics",
        method=f"The same network and shifts behind RICS: of each view the crop of {crop} pixels "
        f"with the largest {rule}, {how}; the network was not trained for it.",
        reading=_reading(found, gains[settings.radius], cost, settings),
        scalars={
            "rics_accuracy": Scalar(
                found.accuracy(level=settings.level), "with RICS: share of images that are right"
            ),
            **scalars_of(found, settings, "rics_"),
            "rics_cost": Scalar(cost, "accuracy with RICS minus without, paired"),
            **{
                f"rics_gain_{radius}": Scalar(
                    gain, f"robust accuracy with RICS minus without, up to {radius} px, paired"
                )
                for radius, gain in gains.items()
            },
        },
        tables={"rics": table_by_radius(found, settings)},
        outcomes={
            "rics_accuracy": found.correct.double().cpu().numpy(),
            **{
                f"rics_robust_{radius}": found.within(radius).robust.double().cpu().numpy()
                for radius in radii(settings)
            },
        },
        rows=sample.rows,
        examples=most_shifted(found, sample, settings),
    )


def rics(model: nn.Module, settings: Settings, size: tuple[int, int] | None) -> RICS:
    """Return a network behind RICS; crops too small for the filter are selected by their hash."""
    score = "filter" if _fits_filter(settings) else "hash"
    return RICS(model, settings.crop, score=score, size=size, key=settings.seed)


def _fits_filter(settings: Settings) -> bool:
    return min(settings.crop) >= _FILTER


def _wrapped(model: nn.Module, sample: Sample, settings: Settings) -> RICS:
    resized, plain = (rics(model, settings, size) for size in (sample.size, None))
    views, batch = sample.views, batch_of(sample.views)
    try:
        alone = predict(plain, views, batch_size=batch)
    # What a network says to images of another size is not known; most often a RuntimeError.
    except Exception:
        return resized
    hits = [
        int((labels == sample.labels).sum())
        for labels in (alone, predict(resized, views, batch_size=batch))
    ]
    return plain if hits[0] > hits[1] else resized


def _difference(first: Tensor, second: Tensor, settings: Settings) -> Interval:
    left, right = (each.double().cpu().numpy() for each in (first, second))
    return paired_bootstrap(left, right, level=settings.level, seed=settings.seed)


def _reading(found: Adversary, gain: Interval, cost: Interval, settings: Settings) -> str:
    price = (
        f"accuracy without a shift changes by {_points(cost)}"
        if decided(cost)
        else "no change of accuracy without a shift can be told"
    )
    if not decided(gain):
        return (
            "This sample does not tell whether RICS changes robust accuracy within "
            f"{settings.radius} px, {_points(gain)}; {price}."
        )
    reached = found.robust_accuracy(level=settings.level).estimate
    return (
        f"RICS changes robust accuracy within {settings.radius} px by {_points(gain)}, to "
        f"{percent(reached)}; {price}."
    )


def _points(interval: Interval) -> str:
    low, middle, high = (100 * end for end in (interval.low, interval.estimate, interval.high))
    return f"{middle:+.1f} [{low:+.1f}, {high:+.1f}] points"
