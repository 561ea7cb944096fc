"""Separable Gaussian smoothing of one-channel layers as two matrix products, for any width."""

from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from robustkit.arguments import Number

Border = Literal["reflect", "nearest"]


def smooth(
    layers: Float[Tensor, "n h w"], sigma: Number, *, truncate: Number, border: Border
) -> Float[Tensor, "n h w"]:
    """Convolve layers with a Gaussian of `sigma` pixels, cut at `truncate` sigmas.

    Beyond the border a layer is mirrored with its last pixel repeated ("reflect") or keeps its last
    pixel ("nearest"). The filter may be wider than the layer. Sigma 0 is the identity. Source: the
    definition of `scipy.ndimage.gaussian_filter`.
    """
    if sigma == 0:
        return layers
    rows, columns = (
        _matrix(size, sigma, truncate, border, layers.dtype, layers.device)
        for size in layers.shape[-2:]
    )
    return rows @ layers @ columns.mT


@lru_cache(maxsize=64)
# Later calls may want gradients, for which no tensor of inference mode serves.
@torch.inference_mode(False)
def _matrix(
    size: int,
    sigma: Number,
    truncate: Number,
    border: Border,
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    radius = int(truncate * sigma + 0.5)
    reach = np.arange(-radius, radius + 1)
    taps = np.exp(-0.5 * (reach / sigma) ** 2)
    sources = np.arange(size)[:, None] + reach
    if border == "nearest":
        sources = sources.clip(0, size - 1)
    else:
        sources = sources % (2 * size)
        sources = np.minimum(sources, 2 * size - 1 - sources)
    matrix = np.zeros((size, size))
    np.add.at(matrix, (np.arange(size)[:, None], sources), taps / taps.sum())
    return torch.from_numpy(matrix).to(device, dtype)
