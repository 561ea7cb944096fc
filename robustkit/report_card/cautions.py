"""What to keep in mind about a card: signs that something does not fit, in a sentence each."""

from collections.abc import Iterator, Mapping

import numpy as np

from robustkit.report_card.card import Axis
from robustkit.report_card.request import Request
from robustkit.report_card.words import percent
from robustkit.stats import Interval

# Below this share of images for which a perturbation is found, distances say little.
_FOUND = 0.95


def cautions(axes: Mapping[str, Axis], request: Request, named: int) -> tuple[str, ...]:
    """Return the cautions of a measured model; `named` is how many classes have a name."""
    found = []
    if named and named != request.outputs:
        found.append(
            f"The network has {request.outputs} outputs and the data name {named} classes: check "
            "that output i stands for class i."
        )
    if "clean" in axes:
        found += _guessing(axes["clean"].scalars["accuracy"].interval, 1 / request.outputs)
    found += [
        f"{what} that changes the class was found for only {percent(share)} of the images that are "
        "right: gradients may be masked, and then the true distances are shorter than those found."
        for what, share in _shares_found(axes)
        if share < _FOUND
    ]
    shifts = [axes[name] for name in ("translation", "rics") if name in axes]
    if shifts and request.images.is_floating_point():
        found.append(
            "Shifts and crop selection are measured on the images rounded to 8-bit levels."
        )
    return tuple(found)


def _guessing(accuracy: Interval, chance: float) -> list[str]:
    if accuracy.low > chance:
        return []
    said = (
        "The network is worse than guessing here"
        if accuracy.high < chance
        else "This sample does not tell the network from guessing"
    )
    return [
        f"{said}: check the order of the classes, and that it takes pixels in [0, 1] with its "
        "normalisation inside."
    ]


def _shares_found(axes: Mapping[str, Axis]) -> Iterator[tuple[str, float]]:
    """Yield for what share of the attacked images each attack found anything."""
    for axis, name, what in (
        ("l2", "l2_median", "A perturbation"),
        ("sparse", "pixels_50", "A set of pixels"),
    ):
        if axis in axes:
            distances = axes[axis].outcomes[name]
            # An image that is wrong as it is has distance 0 and was not attacked.
            attacked = distances[distances > 0]
            if len(attacked):
                yield what, float(np.isfinite(attacked).mean())
