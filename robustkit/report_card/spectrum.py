"""The axis of margins: how far the boundary is in narrow bands of frequencies, low to high."""

import math

import numpy as np
import torch
from torch import nn

from robustkit.margins import Block, Margins, Whole, diagonal_blocks, margins
from robustkit.report_card.card import Array, Axis, Examples, Scalar, table_of
from robustkit.report_card.resampling import paired_medians
from robustkit.report_card.rivals import lower_median, rival
from robustkit.report_card.sample import Sample, Settings, batch_of
from robustkit.report_card.words import number
from robustkit.stats import Interval

# Beyond this distance, many times the size of an image, a boundary does not count as found.
_LONGEST = 1000.0


def bands(shape: tuple[int, ...]) -> list[Block]:
    """Return the DCT blocks along the diagonal of images `(C, H, W)` that a card measures.

    For 32 x 32 and 224 x 224 pixels they are those of the paper: 8 x 8 coefficients every 2, and
    16 x 16 side by side. Other sizes are treated alike: up to 64 pixels a quarter of the side every
    sixteenth of it, and above a fourteenth side by side.
    """
    side = min(shape[1:])
    if side <= 64:
        return diagonal_blocks(shape, max(1, side // 4), max(1, side // 16))
    return diagonal_blocks(shape, side // 14)


def measure_spectrum(model: nn.Module, sample: Sample, settings: Settings) -> Axis:
    """Measure margins in the DCT blocks of `bands`, and in the whole space for the null curve.

    Every margin is away from the class that the model gives, right or wrong. See
    `robustkit.report_card.Axis`.
    """
    images = sample.images
    blocks = bands(tuple(images.shape[1:]))
    whole = Whole(tuple(images.shape[1:]))
    found = margins(
        model,
        images,
        [*blocks, whole],
        refine="normal",
        max_margin=_LONGEST,
        chunk=batch_of(images),
    )
    distances = found.distances.double().cpu().numpy()
    medians = found.medians(level=settings.level)
    ends = _ratio(distances[-2], distances[0], settings)
    null = found.null_curve(medians[-1].estimate)[:-1]
    table = table_of(
        ("frequency", "median", "low", "high", "null", "found"),
        [
            (frequency(block), one.estimate, one.low, one.high, expected, share)
            for block, one, expected, share in zip(
                blocks, medians, null, found.found.tolist(), strict=False
            )
        ],
    )
    nearest, other = rival(
        [one.estimate for one in medians[:-1]], lower_median(distances[:-1], settings.level)
    )
    return Axis(
        name="spectrum",
        method="DeepFool within DCT blocks along the diagonal, turned towards the boundary's "
        "normal, without bounds on pixels; the null curve is where the boundary would be if its "
        "normal preferred no direction.",
        reading=_reading(medians[:-1], null, blocks, (nearest, other), ends),
        scalars={
            "margin_whole": Scalar(medians[-1], "median distance to the boundary, no bounds"),
            "margin_low": Scalar(medians[0], "median margin in the lowest band"),
            "margin_high": Scalar(medians[-2], "median margin in the highest band"),
            "margin_high_over_low": Scalar(ends, "highest band over lowest, paired"),
        },
        tables={"spectrum": table},
        outcomes={
            "margin_whole": distances[-1],
            "margin_low": distances[0],
            "margin_high": distances[-2],
        },
        rows=sample.rows,
        examples=_examples(model, sample, found, blocks[nearest], nearest, settings),
    )


def frequency(block: Block) -> float:
    """Return the middle of a block in cycles a pixel: coefficient i of H rows is i / (2 H)."""
    return (block.top + (block.height - 1) / 2) / (2 * block.shape[1])


def _ratio(upper: Array, lower: Array, settings: Settings) -> Interval:
    top, bottom = (np.log(np.maximum(values, 1e-12)) for values in (upper, lower))
    found = paired_medians(top, bottom, settings.level, settings.seed)
    estimate, low, high = (math.exp(one) for one in (found.estimate, found.low, found.high))
    return Interval(estimate, low, high, found.level, found.count)


def _reading(
    medians: list[Interval],
    null: list[float],
    blocks: list[Block],
    places: tuple[int, int | None],
    ends: Interval,
) -> str:
    nearest, other = places
    if not math.isfinite(medians[nearest].estimate):
        return "In no band of frequencies was a boundary found for half of the images."
    here = f"{number(frequency(blocks[nearest]))} cycles a pixel"
    far = number(medians[nearest].estimate)
    if 0 < null[nearest] < math.inf:
        far += f" ({number(medians[nearest].estimate / null[nearest])} times the null curve)"
    if other is None:
        said = f"The boundary is nearest at {here}, at {far}"
    else:
        said = (
            f"Nearest in this sample: the boundary at {here}, at {far}; this sample does not tell "
            f"it from the one at {number(frequency(blocks[other]))} cycles a pixel"
        )
    return f"{said}; {_high_and_low(medians[0], medians[-1], ends)}."


def _high_and_low(lowest: Interval, highest: Interval, ends: Interval) -> str:
    missed = [
        name for name, one in (("lowest", lowest), ("highest", highest)) if math.isinf(one.estimate)
    ]
    if missed:
        return (
            f"in the {' and the '.join(missed)} band no boundary was found for more than half of "
            "the images"
        )
    if ends.low <= 1 <= ends.high:
        return "this sample does not tell the highest band from the lowest"
    return f"in the highest band it is {number(ends.estimate)} times as far as in the lowest"


def _examples(
    model: nn.Module,
    sample: Sample,
    found: Margins,
    block: Block,
    place: int,
    settings: Settings,
) -> Examples | None:
    # Of an image that is wrong as it is, the boundary may lead to the right class.
    right = found.labels == sample.labels
    distances = found.distances[place].masked_fill(~right, math.inf)
    chosen = distances.argsort(stable=True)[: settings.examples]
    chosen = chosen[torch.isfinite(distances[chosen])]
    if len(chosen) == 0:
        return None
    # Once more for these few, since the perturbations of all would fill the memory.
    images = sample.head(int(chosen.max()) + 1).images[chosen]
    again = margins(
        model, images, [block], refine="normal", max_margin=_LONGEST, perturbations=True
    )
    moved = images if again.perturbations is None else images + again.perturbations[0]
    return Examples(
        rows=sample.rows[chosen],
        labels=sample.labels[chosen],
        predictions=again.targets[0],
        before=images,
        after=moved.clamp(0, 1),
        details=tuple(f"margin {number(one)}" for one in again.distances[0].tolist()),
    )
