"""Networks by recipe: loaded, trained from scratch, or trained further."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from robustkit import models
from robustkit.checks import check_device
from robustkit.data import Dataset
from robustkit.data.dataset import check_dataset
from robustkit.errors import InputError, unknown
from robustkit.training.loop import train

_VERBS = ("load", "train", "tune")
_SECONDS = "seconds of training"


def obtain(
    recipe: str,
    dataset: Dataset | None = None,
    *,
    device: str | torch.device = "cpu",
    seed: int = 0,
    mean: float = 0.5,
    std: float = 0.25,
    once: Callable[[Callable[[Path | None], Mapping[str, Tensor]]], Mapping[str, Tensor]]
    | None = None,
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
    - `once`: as in `train_once`; a recipe that only loads never calls it.

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
    model.to(device).requires_grad_(True)
    if once is None:
        train(model, dataset, seed=seed, **settings)
    else:
        train_once(model, dataset, once=once, seed=seed, **settings)
    return model.requires_grad_(False)


def train_once(
    model: nn.Module,
    dataset: Dataset,
    *,
    once: Callable[[Callable[[Path | None], Mapping[str, Tensor]]], Mapping[str, Tensor]],
    **settings: Any,
) -> float:
    """Train `model` in place as `train` does, or give it the weights of that very training.

    Returns the seconds that the training took, be it now or then.

    - `once`: decides which, for instance `functools.partial(work.once, "a name")` of some
      `work = robustkit.pieces.Pieces()`. It is called with a function that trains, from the path
      of a checkpoint or None to the state of the network and those seconds, tensors by name, and
      returns these, or kept ones.
    - `settings`: as in `robustkit.training.train`.

    Raises as `train` and `once` do.
    """

    def trained(checkpoint: Path | None) -> Mapping[str, Tensor]:
        given = settings if checkpoint is None else settings | {"checkpoint": checkpoint}
        seconds = train(model, dataset, **given).seconds
        return {**model.state_dict(), _SECONDS: torch.tensor(seconds, dtype=torch.float64)}

    state = dict(once(trained))
    seconds = float(state.pop(_SECONDS))
    model.load_state_dict(state)
    # Training leaves this order in memory, and the order decides how a processor sums.
    if settings.get("channels_last", True):
        model.to(memory_format=torch.channels_last)
    return seconds
