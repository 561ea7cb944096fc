"""Augmentations that make networks hold under corruptions: PRIME, AugMix, and mixtures of any.

`Prime` and `AugMix` transform batches. `Spectral`, `Diffeomorphism` and `Color` are the primitives
of PRIME, with `filter_images`, `warp` and `tone_curve` for parameters of your own; `mix` takes any
list of operations. `jsd_loss` asks for the same answer on several views of an image.
"""

from robustkit.augment.augmix import AugMix
from robustkit.augment.augmix_operations import AugMixOperation, augmix_operations
from robustkit.augment.color import Color, ToneCurves, tone_curve
from robustkit.augment.consistency import jsd_loss
from robustkit.augment.diffeomorphism import (
    Diffeomorphism,
    Warps,
    displacement_field,
    jacobian_determinants,
    make_invertible,
    temperature_range,
    warp,
)
from robustkit.augment.mixing import Call, Mixture, mix, sample_mixture
from robustkit.augment.operation import Operation
from robustkit.augment.presets import primitives
from robustkit.augment.prime import Prime
from robustkit.augment.spectral import Spectral, filter_images

__all__ = [
    "AugMix",
    "AugMixOperation",
    "Call",
    "Color",
    "Diffeomorphism",
    "Mixture",
    "Operation",
    "Prime",
    "Spectral",
    "ToneCurves",
    "Warps",
    "augmix_operations",
    "displacement_field",
    "filter_images",
    "jacobian_determinants",
    "jsd_loss",
    "make_invertible",
    "mix",
    "primitives",
    "sample_mixture",
    "temperature_range",
    "tone_curve",
    "warp",
]
