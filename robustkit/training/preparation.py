"""Networks by recipe: loaded, trained from scratch, or trained further."""

from typing import Any

import torch
from torch import nn

from robustkit import models
from robustkit.checks import check_device
from robustkit.data import Dataset
from robustkit.data.dataset import check_dataset
from robustkit.errors import InputError, unknown
from robustkit.training.loop import train

_VERBS = ("load", "train", "tune")


def obtain(
    recipe: str,
    dataset: Dataset | None = None,
    *,
    device: str | torch.device = "cpu",
    seed: int = 0,
    mean: float = 0.5,
    std: float = 0.25,
    **settings: Any,
) -> nn.Module:
    """Return a network made by a recipe of two words, in eval mode, its parameters frozen.

    - `recipe`: "load NAME" loads trained weights by the names of `robustkit.models.load`, "train
      NAME" trains one of `robustkit.models.build` from scratch, and "tune NAME" loads trained
      weights and trains them further.
    - `dataset`: what to train on; its classes and channels shape a new network.
    - `mean`, `std`: of the normalisation in front of a new network, one number for all channels.
    - `seed`: of the new network's weights and of its training; `settings`: as in
      `robustkit.training.train`.

    Raises `InputError` for a recipe that cannot be followed, and as loading and training do.
    """
    device = check_device(device)
    verb, _, name = recipe.partition(" ")
    if verb not in _VERBS or not name:
        raise unknown("recipe", recipe, [f"{verb} NAME" for verb in _VERBS])
    if verb == "load":
        return models.load(name, device=device)
    if dataset is None:
        raise InputError(f"the recipe {recipe!r} trains; give it a dataset.")
    check_dataset(dataset)
    if verb == "tune":
        model = models.load(name)
    else:
        channels = dataset.images.shape[1]
        bare = models.build(name, len(dataset.classes), channels=channels, seed=seed)
        model = models.Normalized(bare, mean, std).eval()
    train(model.to(device).requires_grad_(True), dataset, seed=seed, **settings)
    return model.requires_grad_(False)
