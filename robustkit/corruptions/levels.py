"""From numbers in [0, 1] to 8-bit levels: truncated as in the published data sets, or rounded."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

# What float32 arithmetic may have lost of a whole level, in levels: truncation must not see it.
_SLACK = 2.0**-10


def truncate(values: Float[Tensor, "*shape"]) -> UInt8[Tensor, "*shape"]:
    """Return the 8-bit level at or below each number, as the published code does by its cast.

    - `values`: in [0, 1]. A number less than 2**-10 of a level below a whole level counts as that
      level, so that a value which only went through float32 arithmetic keeps its level.
    """
    return (values * 255 + _SLACK).to(torch.uint8)


def round_to_level(values: Float[Tensor, "*shape"]) -> UInt8[Tensor, "*shape"]:
    """Return the 8-bit level nearest to each number in [0, 1]; a half goes up."""
    return (values * 255 + 0.5).to(torch.uint8)
