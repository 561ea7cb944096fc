"""Families of subspaces, ordered as a figure shows them."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Shaped
from torch import Tensor

from robustkit import rng
from robustkit.checks import check_images
from robustkit.errors import InputError
from robustkit.margins.subspaces import Block, Fourier, Span, Subspace, check_shape


def diagonal_blocks(shape: Sequence[int], size: int = 8, step: int | None = None) -> list[Block]:
    """Return the `size` x `size` DCT blocks along the diagonal, from low to high frequency.

    `shape` is that of an image, (C, H, W); a block starts `step` coefficients after the one before
    (by default `size`: side by side). On images that are not square the blocks follow the diagonal
    of the rectangle, with steps along its shorter side. Published: size 8 and step 1 on 28 x 28
    images (21 blocks), 8 and 2 on 32 x 32 (13), 16 and 16 on 224 x 224 (14). Raises `InputError`
    for blocks larger than the image or a step below 1. Source: Ortiz-Jimenez et al., Hold me
    tight!, NeurIPS 2020; sizes and steps from the authors' scripts.
    """
    channels, height, width = check_shape(shape)
    starts = _starts(min(height, width), size, step)
    room = max(min(height, width) - size, 1)
    return [
        Block(
            (channels, height, width),
            round(start * (height - size) / room),
            round(start * (width - size) / room),
            size,
            size,
            str(index),
        )
        for index, start in enumerate(starts)
    ]


def block_grid(shape: Sequence[int], size: int = 8, step: int | None = None) -> list[Block]:
    """Return the `size` x `size` DCT blocks of the whole spectrum, row by row.

    With the default step the blocks lie side by side; if `size` divides both sides they tile the
    spectrum. Blocks are named by their first coefficient. Arguments and errors as in
    `diagonal_blocks`.
    """
    channels, height, width = check_shape(shape)
    return [
        Block((channels, height, width), top, left, size, size)
        for top in _starts(height, size, step)
        for left in _starts(width, size, step)
    ]


def fourier_rings(shape: Sequence[int], count: int = 8) -> list[Fourier]:
    """Return `count` rings of Fourier frequencies, from low to high, that tile the spectrum.

    Rings are equally wide in `max(|u|, |v|)`, the larger of the two frequencies in cycles a pixel;
    each is named by its middle. `shape` is (C, H, W). Raises `InputError` for a ring that would
    hold no frequency.
    """
    channels, height, width = check_shape(shape)
    if count < 1:
        raise InputError(f"count must be at least 1, got {count}.")
    # In integers: a frequency on the edge of two rings is no matter of rounding.
    down, across = (
        2 * count * torch.minimum(torch.arange(side), side - torch.arange(side)) // side
        for side in (height, width)
    )
    ring = torch.maximum(down[:, None], across[None, :]).clamp(max=count - 1)
    empty = [index for index in range(count) if not bool((ring == index).any())]
    if empty:
        raise InputError(
            f"ring {empty[0]} of {count} holds no frequency of {height} x {width} images; ask for "
            "fewer rings."
        )
    return [
        Fourier((channels, height, width), ring == index, f"{0.5 * (index + 0.5) / count:.3g}")
        for index in range(count)
    ]


def random_subspaces(
    shape: Sequence[int],
    dim: int,
    count: int = 1,
    *,
    seed: int = 0,
    inside: Subspace | None = None,
) -> list[Span]:
    """Return `count` subspaces of dimension `dim` with uniformly random directions.

    `shape` is that of an image or vector. With `inside`, they are random within that subspace.
    Subspace i depends on the seed, i and the dimension alone. Raises `InputError` for a dimension
    that does not fit.
    """
    if min(shape, default=0) < 1:
        raise InputError(f"shape is that of an image or vector, at least 1 each, got {shape}.")
    most = math.prod(shape) if inside is None else inside.dim
    if not 1 <= dim <= most or count < 1:
        raise InputError(
            f"dim must lie in [1, {most}] and count be at least 1, got {dim}, {count}."
        )
    found = []
    for index in range(count):
        keys = torch.arange(dim) + index * dim
        draws = rng.normal(seed, f"random subspace/{dim}", keys, tuple(shape), torch.float64)
        if inside is not None:
            draws = inside.project(draws)
        found.append(span(draws, name=f"random {index}"))
    return found


def pca_subspaces(images: Shaped[Tensor, "..."], dim: int, count: int | None = None) -> list[Span]:
    """Return the principal directions of images, `dim` a subspace, largest variance first.

    `images` are `(N, *shape)`, floating point; their mean is taken out. At most N - 1 directions
    (or the size of an image) have a variance; `count` keeps the first subspaces. Raises
    `InputError` for images that `robustkit.checks` refuses, or too few of them. Source: of margins
    in these subspaces, Mouton et al., AAAI 2024 (constrained margins).
    """
    check_images(images, unit_range=False)
    flat = images.detach().flatten(1).double()
    centred = flat - flat.mean(dim=0)
    _, strengths, directions = torch.linalg.svd(centred, full_matrices=False)
    floor = torch.linalg.vector_norm(flat) * max(centred.shape) * torch.finfo(torch.float64).eps
    usable = int((strengths > floor).sum())
    most = usable // dim if dim >= 1 else 0
    wanted = most if count is None else count
    if not 1 <= wanted <= most:
        raise InputError(
            f"{len(images)} images vary along {usable} directions: not enough for {count or 1} "
            f"subspace(s) of dimension {dim}."
        )
    parts = directions[: wanted * dim].reshape(wanted, dim, *images.shape[1:])
    return [
        Span(part, f"PCA {index * dim} to {(index + 1) * dim - 1}")
        for index, part in enumerate(parts)
    ]


def span(images: Shaped[Tensor, "..."], *, name: str = "span") -> Span:
    """Return the subspace spanned by linearly independent images `(dim, *shape)`.

    Raises `InputError` for images that are dependent, to rounding, or not finite.
    """
    check_images(images, unit_range=False)
    flat = images.detach().flatten(1).double()
    if len(flat) > flat.shape[1]:
        raise InputError(f"{len(flat)} images of {flat.shape[1]} components are not independent.")
    basis, triangle = torch.linalg.qr(flat.mT)
    steps = triangle.diagonal().abs()
    grain = float(torch.finfo(images.dtype).eps)
    if not bool((steps > 16 * grain * flat.norm(dim=1)).all()):
        raise InputError("the images are linearly dependent: drop those that add no direction.")
    return Span(basis.mT.reshape(images.shape), name)


def _starts(side: int, size: int, step: int | None) -> range:
    stride = size if step is None else step
    if not 1 <= size <= side or stride < 1:
        raise InputError(
            f"blocks need 1 <= size <= {side} and step >= 1, got size {size} and step {stride}."
        )
    return range(0, side - size + 1, stride)
