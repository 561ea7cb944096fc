"""Results of parts of a batch joined into the result of the whole, and taken apart for a file.

A result is a tensor with one row an image, a mapping of names to such tensors, or a dataclass of
robustkit. Which axis of a dataclass's tensor runs over images is in its annotation: the one named
`n`.
"""

import dataclasses
import importlib
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from robustkit.errors import DataError, InputError

_PLAIN = (bool, int, float, str, type(None))


@dataclass(frozen=True)
class Parts:
    """A result taken apart: what it was ("tensor", "mapping" or a class), tensors, other values."""

    kind: str
    tensors: dict[str, Tensor]
    plain: dict[str, Any]


def take_apart(result: Any) -> Parts:
    """Return the tensors and plain values of a result, which `put_together` makes whole again.

    Raises `InputError` for anything but a tensor, a mapping of names to tensors, and a dataclass
    of robustkit of tensors, numbers, texts and tuples of these.
    """
    if isinstance(result, Tensor):
        return Parts("tensor", {"": _whole(result)}, {})
    if isinstance(result, Mapping):
        if not all(isinstance(t, Tensor) and isinstance(name, str) for name, t in result.items()):
            raise InputError("a mapping that is kept must hold tensors under names.")
        return Parts("mapping", {name: _whole(tensor) for name, tensor in result.items()}, {})
    kind = type(result)
    if not dataclasses.is_dataclass(result) or not kind.__module__.startswith("robustkit."):
        raise InputError(
            f"{kind.__qualname__} cannot be kept; return a tensor, a mapping of names to tensors, "
            "or a result of robustkit."
        )
    values = {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
    tensors = {name: _whole(value) for name, value in values.items() if isinstance(value, Tensor)}
    plain = {name: value for name, value in values.items() if name not in tensors}
    for name, value in plain.items():
        if not _is_plain(value):
            raise InputError(
                f"{name} of {kind.__qualname__} is {type(value).__name__}, which cannot be kept; "
                "return a mapping of names to the tensors that are needed."
            )
    return Parts(f"{kind.__module__}:{kind.__qualname__}", tensors, plain)


def put_together(parts: Parts) -> Any:
    """Return the result that `take_apart` was given; raises `DataError` for an unknown class."""
    if parts.kind == "tensor":
        return parts.tensors[""]
    if parts.kind == "mapping":
        return dict(parts.tensors)
    return _class(parts.kind)(**parts.tensors, **{k: _tuples(v) for k, v in parts.plain.items()})


def join(several: Sequence[Parts], counts: Sequence[int]) -> Parts:
    """Join the results of consecutive parts of a batch, of `counts` images each.

    Rows of images are put in a row; numbers of calls, whose names end in "_calls", add up; all
    else is about the whole batch and must be the same in every part. Raises `InputError` where it
    is not, and where a tensor does not have one row an image.
    """
    first = several[0]
    axes = image_axes(first)
    for parts, count in zip(several, counts, strict=True):
        if parts.kind != first.kind or parts.tensors.keys() != first.tensors.keys():
            raise InputError("the parts of a batch have results of different kinds.")
        for name, axis in axes.items():
            shape = tuple(parts.tensors[name].shape)
            if len(shape) <= axis or shape[axis] != count:
                raise InputError(
                    f"{name or 'the tensor'} has shape {shape}, where axis {axis} must have one "
                    f"row for each of {count} images."
                )
    tensors = {
        name: torch.cat([parts.tensors[name] for parts in several], dim=axes[name])
        if name in axes
        else _common(name, [parts.tensors[name] for parts in several])
        for name in first.tensors
    }
    plain = {
        name: sum(parts.plain[name] for parts in several)
        if name.endswith("_calls")
        else _common(name, [parts.plain[name] for parts in several])
        for name in first.plain
    }
    return Parts(first.kind, tensors, plain)


def image_axes(parts: Parts) -> dict[str, int]:
    """Return the axis of each tensor that runs over images; others are about the whole batch."""
    if parts.kind in ("tensor", "mapping"):
        return dict.fromkeys(parts.tensors, 0)
    hints = typing.get_type_hints(_class(parts.kind))
    axes = {}
    for name in parts.tensors:
        options = typing.get_args(hints[name]) or (hints[name],)
        shapes = [option.dim_str.split() for option in options if hasattr(option, "dim_str")]
        for shape in shapes:
            if "n" in shape or shape == ["_"]:
                axes[name] = shape.index("n") if "n" in shape else 0
    return axes


def _class(kind: str) -> Any:
    module, _, name = kind.partition(":")
    # What a file names is imported, so only this package may be named.
    if not module.startswith("robustkit."):
        raise DataError(f"{kind} is not a result of robustkit.")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise DataError(f"{kind} is not a result of this version of robustkit.") from error


def _whole(tensor: Tensor) -> Tensor:
    # As a file gives it back: what comes after must not see a difference.
    return tensor.detach().contiguous()


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(_is_plain(item) for item in value)
    return isinstance(value, _PLAIN)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value


def _common(name: str, values: Sequence[Any]) -> Any:
    first = values[0]
    for value in values[1:]:
        same = torch.equal(first, value) if isinstance(first, Tensor) else first == value
        if not same:
            raise InputError(
                f"{name} differs between parts of the batch and has no axis of images; return a "
                "mapping of names to what each image has."
            )
    return first
