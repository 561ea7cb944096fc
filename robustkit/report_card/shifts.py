"""The axis of translations: what shifts by whole pixels do to the labels."""

from collections.abc import Mapping

from torch import nn

from robustkit.data import as_float
from robustkit.report_card.card import Array, Axis, Examples, Scalar, Table, table_of
from robustkit.report_card.resampling import widened
from robustkit.report_card.sample import Sample, Settings, batch_of
from robustkit.report_card.words import between
from robustkit.stats import Interval
from robustkit.translation import Adversary, CropShift, adversary

_MEASURES = {
    "consistency": "share of images and shifts that keep the label",
    "fooled": "share of images whose label some shift changes",
    "robust": "share of images that are right without a shift and after all",
}


def shifted(model: nn.Module, sample: Sample, settings: Settings) -> Adversary:
    """Label the images after every shift by up to the radius.

    Where the images are larger than what the network sees, the window moves inside them; else what
    enters is mirrored.
    """
    return adversary(
        model,
        sample.shifted(settings.radius),
        sample.labels,
        sample.shift_model(settings.radius),
        settings.radius,
        batch_size=batch_of(sample.views),
    )


def translation_axis(found: Adversary, sample: Sample, settings: Settings) -> Axis:
    """Tell what shifts by one pixel and by up to the radius do; see `robustkit.report_card.Axis`.

    `found` is what `shifted` returned for this sample.
    """
    inside = isinstance(sample.shift_model(settings.radius), CropShift)
    where = (
        "of the window that the network sees, inside the larger image"
        if inside
        else "of images that are not larger by twice that than what the network sees: what enters "
        "is mirrored"
    )
    reach = f"up to {settings.radius} rows and columns"
    return Axis(
        name="translation",
        method=f"All {len(found.shifts)} shifts by {reach}, {where}.",
        reading=_reading(found, settings),
        scalars=scalars_of(found, settings),
        tables={"translation": table_by_radius(found, settings)},
        outcomes=_outcomes(found, settings),
        rows=sample.rows,
        examples=most_shifted(found, sample, settings),
    )


def radii(settings: Settings) -> tuple[int, ...]:
    """Return the radii that a card tells: one pixel, and the largest."""
    return (1,) if settings.radius == 1 else (1, settings.radius)


def scalars_of(found: Adversary, settings: Settings, prefix: str = "") -> dict[str, Scalar]:
    """Return the numbers of an adversary, named by prefix, measure and radius."""
    behind = "with RICS: " if prefix else ""
    return {
        f"{prefix}{name}_{radius}": Scalar(
            interval, f"{behind}{_MEASURES[name]}, up to {radius} px"
        )
        for radius in radii(settings)
        for name, interval in _intervals(found.within(radius), settings).items()
    }


def table_by_radius(found: Adversary, settings: Settings) -> Table:
    """Return one row a radius and measure."""
    return table_of(
        ("radius", "measure", "value", "low", "high"),
        [
            (radius, name, interval.estimate, interval.low, interval.high)
            for radius in radii(settings)
            for name, interval in _intervals(found.within(radius), settings).items()
        ],
    )


def _outcomes(found: Adversary, settings: Settings) -> Mapping[str, Array]:
    values = {}
    for radius in radii(settings):
        part = found.within(radius)
        for name, each in (
            ("consistency", part.consistent),
            ("fooled", part.fooled),
            ("robust", part.robust),
        ):
            values[f"{name}_{radius}"] = each.double().cpu().numpy()
    return values


def most_shifted(found: Adversary, sample: Sample, settings: Settings) -> Examples | None:
    """Return the images, of those that were right, that most shifts fool; after the first one."""
    flips = found.flips.sum(dim=1) * found.correct
    chosen = flips.argsort(descending=True, stable=True)[: settings.examples]
    chosen = chosen[flips[chosen] > 0]
    if len(chosen) == 0:
        return None
    shift_model, worst = sample.shift_model(settings.radius), found.worst[chosen]
    sources = sample.shifted(settings.radius)[chosen]
    first = found.flips[chosen].int().argmax(dim=1, keepdim=True)
    return Examples(
        rows=sample.rows[chosen],
        labels=sample.labels[chosen],
        predictions=found.labels[chosen].gather(1, first)[:, 0],
        before=as_float(shift_model.base(sources)),
        after=as_float(shift_model.apply(sources, worst[:, None])[:, 0]),
        details=tuple(
            f"{rows:+d} rows, {columns:+d} columns; {count} of {len(found.shifts)} shifts fool it"
            for (rows, columns), count in zip(worst.tolist(), flips[chosen].tolist(), strict=True)
        ),
    )


def _intervals(found: Adversary, settings: Settings) -> dict[str, Interval]:
    consistency = found.consistency(level=settings.level, seed=settings.seed)
    return {
        "consistency": widened(consistency, found.consistent.cpu().numpy(), 0, 1),
        "fooled": found.fooled_rate(level=settings.level),
        "robust": found.robust_accuracy(level=settings.level),
    }


def _reading(found: Adversary, settings: Settings) -> str:
    one, far = (
        found.within(radius).fooled_rate(level=settings.level) for radius in (1, settings.radius)
    )
    said = f"Some shift by one pixel changes the label of {between(one)} of images"
    if settings.radius == 1:
        return f"{said}."
    return f"{said}, some shift by up to {settings.radius} that of {between(far)}."
