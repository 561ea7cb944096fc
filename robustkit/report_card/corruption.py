"""The axis of common corruptions: accuracy by family and severity, and mean corruption error."""

import dataclasses
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from robustkit.corruptions import (
    CORRUPTIONS,
    FAMILIES,
    CorruptionTable,
    corrupt,
    evaluate_corruptions,
    image_scores,
)
from robustkit.corruptions.registry import find, preset_of
from robustkit.data import as_float
from robustkit.prediction import labels_and_classes, predict
from robustkit.report_card.card import Array, Axis, Examples, Scalar, table_of
from robustkit.report_card.resampling import widened
from robustkit.report_card.rivals import other_mean, rival
from robustkit.report_card.sample import Sample, Settings, batch_of
from robustkit.report_card.words import between, percent
from robustkit.stats import Interval, bootstrap, wilson

_IMAGENET = 1000
_ALEXNETS = (
    " The unit of the mean corruption error, AlexNet's errors, was measured on the files of "
    "ImageNet-C; here the images are corrupted anew, and published numbers are not comparable."
)


def measure_corruptions(model: nn.Module, sample: Sample, settings: Settings) -> Axis:
    """Measure accuracy under the 15 corruptions of the benchmark; see `Axis`.

    The mean corruption error is in units of AlexNet's where that is a comparison of like with like:
    for a network of 1000 classes that sees images of ImageNet's size, with the strengths of
    ImageNet-C at all severities. Elsewhere it is the plain mean error, as is usual on CIFAR.
    """
    views = sample.views
    results = evaluate_corruptions(
        model,
        views,
        sample.labels,
        severities=settings.severities,
        seed=settings.seed,
        indices=sample.rows,
        preset=settings.preset,
        batch_size=batch_of(views),
    )
    preset = preset_of(find(CORRUPTIONS[0]), settings.preset, min(sample.size))
    in_alexnets = preset == "imagenet" and _as_on_imagenet(model, sample, settings)
    shares = image_scores(results, severities=settings.severities) / 100
    accuracy = _mean(shares, settings)
    by_family = {
        family: image_scores(results, corruptions=names, severities=settings.severities) / 100
        for family, names in FAMILIES.items()
    }
    families = {family: _mean(one, settings) for family, one in by_family.items()}
    return Axis(
        name="corruptions",
        method=f"The fifteen corruptions of ImageNet-C with the strengths of the {preset} preset, "
        f"made here, at severities {', '.join(map(str, settings.severities))}."
        + (_ALEXNETS if in_alexnets else ""),
        reading=_reading(accuracy, by_family, settings),
        scalars={
            "corruption_accuracy": Scalar(
                accuracy, "accuracy under corruptions, mean over all severities"
            ),
            "mce": Scalar(
                _mean_error(results, in_alexnets, settings),
                "mean corruption error, of AlexNet's" if in_alexnets else "plain mean error",
                "%",
            ),
            **{
                f"{family}_accuracy": Scalar(
                    found, f"accuracy under {family}, mean over all severities"
                )
                for family, found in families.items()
            },
        },
        tables={
            "corruption_cells": _by_cell(results, settings),
            "corruption_families": _by_severity(results, settings),
        },
        outcomes={"corruption_accuracy": shares},
        rows=sample.rows,
        examples=_examples(model, sample, results, settings),
    )


def _as_on_imagenet(model: nn.Module, sample: Sample, settings: Settings) -> bool:
    usual = preset_of(find(CORRUPTIONS[0]), None, min(sample.size))
    outputs = labels_and_classes(model, sample.views[:1], 1, True)[1]
    return usual == "imagenet" and outputs == _IMAGENET and len(settings.severities) == 5


def _mean(values: Array, settings: Settings, highest: float = 1.0) -> Interval:
    found = bootstrap(values, level=settings.level, seed=settings.seed)
    return widened(found, values, 0, highest)


