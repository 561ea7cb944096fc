"""The smallest objects that public functions take: networks, photographs, records, tables."""

import tempfile
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from math import prod
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from robustkit import attacks, corruptions, margins, records
from robustkit.data import Dataset

CLASSES = 5


@cache
def network(outputs: int = CLASSES, channels: int = 3) -> nn.Module:
    """A convolution, a pool and a linear layer, frozen, in eval mode; any size of images."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        layers = nn.Sequential(
            nn.Conv2d(channels, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(6, outputs),
        )
    return layers.eval().requires_grad_(False)


def trainable() -> nn.Module:
    """The same with parameters that ask for gradients, new each time."""
    return deepcopy(network()).requires_grad_(True)


def photographs(count: int = 2, side: int = 16) -> Tensor:
    """Images (N, 3, side, side) in [0, 1] with edges, each another."""
    places = torch.arange(count * 3 * side * side).reshape(count, 3, side, side)
    return (places * 89 % 251).float() / 255


def levels(count: int = 2) -> Tensor:
    """The same as 8-bit levels."""
    return (photographs(count) * 255).to(torch.uint8)


def labels() -> Tensor:
    """The labels that the network gives."""
    found: Tensor = network()(photographs()).argmax(1)
    return found


def dataset() -> Dataset:
    """Eight labelled 8-bit images."""
    return Dataset("toy", "train", levels(8), torch.arange(8) % CLASSES, tuple("abcde"))


def attack() -> attacks.AttackResult:
    """What an attack returns."""
    return attacks.pgd(network(), photographs(), labels(), radius=0.5, steps=2)


def blocks() -> list[margins.Subspace]:
    """Three subspaces of the photographs."""
    return list(margins.diagonal_blocks((3, 16, 16), size=8))


def judged() -> corruptions.CorruptionTable:
    """Hits of four images in all cells of the benchmark."""
    cells = tuple((name, level) for name in corruptions.CORRUPTIONS for level in range(1, 6))
    hits = torch.arange(75 * 4).reshape(75, 4) % 3 == 0
    return corruptions.CorruptionTable(cells, hits, torch.ones(4).bool())


@cache
def released() -> Path:
    """A folder like that of CIFAR-10-C."""
    folder = Path(tempfile.mkdtemp())
    np.save(folder / "fog.npy", np.zeros((20, 16, 16, 3), np.uint8))
    np.save(folder / "labels.npy", np.tile(np.arange(4), 5))
    return folder


@cache
def released_photographs() -> Path:
    """A folder like that of ImageNet-C."""
    folder = Path(tempfile.mkdtemp())
    for level in "12345":
        place = folder / "fog" / level / "n1"
        place.mkdir(parents=True)
        Image.new("RGB", (16, 16)).save(place / "one.JPEG")
    return folder


def record() -> records.Record:
    """A record with a scalar and a table."""
    made = records.Record("01_preliminaries", {"profile": "smoke"})
    made.scalar("answer", 42)
    made.table("curve", {"x": [1, 2]})
    return made


def new_file() -> Path:
    """A path in a folder that is there; nothing is at it."""
    return Path(tempfile.mkdtemp()) / "file"


def record_file() -> Path:
    """A file with the record."""
    path = new_file()
    records.write(path, record().as_dict())
    return path


def index(*shape: int, below: int = 2) -> Callable[[], Tensor]:
    """Return a maker of small int64 tensors."""
    size = prod(shape)
    return lambda: (torch.arange(size) % below).reshape(shape)


def reals(*shape: int) -> Callable[[], Tensor]:
    """Return a maker of real tensors in [0, 1)."""
    size = prod(shape)
    return lambda: ((torch.arange(size) * 37 % 101) / 101).reshape(shape)


def flags(*shape: int) -> Callable[[], Tensor]:
    """Return a maker of truth values."""
    return lambda: index(*shape)().bool()
