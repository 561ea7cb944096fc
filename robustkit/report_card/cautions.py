"""What to keep in mind about a card: signs that something does not fit, in a sentence each."""

from collections.abc import Mapping

from robustkit.report_card.card import Axis
from robustkit.report_card.request import Request
from robustkit.report_card.words import percent

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
    if "clean" in axes and axes["clean"].scalars["accuracy"].interval.low <= 1 / request.outputs:
        found.append(
            "The network is no better than guessing here: check the order of the classes, and that "
            "it takes pixels in [0, 1] with its normalisation inside."
        )
    if "l2" in axes:
        fooled = axes["l2"].scalars["l2_fooled"].interval.estimate
        if fooled < _FOUND:
            found.append(
                f"A perturbation was found for {percent(fooled)} of the images alone: gradients "
                "may be masked, and then the true distances are shorter than those found."
            )
    shifts = [axes[name] for name in ("translation", "rics") if name in axes]
    if shifts and request.images.is_floating_point():
        found.append(
            "Shifts and crop selection are measured on the images rounded to 8-bit levels."
        )
    return tuple(found)
