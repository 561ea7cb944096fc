"""A dataset and a network small enough to train in milliseconds."""

import torch
from torch import Tensor, nn

from robustkit.data import Dataset
from robustkit.models import Normalized


def bars(count: int = 96) -> Dataset:
    """Noise with a bright bar: vertical in class 0, horizontal in class 1."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 100, (count, 1, 8, 8), dtype=torch.uint8, generator=generator)
    labels = torch.arange(count) % 2
    place = torch.randint(0, 8, (count,), generator=generator)
    for image, label, at in zip(images, labels.tolist(), place.tolist(), strict=True):
        (image[0] if label else image[0].T)[at] += 120
    return Dataset("bars", "train", images, labels, ("vertical", "horizontal"))


def network(seed: int = 0) -> nn.Module:
    """A convolution with batch normalisation, dropout and a linear layer, normalised."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        layers = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.AdaptiveMaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.1),
            nn.Linear(32, 2),
        )
    return Normalized(layers, 0.3, 0.25)


def plain_network(seed: int = 0) -> nn.Module:
    """A convolution and a linear layer: what an image makes of it depends on no other image."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        layers = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveMaxPool2d(2),
            nn.Flatten(),
            nn.Linear(32, 2),
        )
    return Normalized(layers, 0.3, 0.25)


def same(first: nn.Module, second: nn.Module) -> bool:
    """Whether two networks have the same state bit for bit."""
    one, other = first.state_dict(), second.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


class Halve(nn.Module):
    """A transform with a stable name."""

    def forward(self, images: Tensor) -> Tensor:
        return images / 2
