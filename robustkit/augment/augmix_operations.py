"""The operations of AugMix with their random strengths, one draw an image."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from robustkit.augment.augmix_enhancement import brightness, color, contrast, sharpness
from robustkit.augment.augmix_geometry import rotate, shear_x, shear_y, translate_x, translate_y
from robustkit.augment.augmix_tones import autocontrast, equalize, posterize, solarize
from robustkit.augment.operation import on_device
from robustkit.errors import InputError, unknown

_WITHOUT_ARGUMENT: dict[str, Callable[[Tensor], Tensor]] = {
    "autocontrast": autocontrast,
    "equalize": equalize,
}
_WITH_ARGUMENT: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "posterize": posterize,
    "rotate": rotate,
    "solarize": solarize,
    "shear_x": shear_x,
    "shear_y": shear_y,
    "translate_x": translate_x,
    "translate_y": translate_y,
    "color": color,
    "contrast": contrast,
    "brightness": brightness,
    "sharpness": sharpness,
}
# "color" and later ones are kept out of the default list: they resemble corruptions of test sets.
_ALL = (*_WITHOUT_ARGUMENT, *_WITH_ARGUMENT)
_DEFAULT = _ALL[: _ALL.index("color")]


@dataclass(frozen=True)
class AugMixOperation:
    """One operation of AugMix: `sample` draws its argument for each image, `apply` performs it.

    - `name`: autocontrast, equalize, posterize, rotate, solarize, shear_x, shear_y, translate_x,
      translate_y, color, contrast, brightness or sharpness.
    - `severity`: the largest strength, in [0.1, 10]; strengths are uniform from 0.1 to it.

    At strength s posterize keeps `4 - floor(4 s / 10)` of 8 bits: 4 below 2.5, and 1 from 7.5 on.
    At strength 10 an image turns by 30 degrees, is inverted from level 0 on, has a slope of 0.3, or
    moves by a third of its side; turns, levels and translations are truncated to whole degrees,
    levels and pixels. Turns, slopes and translations go either way with probability 1/2. The
    enhancement factors go from 0.1 to 1.9. Raises `InputError` for another name or severity.

    Source: Hendrycks et al., AugMix, ICLR 2020, with its published code.
    """

    name: str
    severity: int | float = 3

    def __post_init__(self) -> None:
        if self.name not in _ALL:
            raise unknown("operation", self.name, _ALL)
        if not 0.1 <= self.severity <= 10:
            raise InputError(f"severity must lie in [0.1, 10], got {self.severity}.")

    def sample(
        self,
        count: int,
        shape: tuple[int, int, int],
        *,
        generator: torch.Generator,
        dtype: torch.dtype,
        device: torch.device,
    ) -> Float[Tensor, "n *argument"]:
        """Draw the argument of `count` images of shape (C, H, W): `(N,)`, or `(N, 0)` for none.

        It is float32 whatever `dtype` is, since `apply` computes in it. The generator may be one of
        the CPU. Raises `InputError` for one of a third device.
        """
        if self.name in _WITHOUT_ARGUMENT:
            return torch.empty(count, 0, device=device)
        draws = torch.rand(2, count, generator=on_device(generator, device), device=device)
        strength = (0.1 + (self.severity - 0.1) * draws[0]) / 10
        sign = torch.where(draws[1] < 0.5, -1.0, 1.0)
        if self.name == "posterize":
            return 4 - (strength * 4).floor()
        if self.name == "solarize":
            return 256 - (strength * 256).floor()
        if self.name == "rotate":
            return sign * (strength * 30).floor()
        if self.name in ("shear_x", "shear_y"):
            return sign * strength * 0.3
        if self.name in ("translate_x", "translate_y"):
            side = shape[2] if self.name == "translate_x" else shape[1]
            return sign * (strength * (side / 3)).floor()
        return strength * 1.8 + 0.1

    def apply(
        self, images: Shaped[Tensor, "..."], parameters: Shaped[Tensor, "..."]
    ) -> Float[Tensor, "n c h w"]:
        """Return the images, rounded to 8-bit levels, after the operation with these arguments."""
        if self.name in _WITHOUT_ARGUMENT:
            return _WITHOUT_ARGUMENT[self.name](images)
        return _WITH_ARGUMENT[self.name](images, parameters)


def augmix_operations(
    severity: int | float = 3, *, all_operations: bool = False
) -> tuple[AugMixOperation, ...]:
    """Return the nine operations of AugMix, or with `all_operations` the thirteen.

    The four that are added (color, contrast, brightness, sharpness) resemble corruptions of the
    test sets CIFAR-10-C and ImageNet-C, which is why the paper leaves them out. Raises `InputError`
    for a severity outside of [0.1, 10].
    """
    names = _ALL if all_operations else _DEFAULT
    return tuple(AugMixOperation(name, severity) for name in names)
