"""What an augmentation operation is: draw the parameters of each image, then apply them."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields, is_dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from robustkit.checks import check_size
from robustkit.errors import InputError

# A tensor whose first dimension is the image, or a frozen dataclass of such tensors.
Parameters = Any


@runtime_checkable
class Operation(Protocol):
    """An augmentation of single images, split into a random and a deterministic half.

    Any object with these two methods joins `mix`. `Spectral`, `Diffeomorphism`, `Color` and
    `AugMixOperation` have them.
    """

    def sample(
        self,
        count: int,
        shape: tuple[int, int, int],
        *,
        generator: torch.Generator,
        dtype: torch.dtype,
        device: torch.device,
    ) -> Parameters:
        """Draw parameters for `count` images of `shape` (C, H, W).

        They are a tensor of first dimension `count` or a frozen dataclass of such tensors, on
        `device`; `dtype` is that of the images, and `generator` lives on `device` or the CPU.
        """

    def apply(self, images: Float[Tensor, "n c h w"], parameters: Parameters) -> Tensor:
        """Return the augmented images, of the same shape and dtype.

        Draws nothing; row i follows from image i and parameters i alone, and stays in [0, 1] where
        the image does.
        """


def slice_parameters(parameters: Parameters, start: int, stop: int) -> Parameters:
    """Return the parameters of images `start` to `stop`, the latter excluded, without a copy."""
    if isinstance(parameters, Tensor):
        return parameters[start:stop]
    if is_dataclass(parameters) and not isinstance(parameters, type):
        names = (field.name for field in fields(parameters))
        parts = {name: getattr(parameters, name)[start:stop] for name in names}
        return replace(parameters, **parts)
    raise InputError(
        "the parameters of an operation must be a tensor or a dataclass of tensors, with an image "
        f"a row; got {type(parameters).__name__}."
    )


def on_device(generator: torch.Generator, device: torch.device) -> torch.Generator:
    """Return a generator for draws on `device`: itself, or a new one seeded by one draw of it.

    Raises `InputError` for a generator of another device that is not the CPU.
    """
    if generator.device.type == device.type:
        return generator
    if generator.device.type != "cpu":
        raise InputError(
            f"the generator is on {generator.device} and the images are on {device}; pass "
            "torch.Generator(), which serves images on every device."
        )
    if device.type == "meta":
        raise InputError("nothing can be drawn on the device 'meta', which holds no values.")
    seed = int(torch.randint(2**62, (), generator=generator))
    return torch.Generator(device).manual_seed(seed)


def check_augmentable(images: Shaped[Tensor, "..."]) -> None:
    """Refuse anything but a floating point batch `(N, C, H, W)`, without waiting for a device.

    Pixel values are not looked at. Raises `InputError`.
    """
    if not isinstance(images, Tensor):
        raise InputError(
            f"images must be a tensor (N, C, H, W) in [0, 1], got {type(images).__name__}; "
            "convert an array with torch.from_numpy(array)."
        )
    if images.ndim != 4:
        raise InputError(
            f"images must be a batch (N, C, H, W), got shape {tuple(images.shape)}; "
            "add a batch dimension with images.unsqueeze(0)."
        )
    if images.numel() == 0:
        raise InputError(f"the batch is empty: images have shape {tuple(images.shape)}.")
    if not images.is_floating_point():
        raise InputError(
            f"images must be floating point in [0, 1], got {images.dtype}; "
            "convert 8-bit images with robustkit.data.to_float(images)."
        )
    check_size("images", images)


def check_operations(operations: Sequence[object]) -> None:
    """Refuse an empty list, and anything in it that is no operation; raises `InputError`."""
    if len(operations) == 0:
        raise InputError("there are no operations to mix; pass at least one.")
    for number, operation in enumerate(operations):
        if isinstance(operation, type):
            name = operation.__name__
            raise InputError(f"operations[{number}] is the class {name}; make one: {name}(...).")
        # Every module has a method `apply`, which is another thing.
        foreign = getattr(type(operation), "apply", None) is nn.Module.apply
        if foreign or not isinstance(operation, Operation):
            raise InputError(
                f"operations[{number}] is no operation, got {type(operation).__name__}: give it "
                "the methods sample and apply of robustkit.augment.Operation. Of a transform like "
                "Prime or AugMix pass the operations: [*Prime().operations]."
            )


def working_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype to compute in: float64 for float64, float32 for all others."""
    # In half precision a table of curve values or a pixel coordinate is too coarse.
    return torch.float64 if dtype == torch.float64 else torch.float32


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which no surrounding autocast rounds tables and coordinates."""
    if torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()
