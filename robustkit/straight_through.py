"""The straight-through estimator: rounded values with the gradient of those they replace."""

import torch
from jaxtyping import Shaped
from torch import Tensor


def straight_through(
    values: Shaped[Tensor, "*shape"], replacement: Shaped[Tensor, "*shape"]
) -> Shaped[Tensor, "*shape"]:
    """Return `replacement`, bit for bit, whose gradient passes to `values` unchanged.

    Source: Bengio, Leonard and Courville, 2013, section 4.
    """
    passed: Tensor = _StraightThrough.apply(values, replacement.detach())
    return passed


class _StraightThrough(torch.autograd.Function):
    # A sum of the values and what they lack would be rounded.
    @staticmethod
    def forward(ctx: object, values: Tensor, replacement: Tensor) -> Tensor:
        return replacement

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None
