"""Linear subspaces of image space, and what projecting onto one means.

Anything with the four members of `Subspace` can be handed to `margins`. None of the classes here
holds a basis of the size of the image times the dimension, except `Span`, which is given one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from robustkit.checks import check_held
from robustkit.errors import InputError
from robustkit.margins.dct import dct_matrix
from robustkit.shapes import precise


@runtime_checkable
class Subspace(Protocol):
    """A linear subspace of the space of images `(C, H, W)` (or of vectors `(D,)`).

    `name` labels it in tables and figures; `dim` is its dimension.
    """

    @property
    def name(self) -> str:
        """What tables and figures call it."""

    @property
    def dim(self) -> int:
        """Its dimension."""

    def project(self, images: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        """Return the orthogonal projection of each image, of the same shape."""

    def coefficient_norm(self, images: Float[Tensor, "n *shape"]) -> Float[Tensor, " n"]:
        """Return the Euclidean norm of each image's projection."""


class _Kept:
    """Tensors moved once to each device and dtype that asks for them."""

    def __init__(self, *tensors: Tensor) -> None:
        self.tensors = tensors
        self.moved: dict[tuple[torch.device, torch.dtype], tuple[Tensor, ...]] = {}

    def like(self, images: Tensor) -> tuple[Tensor, ...]:
        key = (images.device, images.dtype)
        if key not in self.moved:
            # Outside inference mode, or a later backward pass could not keep them.
            with torch.inference_mode(False), torch.no_grad():
                self.moved[key] = tuple(
                    tensor.to(images.device)
                    if tensor.dtype == torch.bool
                    else tensor.to(device=images.device, dtype=images.dtype)
                    for tensor in self.tensors
                )
        return self.moved[key]


