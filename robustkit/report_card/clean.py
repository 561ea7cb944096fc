"""The axis of clean images: how many are right, by class, and the most confident mistakes."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from robustkit.data import as_float
from robustkit.errors import InputError
from robustkit.report_card.card import Axis, Examples, Scalar, table_of
from robustkit.report_card.rivals import rival
from robustkit.report_card.sample import Sample, Settings, batch_of
from robustkit.report_card.words import between, counted, percent
from robustkit.stats import Interval, wilson


def measure_clean(model: nn.Module, sample: Sample, settings: Settings) -> Axis:
    """Measure the accuracy of a model on images as they are; see `robustkit.report_card.Axis`."""
    predictions, confidences = _predicted(model, sample)
    right = predictions == sample.labels
    accuracy = wilson(int(right.sum()), len(sample), level=settings.level)
    shares = _by_class(right, sample.labels, settings, settings.level)
    # One of many classes is the worst by chance: together the intervals hold at the level.
    apart = 1 - (1 - settings.level) / len(shares)
    wide = _by_class(right, sample.labels, settings, apart)
    return Axis(
        name="clean",
        method="The class with the largest output for each image as it is.",
        reading=_reading(accuracy, len(sample), wide),
        scalars={"accuracy": Scalar(accuracy, "share of images that are right")},
        tables={"classes": _table(shares)},
        outcomes={"accuracy": right.double().cpu().numpy()},
        rows=sample.rows,
        examples=_mistakes(sample, predictions, confidences, settings.examples),
    )


@torch.no_grad()
def _predicted(model: nn.Module, sample: Sample) -> tuple[Int[Tensor, " n"], Float[Tensor, " n"]]:
    views = sample.views
    logits = torch.cat([model(as_float(part)) for part in views.split(batch_of(views))])
    if logits.isnan().any():
        raise InputError("the model returns NaN; check its weights and the range of its input.")
    # An infinite logit is a certain one.
    confidences = logits.softmax(dim=1).amax(dim=1).nan_to_num(nan=1.0)
    return logits.argmax(dim=1), confidences


def _by_class(
    right: Bool[Tensor, " n"], labels: Int[Tensor, " n"], settings: Settings, level: float
) -> list[tuple[str, Interval]]:
    # A list, because two classes may have one name.
    found = []
    for label, name in enumerate(settings.classes):
        hits = right[labels == label]
        if len(hits):
            found.append((name, wilson(int(hits.sum()), len(hits), level=level)))
    return found


def _table(shares: list[tuple[str, Interval]]) -> dict[str, list[object]]:
    return table_of(
        ("class", "images", "accuracy", "low", "high"),
        [(name, one.count, one.estimate, one.low, one.high) for name, one in shares],
    )


def _reading(accuracy: Interval, count: int, shares: list[tuple[str, Interval]]) -> str:
    said = f"Right on {between(accuracy)} of {counted(count, 'image')}."

    def differs(first: int, second: int) -> bool:
        return shares[first][1].high < shares[second][1].low

    place, other = rival([one.estimate for _, one in shares], differs)
    name, worst = shares[place]
    # One that is not even told from all together is the lowest by chance as likely as not.
    if worst.high >= accuracy.low:
        return said
    if other is None:
        return f"{said} Worst at {name}, {percent(worst.estimate)}."
    return (
        f"{said} Lowest in this sample: {name}, {percent(worst.estimate)}; this sample does not "
        f"tell it from {shares[other][0]}."
    )


def _mistakes(
    sample: Sample, predictions: Tensor, confidences: Tensor, count: int
) -> Examples | None:
    wrong = confidences.masked_fill(predictions == sample.labels, -1.0)
    chosen = wrong.argsort(descending=True, stable=True)[:count]
    chosen = chosen[wrong[chosen] >= 0]
    if len(chosen) == 0:
        return None
    images = as_float(sample.views[chosen])
    return Examples(
        rows=sample.rows[chosen],
        labels=sample.labels[chosen],
        predictions=predictions[chosen],
        before=images,
        after=images,
        details=tuple(f"with confidence {percent(one)}" for one in confidences[chosen].tolist()),
    )
