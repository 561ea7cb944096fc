"""The box that adversarial images must stay in: one lower and one upper bound a pixel."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from robustkit.arguments import Number
from robustkit.checks import check_images
from robustkit.errors import InputError

Bounds = tuple[Number | Shaped[Tensor, "..."], Number | Shaped[Tensor, "..."]]


@dataclass(frozen=True, eq=False)
class Box:
    """Lower and upper bounds of every pixel of a batch, as views that cost no memory."""

    lower: Float[Tensor, "n *shape"]
    upper: Float[Tensor, "n *shape"]

    def at(self, rows: Int[Tensor, " m"]) -> "Box":
        """Return the bounds of some images of the batch."""
        return Box(self.lower[rows], self.upper[rows])

    def clamp(self, images: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        """Move every pixel outside its bounds onto the nearer one."""
        return torch.clamp(images, self.lower, self.upper)

    def contains(self, images: Float[Tensor, "n *shape"]) -> Bool[Tensor, " n"]:
        """Say of each image whether all its pixels lie within their bounds, exactly."""
        return ((images >= self.lower) & (images <= self.upper)).flatten(1).all(dim=1)


def check_batch(images: Shaped[Tensor, "..."], bounds: Bounds | None) -> Box | None:
    """Check a batch against its bounds and return them as a box; None stands for no bounds.

    Bounds are numbers, or tensors that broadcast to the batch. Raises `InputError` for a batch
    that `robustkit.checks.check_images` refuses, bounds of the wrong shape, infinite, NaN or
    crossed bounds, and images outside their bounds.
    """
    if bounds is None:
        check_images(images, unit_range=False)
        return None
    # Images outside [0, 1] are the common mistake, and that check knows how to mend it.
    plain = not any(isinstance(bound, Tensor) for bound in bounds)
    check_images(images, unit_range=plain and tuple(bounds) == (0.0, 1.0))
    lower, upper = (_expand(bound, images) for bound in bounds)
    if not bool((lower <= upper).all()):
        raise InputError("the lower bound exceeds the upper bound of at least one pixel.")
    box = Box(lower, upper)
    outside = int((~box.contains(images)).sum())
    if outside:
        raise InputError(
            f"{outside} of {len(images)} images lie outside the given bounds; widen the bounds or "
            "clamp the images first."
        )
    return box


def _expand(bound: Number | Tensor, images: Tensor) -> Tensor:
    values = torch.as_tensor(bound, dtype=images.dtype, device=images.device)
    if not bool(values.isfinite().all()):
        raise InputError("bounds must be finite; pass bounds=None for an attack without bounds.")
    try:
        return values.broadcast_to(images.shape)
    except RuntimeError:
        raise InputError(
            f"bounds of shape {tuple(values.shape)} do not broadcast to images of shape "
            f"{tuple(images.shape)}."
        ) from None
