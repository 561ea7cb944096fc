"""The report card of a model: all axes measured on one batch of labelled images."""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from robustkit.arguments import Number
from robustkit.corruptions.severities import ALL_SEVERITIES
from robustkit.digests import digest
from robustkit.errors import InputError
from robustkit.report_card.budget import measure_rates, passes_of, plan_samples
from robustkit.report_card.card import AXES, Axis, Report, Table
from robustkit.report_card.cautions import cautions
from robustkit.report_card.clean import measure_clean
from robustkit.report_card.corruption import measure_corruptions
from robustkit.report_card.crop_selection import rics_axis
from robustkit.report_card.perturbations import measure_l2, measure_sparse
from robustkit.report_card.references import references as known_networks
from robustkit.report_card.request import (
    Request,
    counts_of,
    crop_of,
    group_of,
    prepare,
    window_of,
)
from robustkit.report_card.sample import Sample, Settings
from robustkit.report_card.shifts import shifted, translation_axis
from robustkit.report_card.spectrum import measure_spectrum
from robustkit.report_card.words import counted, printable
from robustkit.translation import Adversary
from robustkit.translation.levels import Size

_MEASURES: Mapping[str, Callable[[nn.Module, Sample, Settings], Axis]] = {
    "clean": measure_clean,
    "l2": measure_l2,
    "sparse": measure_sparse,
    "spectrum": measure_spectrum,
    "corruptions": measure_corruptions,
}


def report(
    model: nn.Module,
    images: Shaped[Tensor, "..."],
    labels: Shaped[Tensor, "..."],
    *,
    name: str = "network",
    data: str = "",
    classes: Sequence[str] | None = None,
    size: Size | None = None,
    budget: Number | None = None,
    samples: int | Mapping[str, int] | None = None,
    axes: Sequence[str] = AXES,
    severities: Sequence[int] = ALL_SEVERITIES,
    preset: str | None = None,
    radius: int = 3,
    crop: Size | None = None,
    examples: int = 6,
    level: float = 0.95,
    seed: int = 0,
    device: str | torch.device | None = None,
) -> Report:
    """Measure how robust and how invariant a classifier is; return the tables of its report card.

    - `model`: in eval mode, from images in [0, 1] to logits `(N, K)`; normalisation belongs to it.
    - `images`: `(N, C, H, W)`, uint8 or floating point in [0, 1]; `labels`: `(N,)`, int64.
    - `name`, `data`: what they are called. `data` names a dataset as `robustkit.data.load` does;
      numbers of known networks on the same one are added.
    - `classes`: names of the classes, by default their indices.
    - `size`: rows and columns of what the network sees, or one number for both, by default the
      whole image. Of larger images it sees the middle, and shifts move that window inside them;
      else what enters is mirrored.
    - `budget`: minutes that all measurements may take, about; the sizes of the samples follow from
      the speed of a few passes. Or `samples`: images an axis, one number for all axes or some by
      name; by default all for clean images, and of the others at most 500, of margins at most 200.
    - `axes`: what to measure, some of `AXES`; "rics" is measured on the sample of "translation".
    - `severities`, `preset`: of corruptions, as in `robustkit.corruptions.corrupt`.
    - `radius`: the largest shift, in pixels, at least 1. `crop`: the size of crops that RICS
      selects, by default seven eighths of `size`.
    - `examples`: how many of the worst images of an axis are kept; 0 for none.
    - `level`: of all intervals. `seed`: of which images are measured, and of all that is random.
    - `device`: where to measure; by default where the model is. The model is moved there.

    Every axis is measured on the first images of one random order, so that smaller samples are part
    of larger ones. Raises `InputError` for a model, images, labels or arguments that cannot be
    worked with.
    """
    return reports(
        {name: model},
        images,
        labels,
        data=data,
        classes=classes,
        size=size,
        budget=budget,
        samples=samples,
        axes=axes,
        severities=severities,
        preset=preset,
        radius=radius,
        crop=crop,
        examples=examples,
        level=level,
        seed=seed,
        device=device,
    )[name]


