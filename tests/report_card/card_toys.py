"""Classifiers whose card is known in closed form, and images for them."""

import torch
from torch import Tensor, nn
from toys import Linear

from robustkit.corruptions.severities import ALL_SEVERITIES
from robustkit.report_card.sample import Sample, Settings


class Columns(nn.Module):
    """Class 1 where the brightest column of the window is odd, else class 0."""

    def __init__(self) -> None:
        super().__init__()
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        column = images.sum(dim=(1, 2)).argmax(dim=1)
        return nn.functional.one_hot(column % 2, 2).float()


def constant(label: int = 1, classes: int = 3, size: int = 64) -> Linear:
    """The classifier that always says `label`, and passes a gradient of zero."""
    bias = nn.functional.one_hot(torch.tensor(label), classes).float()
    return Linear(torch.zeros(classes, size), bias)


def two_classes(side: int = 8, channels: int = 1, seed: int = 0) -> Linear:
    """A random linear classifier of two classes whose boundary passes through mid-grey."""
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(channels * side * side, generator=generator)
    weight = torch.stack([normal / 2, -normal / 2])
    return Linear(weight, -weight.sum(1) / 2)


def grey(count: int = 12, side: int = 8, channels: int = 1, spread: float = 0.02) -> Tensor:
    """Images near mid-grey, so that no short step leaves [0, 1]."""
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(count, channels, side, side, generator=generator)
    return (0.5 + spread * noise).clamp(0, 1)


def levels(count: int = 12, side: int = 8, channels: int = 1, seed: int = 2) -> Tensor:
    """Images of random 8-bit levels."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, channels, side, side), generator=generator).to(torch.uint8)


def sample_of(images: Tensor, labels: Tensor, size: tuple[int, int] | None = None) -> Sample:
    """All images in their order."""
    window = (images.shape[2], images.shape[3]) if size is None else size
    return Sample(images, labels, torch.arange(len(images)), window)


def settings(**changes: object) -> Settings:
    """Settings of a small card."""
    usual = {"classes": ("a", "b", "c"), "crop": (7, 7), "severities": ALL_SEVERITIES}
    return Settings(**{**usual, **changes})
