"""Noise of C-bar with a prescribed amplitude at each frequency: blue and brownish."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from robustkit.corruptions.c_bar.geometry import shorter_side
from robustkit.corruptions.draws import Draws
from robustkit.shapes import precise


def blue_noise_sample(
    images: Float[Tensor, "n c h w"], draws: Draws, threshold: float
) -> Float[Tensor, "n c h w"]:
    """Blacken every pixel where blue noise does not exceed a threshold.

    - `threshold`: in standard deviations of the noise, whose amplitude grows in proportion to the
      frequency. All channels lose the same pixels.

    The other pixels stay as they are, bit for bit. The mask is computed in float64, so that CPU and
    GPU blacken the same pixels. Source: Mintun, Kirillov and Xie, NeurIPS 2021, published code.
    """
    frequency = _frequency(images, torch.float64)
    mask = _shaped_noise(draws, 1, frequency) > threshold
    return images * mask


def brownish_noise(
    images: Float[Tensor, "n c h w"], draws: Draws, scale: float
) -> Float[Tensor, "n c h w"]:
    """Add noise whose amplitude falls as 1 / (1 + f^2) with the frequency f, to each channel anew.

    - `scale`: standard deviation of the noise within a channel; f counts cycles per shorter side.

    The noise has a mean too, of its own for each channel: that is frequency zero, which has the
    largest amplitude. Source: Mintun, Kirillov and Xie, NeurIPS 2021, published code.
    """
    frequency = _frequency(images, precise(images))
    noise = _shaped_noise(draws, images.shape[1], 1 / (1 + frequency.square()))
    return (images + scale * noise).to(images.dtype)


def _frequency(images: Tensor, dtype: torch.dtype) -> Tensor:
    side = shorter_side(images)
    rows, columns = (
        (torch.arange(size, dtype=dtype, device=images.device) - size / 2) * (side / size)
        for size in images.shape[-2:]
    )
    return torch.hypot(rows[:, None], columns)


def _shaped_noise(draws: Draws, channels: int, amplitude: Tensor) -> Tensor:
    """Return noise `(N, channels, H, W)` of unit standard deviation from amplitudes `(H, W)`.

    Frequency zero of `amplitude` is at (H // 2, W // 2). As published, the phases of the left half
    are turned by 180 degrees to make the right half, and what is left of the inverse transform is
    its real part. That symmetry is one pixel off the one of a real signal, and with equal instead
    of opposite phases: the noise resembles its own mirror image in part of the picture.
    """
    height, width = amplitude.shape
    half = _units(draws.uniform("phases", (channels, height, width // 2)), amplitude)
    parts = [half, half.flip((-2, -1))]
    if width % 2:
        upper = _units(draws.uniform("middle", (channels, height // 2, 1)), amplitude)
        centre = upper.new_ones(*upper.shape[:2], height % 2, 1)
        parts.insert(1, torch.cat([upper, centre, upper.flip(-2)], dim=-2))
    spectrum = amplitude * torch.cat(parts, dim=-1)
    spectrum = spectrum.roll((height // 2, width // 2), dims=(-2, -1))
    noise: Tensor = torch.fft.ifft2(spectrum).real
    deviation = noise.std(dim=(-2, -1), correction=0, keepdim=True)
    return noise / deviation.clamp_min(torch.finfo(noise.dtype).tiny)


def _units(turns: Tensor, like: Tensor) -> Tensor:
    angle = 2 * math.pi * turns.to(like.dtype)
    return torch.polar(torch.ones_like(angle), angle)