def reports(
    models: Mapping[str, nn.Module],
    images: Shaped[Tensor, "..."],
    labels: Shaped[Tensor, "..."],
    *,
    data: str = "",
    classes: Sequence[str] | None = None,
    size: Size | None = None,
    budget: Number | None = None,
    samples: int | Mapping[str, int] | None = None,
    axes: Sequence[str] = AXES,
    severities: Sequence[int] = ALL_SEVERITIES,
    preset: str | None = None,
    radius: int = 3,
    crop: Size | None = None,
    examples: int = 6,
    level: float = 0.95,
    seed: int = 0,
    device: str | torch.device | None = None,
    references: bool = True,
    announce: Callable[[str], None] | None = None,
) -> dict[str, Report]:
    """Measure several models by name on the same images, ready for `compare`; a report a name.

    - `budget`: minutes for all of them together.
    - `references`: whether numbers of known networks on the same data are added.
    - `announce`: called once, before the measurements, with a sentence about how long they will
      take, by the speed of a few passes; by default nothing is timed without a budget.

    Other arguments and errors are those of `report`, whose card each model would have alone for the
    same samples.
    """
    window = window_of(images, size)
    settings = Settings(
        classes=tuple(classes or ()),
        crop=crop_of(window, crop),
        seed=seed,
        level=level,
        severities=tuple(severities),
        preset=preset,
        radius=radius,
        examples=examples,
    )
    request = prepare(models, images, labels, window, axes, settings, device)
    counts = counts_of(samples, request.axes, len(images))
    costs: dict[str, dict[str, float]] = {}
    if budget is not None and samples is not None:
        raise InputError("give either a budget, which chooses the samples, or the samples.")
    if budget is not None or announce is not None:
        start = time.perf_counter()
        costs = {name: _costs(model, request) for name, model in request.models.items()}
        together = {axis: sum(one[axis] for one in costs.values()) for axis in counts}
        if budget is not None:
            # On a slow network these few passes are a part of the budget.
            spent = time.perf_counter() - start
            counts = plan_samples(together, len(images), budget, spent=spent)
        if announce is not None:
            announce(_expected(sum(together[axis] * counts[axis] for axis in counts)))
    sample, given = (
        request.sample(max(counts.values())),
        digest({"images": images, "labels": labels}),
    )
    known: Table = (
        known_networks(data, request.axes, request.settings, tuple(images.shape[1:]), window)
        if references
        else {}
    )
    found = {}
    for name, model in request.models.items():
        measured = _measured(model, sample, request, counts)
        found[name] = Report(
            name=printable(name),
            data=printable(data),
            classes=request.settings.classes,
            axes=measured,
            count=len(images),
            digest=given,
            budget=None if budget is None else float(budget),
            planned={axis: cost * counts[axis] for axis, cost in costs.get(name, {}).items()},
            cautions=cautions(measured, request, named=len(classes or ())),
            references=known,
            conditions=_conditions(request),
        )
    return found


def _expected(seconds: float) -> str:
    minutes = counted(max(1, math.ceil(seconds / 60)), "minute")
    return f"The measurements take about {minutes} on this machine, by the speed of a few passes."


def _conditions(request: Request) -> dict[str, Any]:
    settings = request.settings
    return {
        "size": request.window,
        **{
            name: getattr(settings, name)
            for name in ("crop", "radius", "severities", "preset", "level", "seed")
        },
    }


def _costs(model: nn.Module, request: Request) -> dict[str, float]:
    rates = measure_rates(model, request.sample(512), request.settings)
    passes = passes_of(request.axes, request.shape, request.settings)
    return {axis: one.seconds(rates) for axis, one in passes.items()}


def _measured(
    model: nn.Module, whole: Sample, request: Request, counts: Mapping[str, int]
) -> dict[str, Axis]:
    settings = request.settings
    found: dict[str, Axis] = {}
    plain: Adversary | None = None
    for axis in request.axes:
        sample, start = whole.head(counts[group_of(axis)]), time.perf_counter()
        if axis in _MEASURES:
            one = _MEASURES[axis](model, sample, settings)
        else:
            # One exhaustive adversary serves both axes.
            sample = sample.as_levels()
            plain = shifted(model, sample, settings) if plain is None else plain
            one = (
                translation_axis(plain, sample, settings)
                if axis == "translation"
                else rics_axis(model, plain, sample, settings, _after(request, len(sample)))
            )
        found[axis] = dataclasses.replace(one, seconds=time.perf_counter() - start)
    return found


def _after(request: Request, count: int) -> Sample:
    """Return as many images again that the order puts after the first `count`, or fewer."""
    both = request.sample(2 * count).as_levels()
    sources, labels, rows = (one[count:] for one in (both.sources, both.labels, both.rows))
    return Sample(sources, labels, rows, both.size)
