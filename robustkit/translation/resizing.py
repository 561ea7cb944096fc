"""Crops brought to the size that a network takes."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from robustkit.shapes import precise


def resized(
    images: Float[Tensor, "n c h w"], size: tuple[int, int] | None
) -> Float[Tensor, "n c rows columns"]:
    """Return images of `size` (rows, columns), bilinear and antialiased; None leaves them alone.

    Half precision is resized in single, which every processor can, and comes back as half.
    """
    if size is None or size == images.shape[2:]:
        return images
    scaled: Tensor = F.interpolate(
        images.to(precise(images)), size, mode="bilinear", antialias=True
    )
    return scaled.to(images.dtype)
