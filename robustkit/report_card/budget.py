"""How many images a budget of minutes buys for each axis, and how precise that makes the card."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robustkit.arguments import Number, check_count
from robustkit.corruptions import CORRUPTIONS, corrupt
from robustkit.data import as_float
from robustkit.errors import InputError
from robustkit.report_card.crop_selection import rics
from robustkit.report_card.sample import Sample, Settings, batch_of
from robustkit.report_card.spectrum import bands
from robustkit.stats import wilson

# What of a budget is planned with: intervals, pictures and figures take their time too.
_SHARE = 0.9
# Fewer images than this say nothing, whatever they cost.
LEAST = 8
_CORRUPTED = 4
_REPEATS = 3
_NOTHING = 1e-12


@dataclass(frozen=True)
class Rates:
    """Seconds an image: of a forward and a backward pass, of a corruption, of selecting crops."""

    forward: float
    backward: float
    corruption: float
    selection: float


@dataclass(frozen=True)
class Passes:
    """What an image costs: forward and backward passes, corruptions made, selections of crops."""

    forwards: Number = 0
    backwards: Number = 0
    corruptions: Number = 0
    selections: Number = 0

    def seconds(self, rates: Rates) -> float:
        """Return what an image costs at these rates, in seconds."""
        return (
            self.forwards * rates.forward
            + self.backwards * rates.backward
            + self.corruptions * rates.corruption
            + self.selections * rates.selection
        )


def passes_of(
    axes: tuple[str, ...], shape: tuple[int, ...], settings: Settings
) -> dict[str, Passes]:
    """Return what an image costs along each axis; crop selection comes with translations.

    `shape` is (C, H, W). Passes of clean images, corruptions and translations follow from what is
    measured. Those of minimal perturbations are as long as an image of CIFAR-10 took on ResNet-20,
    where passes of the few that are left at last cost more each.
    """
    cells = len(CORRUPTIONS) * len(settings.severities)
    shifts = 1 + (2 * settings.radius + 1) ** 2
    spaces = len(bands(shape)) + 1
    with_rics = "rics" in axes
    every = {
        "clean": Passes(1),
        "l2": Passes(14, 26),
        "sparse": Passes(66, 7),
        "spectrum": Passes(20 * spaces, 14 * spaces),
        "corruptions": Passes(cells + 1, 0, cells),
        # Most shifts select a crop that is known already.
        "translation": Passes(shifts * (1.25 if with_rics else 1), 0, 0, int(with_rics)),
    }
    wanted = {"translation" if axis == "rics" else axis for axis in axes}
    return {name: passes for name, passes in every.items() if name in wanted}


@torch.inference_mode(False)
def measure_rates(
    model: nn.Module,
    sample: Sample,
    settings: Settings,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> Rates:
    """Time a few passes of a model, and of what is done to images, on a sample's first images.

    `clock` returns seconds. Each is done once before it is timed, as a first call is slow.
    """
    views = sample.views[: batch_of(sample.views)]
    images = as_float(views)
    few = sample.as_levels().views[:_CORRUPTED]
    selector = rics(model, settings, sample.size)

    def forward() -> None:
        with torch.no_grad():
            model(images)

    def both() -> None:
        moving = images.detach().clone().requires_grad_()
        with torch.enable_grad():
            total = model(moving).sum()
        if total.requires_grad:
            torch.autograd.grad(total, moving, materialize_grads=True, allow_unused=True)

    def corruption() -> None:
        for name in CORRUPTIONS:
            corrupt(few, name, settings.severities[-1], preset=settings.preset)

    def selection() -> None:
        selector.select(few)

    def timed(work: Callable[[], None], count: int) -> float:
        work()
        _wait(images)
        start = clock()
        for _ in range(_REPEATS):
            work()
        _wait(images)
        return (clock() - start) / (_REPEATS * count)

    one = timed(forward, len(images))
    return Rates(
        forward=one,
        backward=max(0.0, timed(both, len(images)) - one),
        corruption=timed(corruption, len(few) * len(CORRUPTIONS)),
        selection=timed(selection, len(few)),
    )


def plan_samples(
    costs: Mapping[str, Number], available: int, minutes: Number, *, spent: Number = 0
) -> dict[str, int]:
    """Choose how many of the `available` images each axis gets, so that all take about `minutes`.

    - `costs`: seconds an image of each axis.
    - `spent`: seconds of the budget that are gone already.

    The width of an interval falls with the root of the number of images. The sum of the squared
    widths over all axes is smallest where the numbers are inversely proportional to the root of
    what an image costs, as in the optimal allocation of a stratified sample. No axis gets more
    images than there are, nor fewer than a handful. Raises `InputError` for minutes that are not
    positive, or too few for a handful of images an axis.

    Source: Neyman, J. R. Stat. Soc. 1934, section IV, for strata of equal variance and known cost.
    """
    if not 0 < minutes < math.inf:
        raise InputError(f"budget must be a positive number of minutes, got {minutes}.")
    check_count("the number of images", available, 1)
    least, seconds = min(LEAST, available), _SHARE * 60 * float(minutes) - spent

    def counts(scale: Number) -> dict[str, int]:
        return {
            axis: max(least, min(available, math.floor(scale / math.sqrt(max(cost, _NOTHING)))))
            for axis, cost in costs.items()
        }

    def total(found: Mapping[str, int]) -> float:
        return sum(costs[axis] * count for axis, count in found.items())

    if total(counts(0)) > seconds:
        needed = math.ceil(10 * (spent + total(counts(0))) / _SHARE / 60) / 10
        raise InputError(
            f"a budget of {minutes:g} minutes is too small: {least} images an axis take about "
            f"{needed:g} minutes. Give more, or measure fewer axes."
        )
    low, high = 0.0, (available + 1) * math.sqrt(max([*costs.values(), _NOTHING]))
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if total(counts(middle)) <= seconds else (low, middle)
    return counts(low)


def half_width(count: int, *, level: float = 0.95) -> float:
    """Return half the width of the interval of a share of `count` images, where it is widest.

    The interval of a median holds the same share of the images to either side. Raises `InputError`
    for a count below 1. Source: `robustkit.stats.wilson` at one half.
    """
    check_count("count", count, 1)
    found = wilson(count // 2, count, level=level)
    return (found.high - found.low) / 2


def _wait(images: Tensor) -> None:
    if images.device.type == "cuda":
        torch.cuda.synchronize(images.device)