def _mean_error(results: CorruptionTable, in_alexnets: bool, settings: Settings) -> Interval:
    reference = "alexnet" if in_alexnets else None
    # In AlexNet's units an image that is never right counts for more than 100%.
    never = dataclasses.replace(results, hits=torch.zeros_like(results.hits))
    errors, most = (
        image_scores(one, "mce", reference, severities=settings.severities)
        for one in (results, never)
    )
    return _mean(errors, settings, float(most[0]))


def _by_cell(results: CorruptionTable, settings: Settings) -> dict[str, list[object]]:
    rows = []
    for (name, severity), hits in zip(results.cells, results.hits, strict=True):
        found = wilson(int(hits.sum()), len(hits), level=settings.level)
        rows.append((name, severity, found.estimate, found.low, found.high))
    return table_of(("corruption", "severity", "accuracy", "low", "high"), rows)


def _by_severity(results: CorruptionTable, settings: Settings) -> dict[str, list[object]]:
    rows = []
    for family, names in {**FAMILIES, "all": CORRUPTIONS}.items():
        for severity in settings.severities:
            shares = image_scores(results, corruptions=names, severities=[severity]) / 100
            found = _mean(shares, settings)
            rows.append((family, severity, found.estimate, found.low, found.high))
    return table_of(("family", "severity", "accuracy", "low", "high"), rows)


def _reading(accuracy: Interval, families: Mapping[str, Array], settings: Settings) -> str:
    said = f"Right on {between(accuracy)} of corrupted images"
    names, means = list(families), [float(one.mean()) for one in families.values()]
    differs = other_mean(families, settings.level, settings.seed)
    (worst, above), (best, below) = (rival(means, differs, highest=end) for end in (False, True))
    if not differs(worst, best):
        return f"{said}; this sample does not tell the families of corruptions apart."
    low, high = (f"{names[one]}, {percent(means[one])}" for one in (worst, best))
    if above is None and below is None:
        return f"{said}: worst under {low}, best under {high}."
    lowest, highest = (
        f"{word} in this sample: {shown}"
        if other is None
        else f"{word} in this sample: {shown}, which it does not tell from {names[other]}"
        for word, shown, other in (("lowest", low, above), ("highest", high, below))
    )
    return f"{said}; {lowest}; {highest}."


def _examples(
    model: nn.Module, sample: Sample, results: CorruptionTable, settings: Settings
) -> Examples | None:
    """Return images that are right as they are, under the weakest severity that breaks most."""
    if results.clean is None:
        return None
    broken = ~results.hits & results.clean
    lost = broken.sum(dim=0)
    chosen = lost.argsort(descending=True, stable=True)[: settings.examples]
    chosen = chosen[lost[chosen] > 0].to(sample.rows.device)
    if len(chosen) == 0:
        return None
    cells = [_weakest(results, broken[:, place]) for place in chosen.tolist()]
    views = sample.views[chosen]
    after = torch.cat(
        [_spoilt(views, sample, chosen, at, *cells[at], settings) for at in range(len(chosen))]
    )
    return Examples(
        rows=sample.rows[chosen],
        labels=sample.labels[chosen],
        predictions=predict(model, after),
        before=as_float(views),
        after=as_float(after),
        details=tuple(f"{name.replace('_', ' ')}, severity {severity}" for name, severity in cells),
    )


def _weakest(results: CorruptionTable, broken: Tensor) -> tuple[str, int]:
    places = broken.nonzero()[:, 0].tolist()
    # The first of the lowest severity: what a viewer is least likely to have expected.
    return min((results.cells[place] for place in places), key=lambda cell: cell[1])


def _spoilt(
    views: Tensor,
    sample: Sample,
    chosen: Tensor,
    at: int,
    name: str,
    severity: int,
    settings: Settings,
) -> Tensor:
    return corrupt(
        views[at : at + 1],
        name,
        severity,
        seed=settings.seed,
        indices=sample.rows[chosen[at : at + 1]],
        preset=settings.preset,
    )
