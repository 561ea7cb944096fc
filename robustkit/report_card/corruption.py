"""The axis of common corruptions: accuracy by family and severity, and mean corruption error."""

from collections.abc import Sequence

import numpy as np
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
from robustkit.prediction import predict
from robustkit.report_card.card import Axis, Examples, Scalar, table_of
from robustkit.report_card.sample import Sample, Settings, batch_of
from robustkit.report_card.words import between, percent
from robustkit.stats import Interval, bootstrap, wilson


def measure_corruptions(model: nn.Module, sample: Sample, settings: Settings) -> Axis:
    """Measure accuracy under the 15 corruptions of the benchmark; see `Axis`.

    The mean corruption error is in units of AlexNet's where the strengths are those of ImageNet-C
    and all severities are measured, and the plain mean error elsewhere, as is usual on CIFAR.
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
    in_alexnets = preset == "imagenet" and len(settings.severities) == 5
    reference = "alexnet" if in_alexnets else None
    shares = image_scores(results, severities=settings.severities) / 100
    errors = image_scores(results, "mce", reference, severities=settings.severities)
    accuracy, mean_error = (_mean(one, settings) for one in (shares, errors))
    families = {
        family: _score(results, names, settings.severities, settings)
        for family, names in FAMILIES.items()
    }
    return Axis(
        name="corruptions",
        method=f"The fifteen corruptions of ImageNet-C with the strengths of the {preset} preset, "
        f"made here, at severities {', '.join(map(str, settings.severities))}.",
        reading=_reading(accuracy, families),
        scalars={
            "corruption_accuracy": Scalar(
                accuracy, "accuracy under corruptions, mean over all severities"
            ),
            "mce": Scalar(
                mean_error,
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


def _mean(values: np.ndarray, settings: Settings) -> Interval:
    return bootstrap(values, level=settings.level, seed=settings.seed)


def _score(
    results: CorruptionTable,
    names: Sequence[str],
    severities: Sequence[int],
    settings: Settings,
) -> Interval:
    return _mean(image_scores(results, corruptions=names, severities=severities) / 100, settings)


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
            found = _score(results, names, [severity], settings)
            rows.append((family, severity, found.estimate, found.low, found.high))
    return table_of(("family", "severity", "accuracy", "low", "high"), rows)


def _reading(accuracy: Interval, families: dict[str, Interval]) -> str:
    said = f"Right on {between(accuracy)} of corrupted images"
    worst = min(families, key=lambda family: families[family].estimate)
    best = max(families, key=lambda family: families[family].estimate)
    if families[worst].high >= families[best].low:
        return f"{said}; this sample does not tell the families of corruptions apart."
    return (
        f"{said}: worst under {worst}, {percent(families[worst].estimate)}, best under {best}, "
        f"{percent(families[best].estimate)}."
    )


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
