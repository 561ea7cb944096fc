"""Rows of a batch: in chunks, with one value each, and in the precision of geometry."""

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor


def chunks(rows: Int[Tensor, " n"], size: int) -> tuple[Int[Tensor, " m"], ...]:
    """Split rows into parts of at most `size`; no rows make no part, so that none is empty."""
    return rows.split(size) if len(rows) else ()


def rows_of(values: Shaped[Tensor, " n"], images: Shaped[Tensor, "n ..."]) -> Shaped[Tensor, "..."]:
    """Shape one value an image so that it broadcasts over the image."""
    return values.reshape(-1, *[1] * (images.ndim - 1))


def lengths_of(images: Float[Tensor, "n ..."]) -> Float[Tensor, " n"]:
    """Return the Euclidean norm of each image."""
    lengths: Tensor = torch.linalg.vector_norm(images.flatten(1), dim=1)
    return lengths


def precise(images: Float[Tensor, "..."]) -> torch.dtype:
    """Return at least single precision: half holds images, but not their squared differences."""
    return torch.promote_types(images.dtype, torch.float32)
