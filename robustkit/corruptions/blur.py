"""Blurs that are the same for every image: Gaussian, defocus and zoom blur."""

import math
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as functional
from jaxtyping import Float
from numpy.typing import NDArray
from scipy import fft, ndimage
from torch import Tensor

from robustkit.arguments import Number
from robustkit.corruptions.draws import Draws
from robustkit.corruptions.pixels import enlarge
from robustkit.corruptions.smoothing import smooth
from robustkit.errors import InputError


def gaussian_blur(
    images: Float[Tensor, "n c h w"], draws: Draws, sigma: Number
) -> Float[Tensor, "n c h w"]:
    """Convolve with a Gaussian of standard deviation `sigma` pixels, cut at four of them.

    - `images`: in [0, 1]; `draws`: unused.

    Beyond the border an image keeps its last pixel. Source: the held-out corruptions of Hendrycks
    and Dietterich, ICLR 2019, appendix B; scikit-image's `gaussian`.
    """
    layers = smooth(images.flatten(0, 1), sigma, truncate=4, border="nearest")
    return layers.reshape(images.shape)


def defocus_blur(
    images: Float[Tensor, "n c h w"], draws: Draws, radius: Number, alias_blur: Number
) -> Float[Tensor, "n c h w"]:
    """Convolve with a disk of `radius` pixels whose edge a Gaussian of `alias_blur` softens.

    - `images`: in [0, 1]; `draws`: unused.

    Beyond the border an image is mirrored about its last pixel. Raises `InputError` when the image
    is too small to be mirrored by the reach of the disk.
    Source: Hendrycks and Dietterich, ICLR 2019, section 3.
    """
    reach, least = len(disk(radius, alias_blur)) // 2, min(images.shape[-2:])
    if reach >= least:
        raise InputError(
            f"a defocus blur that reaches {reach} pixels needs images of more than {reach} pixels "
            f"a side, got {least}; choose the preset that fits the size."
        )
    # Products of spectra: the cost does not grow with the disk, and no device rounds them coarsely.
    padded = functional.pad(images, (reach,) * 4, mode="reflect")
    height, width = padded.shape[-2:]
    sides = (fft.next_fast_len(height, real=True), fft.next_fast_len(width, real=True))
    spectrum = torch.fft.rfft2(padded, s=sides)
    spectrum *= _spectrum(radius, alias_blur, sides, spectrum.dtype, spectrum.device)
    blurred: Tensor = torch.fft.irfft2(spectrum, s=sides)
    return blurred[..., 2 * reach : height, 2 * reach : width]


@lru_cache(maxsize=16)
# Later calls may want gradients, for which no tensor of inference mode serves.
@torch.inference_mode(False)
def _spectrum(
    radius: Number,
    alias_blur: Number,
    sides: tuple[int, int],
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    kernel = torch.from_numpy(disk(radius, alias_blur))
    spectrum: Tensor = torch.fft.rfft2(kernel, s=sides)
    return spectrum.to(device, dtype)


@lru_cache(maxsize=64)
def disk(radius: Number, alias_blur: Number) -> NDArray[np.float64]:
    """Return the kernel `(side, side)` of `defocus_blur`, symmetric.

    The grid reaches 8 pixels, or the radius where that is more; then the softened edge is 5 instead
    of 3 pixels wide. A radius of 8 or more leaves no room for the edge, which is mirrored at the
    end of the grid as published: the sum then exceeds 1 by about a hundredth, else it is 1.
    Source: Hendrycks and Dietterich, ICLR 2019, released code.
    """
    reach, half = (8, 1) if radius <= 8 else (math.ceil(radius), 2)
    line = np.arange(-reach, reach + 1)
    kernel = (line[:, None] ** 2 + line**2 <= radius**2).astype(np.float64)
    taps = np.exp(-0.5 * (np.arange(-half, half + 1) / alias_blur) ** 2)
    kernel /= kernel.sum()
    for axis in (0, 1):
        kernel = ndimage.correlate1d(kernel, taps / taps.sum(), axis=axis, mode="mirror")
    used = max(1, int(np.abs(line[kernel.any(axis=0)]).max()))
    inside = slice(reach - used, reach + used + 1)
    return np.ascontiguousarray(kernel[inside, inside])


def zoom_blur(
    images: Float[Tensor, "n c h w"], draws: Draws, stop: Number, step: Number
) -> Float[Tensor, "n c h w"]:
    """Average the image with its enlargements by 1, 1 + step, ... up to about `stop`.

    - `images`: in [0, 1]; `draws`: unused; `stop`: above 1; `step`: positive. The factors are those
      of `numpy.arange(1, stop, step)`, whose rounding lets the published ones include `stop`.

    Each enlargement keeps the middle part, interpolated linearly between its outermost pixels;
    height and width are treated alike. Raises `InputError` when that part has fewer than two
    pixels. Source: Hendrycks and Dietterich, ICLR 2019, section 3.
    """
    count, channels, height, width = images.shape
    factors = [float(factor) for factor in np.arange(1, stop, step)[1:]]
    if min(height, width) < 2 * max([1.0, *factors]):
        raise InputError(
            f"zoom blur by {max(factors):.3g} needs at least {math.ceil(2 * max(factors))} pixels "
            f"a side, got {min(height, width)}."
        )
    # All layers as channels of one picture, innermost in memory: interpolation runs along them.
    layers = images.reshape(1, count * channels, height, width)
    layers = layers.contiguous(memory_format=torch.channels_last)
    total = 2 * layers
    for factor in factors:
        rows, columns = (_middle(size, factor) for size in (height, width))
        total += enlarge(layers[..., rows, columns], factor, height, width)
    return total.div_(len(factors) + 2).contiguous().reshape(images.shape)


def _middle(size: int, factor: float) -> slice:
    """Return the part of one side that fills it once it is enlarged."""
    kept = math.ceil(size / factor)
    start = (size - kept) // 2
    return slice(start, start + kept)
