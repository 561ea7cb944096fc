"""Normalisation as a layer, so that every model takes images in [0, 1]."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from robustkit.errors import InputError


class Normalized(nn.Module):
    """Subtract `mean` and divide by `std`, channel by channel, then apply `model`.

    Images are `(N, C, H, W)` in [0, 1]; `mean` and `std` hold one number a channel in the same
    units, or one number for all channels. The wrapper starts in the mode (training or evaluation)
    of `model`, on its device; the statistics are buffers and follow `to(...)`. Raises `InputError`
    when the two differ in length, are not finite, or `std` is not positive.
    """

    def __init__(
        self, model: nn.Module, mean: float | Sequence[float], std: float | Sequence[float]
    ) -> None:
        super().__init__()
        self.model = model
        means, stds = _statistics("mean", mean), _statistics("std", std)
        if len(means) != len(stds):
            raise InputError(
                f"mean has {len(means)} numbers and std has {len(stds)}; give one a channel."
            )
        if min(stds) <= 0:
            raise InputError(f"std must be positive, got {stds}.")
        like = next(model.parameters(), torch.empty(0))
        for name, values in (("mean", means), ("std", stds)):
            self.register_buffer(name, like.new_tensor(values).reshape(1, -1, 1, 1))
        self.training = model.training

    mean: Tensor
    std: Tensor

    def forward(self, images: Shaped[Tensor, "..."]) -> Float[Tensor, "n classes"]:
        """Return the logits `(N, K)` of images `(N, C, H, W)`; `InputError` on a wrong C."""
        channels = self.mean.shape[1]
        if images.ndim != 4 or channels not in (1, images.shape[1]):
            raise InputError(
                f"the normalisation is for images (N, {channels}, H, W), "
                f"got shape {tuple(images.shape)}."
            )
        logits: Tensor = self.model((images - self.mean) / self.std)
        return logits

    def extra_repr(self) -> str:
        """Show the statistics in `print(model)`."""
        mean, std = ([round(v, 6) for v in t.flatten().tolist()] for t in (self.mean, self.std))
        return f"mean={mean}, std={std}"


def _statistics(name: str, values: float | Sequence[float]) -> tuple[float, ...]:
    numbers = (float(values),) if isinstance(values, int | float) else tuple(map(float, values))
    if not numbers or not all(map(math.isfinite, numbers)):
        raise InputError(f"{name} must be finite numbers, one a channel, got {numbers}.")
    return numbers
