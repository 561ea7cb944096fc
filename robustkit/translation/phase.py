"""The torus between pixels: one canonical shift of an image, by parts of a pixel."""

import torch
from jaxtyping import Complex, Float, Shaped
from torch import Tensor

from robustkit.arguments import Number
from robustkit.data import as_float
from robustkit.errors import InputError
from robustkit.translation.levels import check_batch

# Sums of the transform leave about this much of an image where there should be nothing.
_ROUNDING = 1e-12


@torch.no_grad()
def phase_canonical(
    images: Shaped[Tensor, "..."], *, tolerance: Number = 1e-6
) -> Float[Tensor, "n c h w"]:
    """Shift each image on the torus, by parts of a pixel, to where its lowest waves have phase 0.

    - `images`: `(N, C, H, W)`, uint8 or floating point in [0, 1].
    - `tolerance`: how large the lowest wave along an axis must be, as a share of the Euclidean norm
      of all that changes along that axis. The share divides the rounding errors of the result.

    An image is read as the trigonometric polynomial through its pixels. Its lowest wave along an
    axis, one period in H rows or W columns with the channels added, has a phase that a shift by any
    real number moves in proportion: the shift that makes both phases 0 leads all circular shifts of
    the image to one result. For these to be shifts of one polynomial the image must be band-limited
    below the Nyquist frequency, which even sides have and which is removed here. Computed in double
    precision and returned in the type of the images, float32 for uint8: not clipped to [0, 1], and
    no longer 8-bit levels. The border of the image lies anywhere afterwards.

    An image that is constant along an axis stays as it is. Raises `InputError` where an image
    changes along an axis but has no lowest wave there. Source: our own; phases turn with shifts by
    the Fourier shift theorem.
    """
    check_batch(images)
    pixels = as_float(images)
    spectra = torch.fft.fft2(pixels.to(torch.float64))
    for axis in (2, 3):
        if spectra.shape[axis] % 2 == 0:
            spectra.select(axis, spectra.shape[axis] // 2).zero_()
    turns = [_turn(spectra, axis, float(tolerance)) for axis in (2, 3)]
    moved = spectra * turns[0][:, None, :, None] * turns[1][:, None, None, :]
    shifted: Tensor = torch.fft.ifft2(moved).real
    return shifted.to(pixels.dtype)


def _turn(spectra: Tensor, axis: int, tolerance: float) -> Complex[Tensor, "n side"]:
    count, side = len(spectra), spectra.shape[axis]
    frequencies = torch.fft.fftfreq(side, 1 / side, dtype=torch.float64, device=spectra.device)
    if side < 3:
        # A single frequency is left: the image is constant along the axis.
        return torch.ones(count, side, dtype=spectra.dtype, device=spectra.device)
    lowest = spectra.sum(dim=1).select(axis - 1, 1)[:, 0]
    waves = torch.linalg.vector_norm(spectra.narrow(axis, 1, side - 1).flatten(1), dim=1)
    constant = waves <= _ROUNDING * torch.linalg.vector_norm(spectra.flatten(1), dim=1)
    missing = ~constant & (lowest.abs() < tolerance * waves)
    if bool(missing.any()):
        name = "rows" if axis == 2 else "columns"
        row = int(missing.to(torch.uint8).argmax())
        raise InputError(
            f"image {row} has no wave of one period over its {name}, which its position is read "
            "from: leave it out, use canonical() for shifts by whole pixels, or lower tolerance."
        )
    phases = torch.where(constant, 0.0, lowest.angle())
    return torch.polar(torch.ones_like(phases)[:, None], -phases[:, None] * frequencies)
