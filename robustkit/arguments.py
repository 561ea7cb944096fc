"""Checks of arguments that many functions share; every refusal says what to pass instead."""

import math
import operator
from typing import Any

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from robustkit.checks import check_held, check_size
from robustkit.errors import InputError

Number = int | float


def whole(value: Any) -> int | None:
    """Return an integer of any kind, of NumPy's too, as int; None for all else, also for bool."""
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def check_count(name: str, value: Any, minimum: int) -> None:
    """Refuse anything but an integer from `minimum` on; raises `InputError`."""
    number = whole(value)
    if number is None:
        raise InputError(f"{name} must be a whole number, got {value!r}.")
    if number < minimum:
        raise InputError(f"{name} must be at least {minimum}, got {value}.")


def check_nonnegative(name: str, value: Number) -> None:
    """Refuse a number that is negative, infinite or NaN; raises `InputError`."""
    if not 0 <= value < math.inf:
        raise InputError(f"{name} must be a finite number of at least 0, got {value}.")


def keys_of(
    indices: Shaped[Tensor, "..."] | None, images: Shaped[Tensor, "n *shape"]
) -> Int[Tensor, " n"]:
    """Return the index of each image that its random numbers are keyed by; by default its row.

    Raises `InputError` for anything but one int64 an image.
    """
    if indices is None:
        return torch.arange(len(images), device=images.device)
    if indices.shape != (len(images),) or indices.dtype != torch.int64:
        raise InputError(
            f"indices must be int64 of shape ({len(images)},), got {indices.dtype} of shape "
            f"{tuple(indices.shape)}."
        )
    # Where the images have no values, a shape is all that is asked for.
    (check_size if images.device.type == "meta" else check_held)("indices", indices)
    return indices.to(images.device)