@dataclass(frozen=True)
class Block:
    """The images whose DCT lives in a block: rows `top` to `top + height`, and columns likewise.

    `shape` is that of an image, (C, H, W), and the block is the same in every channel, so that the
    dimension is C * height * width. Projecting costs four small matrix products an image. Raises
    `InputError` for a block that is empty or leaves the spectrum.
    """

    shape: tuple[int, int, int]
    top: int
    left: int
    height: int
    width: int
    name: str = ""
    _bases: _Kept = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        shape = check_shape(self.shape)
        object.__setattr__(self, "shape", shape)
        _, rows, columns = shape
        inside = 0 <= self.top < self.top + self.height <= rows
        if not (inside and 0 <= self.left < self.left + self.width <= columns):
            raise InputError(
                f"the block of {self.height} x {self.width} coefficients at ({self.top}, "
                f"{self.left}) does not lie in the spectrum of {rows} x {columns} images."
            )
        down = dct_matrix(rows)[self.top : self.top + self.height].clone()
        across = dct_matrix(columns)[self.left : self.left + self.width].clone()
        object.__setattr__(self, "_bases", _Kept(down, across))
        if not self.name:
            object.__setattr__(self, "name", f"({self.top}, {self.left})")

    @property
    def dim(self) -> int:
        """C * height * width."""
        return self.shape[0] * self.height * self.width

    def bases(self, images: Float[Tensor, "..."]) -> tuple[Tensor, ...]:
        """Return the rows of the DCT matrices that span the block, down and across."""
        return self._bases.like(images)

    def project(self, images: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        """Return the images with all other coefficients zero; raises `InputError` on a shape."""
        down, across = self.bases(images)
        return down.mT @ self._coefficients(images) @ across

    def coefficient_norm(self, images: Float[Tensor, "n *shape"]) -> Float[Tensor, " n"]:
        """Return the norm of each image's coefficients in the block."""
        norms: Tensor = torch.linalg.vector_norm(self._coefficients(images).flatten(1), dim=1)
        return norms

    def _coefficients(self, images: Tensor) -> Tensor:
        check_fit(images, self.shape)
        down, across = self.bases(images)
        return down @ images @ across.mT


@dataclass(frozen=True, eq=False)
class Fourier:
    """The images whose two-dimensional Fourier transform vanishes outside a mask.

    `shape` is (C, H, W), and `mask` `(H, W)`, boolean, in the order of `torch.fft.fft2`. A
    frequency and its opposite carry one real image, so the mask must hold both or neither. It is
    the same in every channel. Raises `InputError` otherwise.
    """

    shape: tuple[int, int, int]
    mask: Bool[Tensor, "height width"]
    name: str = "Fourier"
    _masks: _Kept = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _, height, width = check_shape(self.shape)
        if self.mask.shape != (height, width) or self.mask.dtype != torch.bool:
            raise InputError(f"the mask must be boolean of shape ({height}, {width}).")
        check_held("mask", self.mask)
        opposite = self.mask.flip(0, 1).roll((1, 1), (0, 1))
        if not bool(self.mask.any()) or bool((self.mask != opposite).any()):
            raise InputError(
                "the mask must hold some frequency, and with each frequency (u, v) its opposite "
                "(-u, -v): together they carry real images."
            )
        object.__setattr__(self, "_masks", _Kept(self.mask))

    @property
    def dim(self) -> int:
        """C times the number of frequencies in the mask."""
        return self.shape[0] * int(self.mask.sum())

    def project(self, images: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        """Return the images with all other frequencies zero; raises `InputError` on a shape."""
        check_fit(images, self.shape)
        (mask,) = self._masks.like(images)
        spectrum = torch.fft.fft2(images.to(precise(images)))
        inside: Tensor = torch.fft.ifft2(torch.where(mask, spectrum, 0.0)).real
        return inside.to(images.dtype)

    def coefficient_norm(self, images: Float[Tensor, "n *shape"]) -> Float[Tensor, " n"]:
        """Return the norm of each image's projection."""
        check_fit(images, self.shape)
        (mask,) = self._masks.like(images)
        spectrum = torch.fft.fft2(images.to(precise(images)), norm="ortho")[..., mask]
        norms: Tensor = torch.linalg.vector_norm(spectrum.flatten(1), dim=1)
        return norms.to(images.dtype)


@dataclass(frozen=True, eq=False)
class Span:
    """The span of the rows of an explicit orthonormal basis `(dim, *shape)`.

    Raises `InputError` for rows that are not orthonormal, or more than dimensions; `span` makes
    such a basis of any independent images.
    """

    basis: Float[Tensor, "dim *shape"]
    name: str = "span"
    _rows: _Kept = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        size = math.prod(self.basis.shape[1:])
        if self.basis.ndim < 2 or not 1 <= len(self.basis) <= size:
            raise InputError(
                f"a basis has shape (dim, *shape) with dim at most the size of an image, got "
                f"{tuple(self.basis.shape)}."
            )
        check_held("basis", self.basis)
        rows = self.basis.detach().flatten(1)
        gram = rows.double() @ rows.double().mT
        error = float((gram - torch.eye(len(gram), device=gram.device)).abs().max())
        if not error <= 1e-4:
            raise InputError(
                f"the rows of the basis are not orthonormal (error {error:.2g}); use "
                "robustkit.margins.span(images), which makes them so."
            )
        object.__setattr__(self, "_rows", _Kept(rows.clone()))

    @property
    def dim(self) -> int:
        """The number of rows of the basis."""
        return len(self.basis)

    def project(self, images: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        """Return the projection of each image; raises `InputError` on a shape."""
        (rows,) = self._rows.like(images)
        return (self._coefficients(images) @ rows).reshape(images.shape)

    def coefficient_norm(self, images: Float[Tensor, "n *shape"]) -> Float[Tensor, " n"]:
        """Return the norm of each image's coefficients in the basis."""
        norms: Tensor = torch.linalg.vector_norm(self._coefficients(images), dim=1)
        return norms

    def _coefficients(self, images: Tensor) -> Tensor:
        check_fit(images, tuple(self.basis.shape[1:]))
        (rows,) = self._rows.like(images)
        return images.flatten(1) @ rows.mT


@dataclass(frozen=True)
class Whole:
    """All of image space, where the margin is the distance to the boundary itself.

    `shape` is that of an image, (C, H, W), or of a vector, (D,).
    """

    shape: tuple[int, ...]
    name: str = "whole space"

    @property
    def dim(self) -> int:
        """The number of components of an image."""
        return math.prod(self.shape)

    def project(self, images: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        """Return the images themselves; raises `InputError` on a shape."""
        check_fit(images, self.shape)
        return images

    def coefficient_norm(self, images: Float[Tensor, "n *shape"]) -> Float[Tensor, " n"]:
        """Return the norm of each image."""
        check_fit(images, self.shape)
        norms: Tensor = torch.linalg.vector_norm(images.flatten(1), dim=1)
        return norms


def check_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """Return an image shape (C, H, W); raises `InputError` for anything else."""
    if len(shape) != 3 or min(shape) < 1:
        raise InputError(
            f"the shape of an image is (C, H, W), got {tuple(shape)}; take it from a batch with "
            "images.shape[1:]."
        )
    channels, height, width = shape
    return channels, height, width


def check_fit(images: Shaped[Tensor, "..."], shape: Sequence[int]) -> None:
    """Refuse images that a subspace of images of `shape` does not fit; raises `InputError`."""
    if tuple(images.shape[1:]) != tuple(shape):
        raise InputError(
            f"the subspace is one of images of shape {tuple(shape)}, got a batch of shape "
            f"{tuple(images.shape)}."
        )
    if not images.is_floating_point() and not images.is_complex():
        raise InputError(
            f"images must be floating point, got {images.dtype}; convert 8-bit images with "
            "robustkit.data.to_float(images)."
        )
    check_held("images", images)
