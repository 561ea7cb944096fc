"""The axis of crop selection: what the same network does under shifts behind RICS."""

from torch import Tensor, nn

from robustkit.errors import InputError
from robustkit.prediction import predict
from robustkit.report_card.card import Axis, Scalar
from robustkit.report_card.resampling import paired_means
from robustkit.report_card.sample import Sample, Settings, batch_of
from robustkit.report_card.shifts import (
    most_shifted,
    radii,
    scalars_of,
    shifted,
    table_by_radius,
)
from robustkit.report_card.words import decided, percent
from robustkit.stats import Interval
from robustkit.translation import RICS, Adversary

# Rows and columns of the filter that scores crops.
_FILTER = 7
# Fewer images than this do not choose better than a coin.
_OTHERS = 32


def rics_axis(
    model: nn.Module,
    plain: Adversary,
    sample: Sample,
    settings: Settings,
    others: Sample | None = None,
) -> Axis:
    """Measure the network behind RICS, and the difference on the same images; see `Axis`.

    RICS classifies one crop of each view, selected by its own pixels. The network gets it as it is,
    or resized to what it usually sees: whichever way it is right more often on `others`, images
    that this axis does not measure. With a handful of those, or None, the sample itself has to
    decide, and the method says so, as the better of two ways is then a little better than it would
    be on other images. A network that takes no crop as it is gets it resized. `plain` is what
    `shifted` returned for the network alone; both samples hold 8-bit levels.
    """
    wrapped, how = _wrapped(model, sample, settings, others)
    found = shifted(wrapped, sample, settings)
    cost = _difference(found.correct, plain.correct, settings)
    gains = {
        radius: _difference(found.within(radius).robust, plain.within(radius).robust, settings)
        for radius in radii(settings)
    }
    crop = " x ".join(map(str, settings.crop))
    rule = "filter score" if _fits_filter(settings) else "hash"
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


def _wrapped(
    model: nn.Module, sample: Sample, settings: Settings, others: Sample | None
) -> tuple[RICS, str]:
    resized, plain = (rics(model, settings, size) for size in (sample.size, None))
    if not _takes(plain, sample):
        return resized, "resized to what the network sees, which takes no other size"
    unseen = others is not None and len(others) >= _OTHERS
    judged = others if others is not None and unseen else sample
    views = judged.views
    hits, hits_resized = (
        int((predict(each, views, batch_size=batch_of(views)) == judged.labels).sum())
        for each in (plain, resized)
    )
    where = (
        f"on {len(judged)} images beside those measured here"
        if unseen
        else "on these very images, which flatters RICS a little,"
    )
    if hits > hits_resized:
        return plain, f"as it is, since {where} the network is right more often so"
    how = "resized to what the network sees"
    return resized, f"{how}, since {where} it is right no more often with the crop as it is"


def _takes(network: RICS, sample: Sample) -> bool:
    """Say whether a network takes crops as they are; of one image, as memory is no matter here."""
    try:
        predict(network, sample.views[:1])
    # What networks raise for another size; `predict` tells of most as `InputError`, and what has
    # to do with memory passes.
    except (InputError, AssertionError):
        return False
    return True


def _difference(first: Tensor, second: Tensor, settings: Settings) -> Interval:
    left, right = (each.double().cpu().numpy() for each in (first, second))
    return paired_means(left, right, settings.level, settings.seed)


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
