"""Attacks: small perturbations of images `(N, *shape)` in [0, 1] that change a model's mind.

Every attack takes a model in eval mode that maps images to logits, works on the batch as a whole,
and returns an `AttackResult` whose row i depends on image i alone.
"""

from robustkit.attacks.classifier import class_gradients
from robustkit.attacks.deepfool import deepfool
from robustkit.attacks.jsma import jsma
from robustkit.attacks.one_pixel import one_pixel
from robustkit.attacks.pgd import pgd
from robustkit.attacks.pruning import prune
from robustkit.attacks.quantization import quantize
from robustkit.attacks.random_pixels import random_pixels
from robustkit.attacks.result import AttackResult
from robustkit.attacks.sigma_zero import sigma_zero
from robustkit.attacks.sparsefool import sparsefool

__all__ = [
    "AttackResult",
    "class_gradients",
    "deepfool",
    "jsma",
    "one_pixel",
    "pgd",
    "prune",
    "quantize",
    "random_pixels",
    "sigma_zero",
    "sparsefool",
]
