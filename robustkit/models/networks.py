"""Untrained networks by name, with seeded weights."""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from robustkit.errors import InputError, unknown
from robustkit.models.lenet import LeNet, WideLeNet
from robustkit.models.mlp import MLP
from robustkit.models.resnet import published_resnet, resnet18
from robustkit.models.small_cnn import SmallCNN
from robustkit.models.vgg import VGG19

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "lenet": LeNet,
    "wide_lenet": WideLeNet,
    "resnet18": resnet18,
    "resnet20": partial(published_resnet, 20),
    "resnet32": partial(published_resnet, 32),
    "resnet44": partial(published_resnet, 44),
    "resnet56": partial(published_resnet, 56),
    "small_cnn": SmallCNN,
    "vgg19": VGG19,
}


def build(name: str, classes: int = 10, channels: int = 3, seed: int = 0) -> nn.Module:
    """Build an untrained network from `channels`-channel images to `classes` logits, in eval mode.

    Names: lenet and wide_lenet (28 x 28 images), resnet20, resnet32, resnet44, resnet56 and
    resnet18 (CIFAR forms), vgg19 (with batch normalisation), small_cnn (any size from 8 x 8 on).
    Normalisation is not part of it: wrap it in `Normalized` to train on normalised images. Equal
    seeds give equal weights, and the global random generators are left as they were. Raises
    `InputError` for an unknown name or impossible sizes.
    """
    if name not in NETWORKS:
        raise unknown("network", name, NETWORKS)
    if classes < 2 or channels < 1:
        raise InputError(
            f"a network needs at least 2 classes and 1 channel, got {classes} and {channels}."
        )
    return _seeded(lambda: NETWORKS[name](classes=classes, channels=channels), seed)


def build_mlp(
    size: int, classes: int = 2, *, width: int = 500, depth: int = 10, seed: int = 0
) -> nn.Module:
    """Build an untrained `MLP` from points of `size` components to `classes` logits, in eval mode.

    It has `depth` hidden layers of `width` units; the random numbers are handled as in `build`.
    Raises `InputError` for impossible sizes.
    """
    return _seeded(lambda: MLP(size, classes, width, depth), seed)


def _seeded(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        # torch.manual_seed would also reseed the generator of every GPU.
        torch.default_generator.manual_seed(seed)
        network = make()
    return network.eval()
