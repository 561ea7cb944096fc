"""Frequency surgery on images: keep, remove or reverse blocks of DCT coefficients.

A filter keeps the coefficients (i, j) of a set and zeroes the others: an orthogonal projection. All
take images `(..., H, W)` with any leading axes, follow their device and dtype, never change their
input, and may leave [0, 1].
"""

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from robustkit.errors import InputError
from robustkit.margins.dct import dct, idct


def low_pass(
    images: Shaped[Tensor, "..."], size: int, *, legacy: bool = False
) -> Float[Tensor, "..."]:
    """Keep the `size` x `size` lowest frequencies of images `(..., H, W)`: i < size and j < size.

    With `legacy`, the mask is indexed as in the published code, where the batch axis takes the
    place of the channels: a batch `(N, C, H, W)` is filtered along its height only (and channels
    from `size` on are lost). Raises `InputError` unless 0 < size <= max(H, W). Source:
    Ortiz-Jimenez et al., Hold me tight!, NeurIPS 2020 (filtered data).
    """
    _check_size(images, "size", size, least=1)
    if legacy:
        return _keep(images, _as_published(images, slice(None, size)))
    return _keep(images, _square(images, size))


def high_pass(
    images: Shaped[Tensor, "..."], size: int, *, legacy: bool = False
) -> Float[Tensor, "..."]:
    """Keep the `size` x `size` highest frequencies of images `(..., H, W)`.

    These are the last `size` along both axes, as published; coefficients that are high along one
    axis only go too, so that this is not the complement of a low pass: see `remove_low`. `legacy`
    and errors as in `low_pass`.
    """
    _check_size(images, "size", size, least=1)
    if legacy:
        return _keep(images, _as_published(images, slice(-size, None)))
    return _keep(images, _square(images, size).flip(-1, -2))


def remove_low(images: Shaped[Tensor, "..."], size: int) -> Float[Tensor, "..."]:
    """Zero the `size` x `size` lowest frequencies: what `low_pass` takes away.

    Raises `InputError` unless 0 <= size <= max(H, W).
    """
    _check_size(images, "size", size, least=0)
    return _keep(images, ~_square(images, size))


def band(images: Shaped[Tensor, "..."], low: int, high: int) -> Float[Tensor, "..."]:
    """Keep the frequencies (i, j) with low <= max(i, j) < high: an L-shaped band.

    It is the low pass of `high` minus that of `low`, so that consecutive bands tile the spectrum.
    Raises `InputError` unless 0 <= low < high <= max(H, W).
    """
    _check_size(images, "high", high, least=1)
    if not 0 <= low < high:
        raise InputError(f"a band needs 0 <= low < high, got {low} and {high}.")
    return _keep(images, _square(images, high) & ~_square(images, low))


def flip(images: Shaped[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Reverse the order of the frequencies along both axes: the lowest becomes the highest.

    An isometry and its own inverse; a pixel of the result may lie outside [0, 1]. Source:
    Ortiz-Jimenez et al., Hold me tight!, NeurIPS 2020 (frequency-flipped data).
    """
    return idct(dct(images).flip(-1, -2))


def _keep(images: Tensor, mask: Tensor) -> Tensor:
    return idct(torch.where(mask, dct(images), 0.0))


def _square(images: Tensor, size: int) -> Bool[Tensor, "height width"]:
    mask = torch.zeros(images.shape[-2:], dtype=torch.bool, device=images.device)
    mask[:size, :size] = True
    return mask


def _as_published(images: Tensor, kept: slice) -> Bool[Tensor, "..."]:
    if images.ndim < 3:
        raise InputError("legacy filters take images (C, H, W) or batches (N, C, H, W).")
    mask = torch.zeros(images.shape, dtype=torch.bool, device=images.device)
    mask[:, kept, kept] = True
    return mask


def _check_size(images: Tensor, name: str, size: int, *, least: int) -> None:
    if images.ndim < 2:
        raise InputError(f"images must be (..., H, W), got shape {tuple(images.shape)}.")
    most = max(images.shape[-2:])
    if not least <= size <= most:
        raise InputError(
            f"{name} counts frequencies along an axis and must lie in [{least}, {most}] for images "
            f"of {images.shape[-2]} x {images.shape[-1]}, got {size}."
        )
