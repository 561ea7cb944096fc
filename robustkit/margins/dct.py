"""The orthonormal discrete cosine transform (DCT-II) of images, as two small matrix products."""

import math
from functools import lru_cache

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from robustkit.checks import check_device, check_held
from robustkit.errors import InputError


def dct_matrix(
    size: int, *, dtype: torch.dtype = torch.float64, device: str | torch.device = "cpu"
) -> Float[Tensor, "size size"]:
    """Return the orthonormal DCT-II matrix: row k holds the cosine with k half-periods.

    Its product with a vector of length `size` is the transform, that of its transpose the inverse.
    Raises `InputError` unless `size` is positive and the device is there. Source: Ahmed, Natarajan
    and Rao, IEEE Trans. Computers 1974.
    """
    if size < 1:
        raise InputError(f"size must be at least 1, got {size}.")
    return _matrix(size, dtype, check_device(device)).clone()


def dct(images: Shaped[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Return the two-dimensional DCT-II coefficients of images `(..., H, W)`, of the same shape.

    Any sizes, any number of leading axes; coefficient (0, 0) is the lowest frequency. The transform
    is orthonormal, so lengths and angles stay. Raises `InputError` for fewer than two axes or
    integers.
    """
    rows, columns = _matrices(images)
    return rows @ images @ columns.mT


def idct(coefficients: Shaped[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Return the images `(..., H, W)` that have these DCT-II coefficients; the inverse of `dct`.

    Raises `InputError` as `dct` does.
    """
    rows, columns = _matrices(coefficients)
    return rows.mT @ coefficients @ columns


def _matrices(images: Tensor) -> tuple[Tensor, Tensor]:
    if images.ndim < 2 or not images.is_floating_point():
        raise InputError(
            f"the transform takes floating point images (..., H, W), got {images.dtype} of shape "
            f"{tuple(images.shape)}; convert 8-bit images with robustkit.data.to_float(images)."
        )
    check_held("images", images)
    height, width = images.shape[-2:]
    if height == 0 or width == 0:
        raise InputError(f"the images are empty: shape {tuple(images.shape)}.")
    return (
        _matrix(height, images.dtype, images.device),
        _matrix(width, images.dtype, images.device),
    )


@lru_cache(maxsize=64)
def _matrix(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    # Outside inference mode, or a later backward pass could not keep the matrix.
    with torch.inference_mode(False), torch.no_grad():
        order = torch.arange(size, dtype=torch.float64)
        matrix = torch.cos(torch.pi / size * torch.outer(order, order + 0.5))
        matrix *= math.sqrt(2 / size)
        matrix[0] /= math.sqrt(2)
        return matrix.to(device=device, dtype=dtype)
