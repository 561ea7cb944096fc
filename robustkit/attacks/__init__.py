"""Attacks: small perturbations of images `(N, *shape)` in [0, 1] that change a model's mind.

Every attack takes a model in eval mode that maps images to logits, works on the batch as a whole,
and returns an `AttackResult` whose row i depends on image i alone.
"""

from robustkit.attacks.classifier import class_gradients
from robustkit.attacks.deepfool import deepfool
from robustkit.attacks.pgd import pgd
from robustkit.attacks.result import AttackResult

__all__ = ["AttackResult", "class_gradients", "deepfool", "pgd"]
