"""The names of all corruptions, with their functions, families and published strengths."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from robustkit.arguments import Number
from robustkit.corruptions.blur import defocus_blur, gaussian_blur, zoom_blur
from robustkit.corruptions.c_bar.caustic import caustic_refraction
from robustkit.corruptions.c_bar.clouds import perlin_noise, plasma_noise
from robustkit.corruptions.c_bar.noise import blue_noise_sample, brownish_noise
from robustkit.corruptions.c_bar.patterns import (
    checkerboard_cutout,
    cocentric_sine_waves,
    lines,
    single_frequency_greyscale,
)
from robustkit.corruptions.c_bar.severities import C_BAR_SEVERITIES
from robustkit.corruptions.c_bar.sparkles import inverse_sparkles, sparkles
from robustkit.corruptions.c_bar.splines import (
    circular_motion_blur,
    transverse_chromatic_abberation,
)
from robustkit.corruptions.c_bar.warps import pinch_and_twirl, ripple
from robustkit.corruptions.color import brightness, contrast, saturate
from robustkit.corruptions.elastic import elastic_transform
from robustkit.corruptions.fog import fog
from robustkit.corruptions.frost import frost
from robustkit.corruptions.glass import glass_blur
from robustkit.corruptions.jpeg import jpeg_compression
from robustkit.corruptions.motion import motion_blur
from robustkit.corruptions.noise import gaussian_noise, impulse_noise, shot_noise, speckle_noise
from robustkit.corruptions.pixelate import pixelate
from robustkit.corruptions.severities import ALL_SEVERITIES, SEVERITIES, Parameters, Table
from robustkit.corruptions.snow import snow
from robustkit.corruptions.spatter import spatter
from robustkit.errors import InputError, unknown

Function = Callable[..., Tensor]

# Shorter sides, in pixels, up to which a preset is the default.
_PRESETS = {"cifar": 48.0, "tiny": 128.0, "imagenet": float("inf")}

_STANDARD: Mapping[str, tuple[Function, ...]] = {
    "noise": (gaussian_noise, shot_noise, impulse_noise),
    "blur": (defocus_blur, glass_blur, motion_blur, zoom_blur),
    "weather": (snow, frost, fog, brightness),
    "digital": (contrast, elastic_transform, pixelate, jpeg_compression),
}
_HELD_OUT: Mapping[str, tuple[Function, ...]] = {
    "noise": (speckle_noise,),
    "blur": (gaussian_blur,),
    "weather": (spatter,),
    "digital": (saturate,),
}
# "Cocentric" and "abberation" are spelled as published.
_C_BAR: tuple[Function, ...] = (
    blue_noise_sample,
    brownish_noise,
    caustic_refraction,
    checkerboard_cutout,
    circular_motion_blur,
    cocentric_sine_waves,
    inverse_sparkles,
    lines,
    perlin_noise,
    pinch_and_twirl,
    plasma_noise,
    ripple,
    single_frequency_greyscale,
    sparkles,
    transverse_chromatic_abberation,
)


@dataclass(frozen=True)
class Corruption:
    """A corruption by name: its function of images, draws and parameters, and its strengths.

    - `severities`: for each preset that the corruption was published for, five rows of parameters.
    """

    name: str
    family: str
    function: Function
    severities: Mapping[str, tuple[Parameters, ...]]

    @property
    def arguments(self) -> tuple[str, ...]:
        """What the numbers of a row are called: the arguments after images and draws."""
        return tuple(
            one.name for one in self._signature() if one.kind is one.POSITIONAL_OR_KEYWORD
        )[2:]

    def check_options(self, options: Mapping[str, object]) -> None:
        """Refuse options that the function does not take; raises `InputError`."""
        known = [one.name for one in self._signature() if one.kind is one.KEYWORD_ONLY]
        for option in options:
            if option not in known:
                raise unknown(f"option of {self.name}", option, known)

    def _signature(self) -> Iterable[inspect.Parameter]:
        return inspect.signature(self.function).parameters.values()


def _build(function: Function, family: str, tables: Mapping[str, Table]) -> Corruption:
    name = function.__name__
    rows = {preset: table[name] for preset, table in tables.items() if name in table}
    return Corruption(name, family, function, rows)


ALL: Mapping[str, Corruption] = {
    corruption.name: corruption
    for corruption in (
        *(
            _build(one, family, SEVERITIES)
            for table in (_STANDARD, _HELD_OUT)
            for family, functions in table.items()
            for one in functions
        ),
        *(_build(one, "c-bar", C_BAR_SEVERITIES) for one in _C_BAR),
    )
}

FAMILIES: Mapping[str, tuple[str, ...]] = {
    family: tuple(one.__name__ for one in functions) for family, functions in _STANDARD.items()
}
CORRUPTIONS: tuple[str, ...] = tuple(name for names in FAMILIES.values() for name in names)
EXTRA: tuple[str, ...] = tuple(one.__name__ for (one,) in _HELD_OUT.values())
C_BAR: tuple[str, ...] = tuple(one.__name__ for one in _C_BAR)
# The two published sets, of CIFAR-10-C-bar and ImageNet-C-bar.
C_BAR_SETS: Mapping[str, tuple[str, ...]] = {
    preset: tuple(table) for preset, table in C_BAR_SEVERITIES.items()
}
PRESETS: tuple[str, ...] = tuple(_PRESETS)


def find(name: str) -> Corruption:
    """Return the corruption of a name; raises `InputError`, with the nearest name, if none is."""
    if name not in ALL:
        raise unknown("corruption", name, ALL)
    return ALL[name]


def preset_of(corruption: Corruption, preset: str | None, side: int) -> str:
    """Return the preset to use for images whose shorter side has `side` pixels.

    Raises `InputError` for an unknown preset, or one that the corruption was not published for.
    """
    if preset is None:
        fitting = next(name for name, most in _PRESETS.items() if side <= most)
        if fitting in corruption.severities or len(corruption.severities) > 1:
            return fitting if fitting in corruption.severities else "imagenet"
        return next(iter(corruption.severities))
    if preset not in _PRESETS:
        raise unknown("preset", preset, _PRESETS)
    if preset not in corruption.severities:
        raise InputError(
            f"{corruption.name} has no published strengths for {preset!r}; choose among "
            f"{', '.join(corruption.severities)}."
        )
    return preset


def parameters(name: str, severity: int, preset: str) -> dict[str, Number]:
    """Return the parameters of a corruption at a severity from 1 to 5, by name.

    They are what the functions of single corruptions, which say what each one means, take after
    images and draws, in their order. `preset` is one that the corruption was published for. Raises
    `InputError` for an unknown name, severity or preset.
    """
    if severity not in ALL_SEVERITIES:
        raise InputError(f"severity must lie in 1 to 5, got {severity}.")
    corruption = find(name)
    row = corruption.severities[preset_of(corruption, preset, 0)][severity - 1]
    return dict(zip(corruption.arguments, row, strict=True))
