"""The strength of every corruption of CIFAR-10-C-bar and ImageNet-C-bar at severities 1 to 5.

The published tables hold levels between 0 and 10 of one scale for all corruptions, chosen so that a
severity costs a classifier as much accuracy as the same severity of CIFAR-10-C and ImageNet-C does.
Here stand those levels, and how a level turns into the parameters of each corruption. The two data
sets share five corruptions; there is no published choice for other image sizes. Source: Mintun,
Kirillov and Xie, On interaction between augmentations and corruptions in natural corruption
robustness, NeurIPS 2021, and the code published with it.
"""

import math
from collections.abc import Callable, Mapping

from robustkit.corruptions.severities import Parameters, Table

Levels = tuple[float, float, float, float, float]

C_BAR_LEVELS: Mapping[str, Mapping[str, Levels]] = {
    "cifar": {
        "blue_noise_sample": (0.7, 1.4, 2.1, 3.5, 4.2),
        "brownish_noise": (2.5, 4.0, 5.5, 6.5, 7.0),
        "checkerboard_cutout": (1.0, 2.0, 3.0, 4.0, 5.0),
        "circular_motion_blur": (2.8, 3.6, 4.4, 5.2, 6.0),
        "inverse_sparkles": (1.0, 1.5, 2.5, 4.5, 5.0),
        "lines": (0.5, 1.0, 1.5, 2.0, 2.5),
        "pinch_and_twirl": (5.5, 6.0, 6.5, 8.5, 10.0),
        "ripple": (5.5, 6.0, 6.5, 7.5, 8.0),
        "sparkles": (0.7, 3.5, 5.6, 6.3, 7.0),
        "transverse_chromatic_abberation": (1.0, 2.0, 5.0, 9.0, 10.0),
    },
    "imagenet": {
        "blue_noise_sample": (0.8, 1.6, 2.4, 4.0, 5.6),
        "brownish_noise": (1.0, 2.0, 3.0, 4.0, 5.0),
        "caustic_refraction": (2.35, 3.2, 4.9, 6.6, 9.15),
        "checkerboard_cutout": (2.0, 3.0, 4.0, 5.0, 6.0),
        "cocentric_sine_waves": (3.0, 5.0, 8.0, 9.0, 10.0),
        "inverse_sparkles": (1.0, 2.0, 4.0, 9.0, 10.0),
        "perlin_noise": (4.6, 5.2, 5.8, 7.6, 8.8),
        "plasma_noise": (4.75, 7.0, 8.5, 9.25, 10.0),
        "single_frequency_greyscale": (1.0, 1.5, 2.0, 4.5, 5.0),
        "sparkles": (1.0, 2.0, 3.0, 5.0, 6.0),
    },
}

# Intensities are published in units of one 8-bit level.
_PARAMETERS: Mapping[str, Callable[[float], Parameters]] = {
    "blue_noise_sample": lambda level: (0.3 * level - 2.5,),
    "brownish_noise": lambda level: (6.4 * level / 255,),
    "caustic_refraction": lambda level: (0.05 * level, 0.2 * level),
    "checkerboard_cutout": lambda level: (0.1 * level,),
    "circular_motion_blur": lambda level: (1.5 * level,),
    "cocentric_sine_waves": lambda level: (12.8 * level / 255,),
    "inverse_sparkles": lambda level: (0.13 * level,),
    "lines": lambda level: (0.1 * level,),
    "perlin_noise": lambda level: (0.05 * level,),
    # 3 blocks a side is the published number for 32 pixels.
    "pinch_and_twirl": lambda level: (0.04 * level + 0.1, 0.05 * math.pi * level, 3),
    "plasma_noise": lambda level: (6.4 * level / 255,),
    "ripple": lambda level: (0.0025 * level,),
    "single_frequency_greyscale": lambda level: (19.6 * level / 255,),
    "sparkles": lambda level: (0.01 * level,),
    "transverse_chromatic_abberation": lambda level: (0.05 * level,),
}


def c_bar_parameters(name: str, level: float) -> Parameters:
    """Return the parameters of the corruption `name` at a published level, from 0 to 10.

    They come in the order of the corruption's own arguments; any level between two severities works
    too. Raises `KeyError` when C-bar has no such corruption.
    """
    return _PARAMETERS[name](level)


C_BAR_SEVERITIES: Mapping[str, Table] = {
    preset: {
        name: tuple(c_bar_parameters(name, level) for level in levels)
        for name, levels in table.items()
    }
    for preset, table in C_BAR_LEVELS.items()
}
