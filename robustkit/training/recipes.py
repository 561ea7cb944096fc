"""Published training recipes, as arguments of `train`."""

import inspect
from typing import Any

from robustkit.errors import InputError, unknown
from robustkit.training.loop import train
from robustkit.training.settings import Adversarial, Projection

_RADII = {"cifar10": 1.0, "mnist": 2.0}
_CIFAR = ("cifar10", "cifar100")
_METHODS = ("standard", "augmix", "prime")


def hold_me_tight(
    dataset: str = "cifar10",
    *,
    adversarial: bool | Adversarial = False,
    projection: Projection | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """Return the arguments of `train` that Hold me tight! uses for MNIST and CIFAR-10.

    `training.train(model, data, **hold_me_tight("mnist", epochs=5))` trains with them. They are 30
    epochs of batches of 128, momentum 0.9, weight decay 5e-4, a learning rate that rises in a line
    to 0.21 at 2/5 of the iterations and falls to 0, gradients of l2 norm at most 0.5, no
    augmentation.

    - `dataset`: "mnist" or "cifar10"; they differ in the radius of the attack alone.
    - `adversarial`: train on l2 PGD examples of radius 2 (MNIST) or 1 (CIFAR-10), for images in
      [0, 1]. The 7 steps are recalled and not verified; their length is the default of `pgd`. Or an
      attack of your own.
    - `projection`: keep the examples where it puts them instead of in ball and box, for data whose
      pixels are bounded in another basis; see `robustkit.margins.project_ball_box`.
    - `changes`: other arguments of `train`, which replace those of the recipe.

    Raises `InputError` for an unknown dataset or argument, or a projection without `adversarial`.

    Source: Ortiz-Jimenez et al., Hold me tight! Influence of discriminative features on deep
    network boundaries, NeurIPS 2020: its published code, and for the radii its list of weights.
    """
    if dataset not in _RADII:
        raise unknown("dataset", dataset, _RADII)
    _check(changes, own="adversarial")
    if projection is not None and adversarial is not True:
        raise InputError("a projection needs examples to project; pass adversarial=True.")
    attack = Adversarial(
        2,
        _RADII[dataset],
        steps=7,
        bounds=(0.0, 1.0) if projection is None else None,
        projection=projection,
    )
    recipe: dict[str, Any] = {
        "epochs": 30,
        "learning_rate": 0.21,
        "batch_size": 128,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "schedule": "triangular",
        "peak_at": 0.4,
        "clip": 0.5,
        "augment": False,
        "adversarial": attack if adversarial is True else adversarial or None,
    }
    return recipe | changes


def prime(
    dataset: str = "cifar10",
    *,
    method: str = "prime",
    consistency: int | float | None = 12.0,
    **changes: Any,
) -> dict[str, Any]:
    """Return the arguments of `train` that PRIME uses for ResNet-18 on CIFAR-10 and CIFAR-100.

    `training.train(model, data, **prime("cifar10", method="augmix", seed=1))` trains with them.
    They are 100 epochs of batches of 128, Nesterov momentum 0.9, weight decay 5e-4, a one-cycle
    learning rate that peaks at 0.2 after a quarter of the iterations, gradients of l2 norm at most
    0.5, random crops and flips.

    - `dataset`: "cifar10" or "cifar100"; the arguments are the same.
    - `method`: "standard", "augmix" (severity 3) or "prime" (its CIFAR preset).
    - `consistency`: the weight of the consistency loss, or None to train on transformed images
      alone; "standard" has no views to compare, and its weight is None in any case.
    - `changes`: other arguments of `train`, which replace those of the recipe.

    Three things differ from the published code: its scheduler also moves the momentum, from 0.95
    to 0.85 at the peak and back; its crops are padded with black and not by reflection; and it
    keeps the weights of the best epoch on the test set, `train` those of the last.

    Raises `InputError` for an unknown dataset, method or argument.

    Source: Modas et al., PRIME: A few primitives can boost robustness to common corruptions, ECCV
    2022: its published code.
    """
    if dataset not in _CIFAR:
        raise unknown("dataset", dataset, _CIFAR)
    if method not in _METHODS:
        raise unknown("method", method, _METHODS)
    _check(changes, own="consistency")
    # Imported here, so that a run without augmentations does not depend on their source files.
    from robustkit.augment.augmix import AugMix
    from robustkit.augment.prime import Prime

    transforms = {"standard": None, "augmix": AugMix(severity=3), "prime": Prime(preset="cifar")}
    recipe: dict[str, Any] = {
        "epochs": 100,
        "learning_rate": 0.2,
        "batch_size": 128,
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 5e-4,
        "schedule": "one-cycle",
        "peak_at": 0.25,
        "clip": 0.5,
        "augment": True,
        "transform": transforms[method],
        "consistency": None if method == "standard" else consistency,
    }
    return recipe | changes


def _check(changes: dict[str, Any], own: str) -> None:
    """Refuse what is no argument of `train`, or is one of the recipe's own."""
    known = inspect.signature(train).parameters.keys() - {"model", "dataset", own}
    for name in changes:
        if name not in known:
            raise unknown("argument", name, known)
