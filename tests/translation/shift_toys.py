"""Small classifiers that shifts fool in known ways, and images for them."""

import torch
from torch import nn


class Function(nn.Module):
    """A function of images as a model in eval mode; it notes how many images each call brought."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function, self.calls = function, []
        self.eval()

    def forward(self, images):
        self.calls.append(len(images))
        return self.function(images)


def constant(label=1, classes=3):
    """The model that always says `label`."""
    row = torch.nn.functional.one_hot(torch.tensor(label), classes).double()
    return Function(lambda images: row.expand(len(images), -1))


def parity():
    """The model that says whether the brightest column of a window is odd."""

    def logits(images):
        column = images.sum(dim=(1, 2)).argmax(dim=1)
        return torch.nn.functional.one_hot(column % 2, 2).double()

    return Function(logits)


def corner(classes=7):
    """The model that says the level of the first pixel, modulo the number of classes."""

    def logits(images):
        level = (images[:, 0, 0, 0].double() * 255).round().long()
        return torch.nn.functional.one_hot(level % classes, classes).double()

    return Function(logits)


def network(classes=5, channels=2, seed=0):
    """A small random network that takes windows of any size."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = nn.Sequential(
            nn.Conv2d(channels, 8, 3, stride=2),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(32, classes),
        )
        # Without a constant, the class depends on the image.
        for layer in (0, 2):
            nn.init.normal_(layers[layer].weight, std=0.5)
        nn.init.normal_(layers[6].weight, std=3.0)
    return layers.double().eval()


def levels(*shape, seed=0):
    drawn = torch.randint(256, shape, generator=torch.Generator().manual_seed(seed))
    return drawn.to(torch.uint8)


def smooth_levels(*shape, seed=0):
    """Images whose neighbouring pixels are alike, as those of photographs."""
    rough = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    blurred = nn.functional.avg_pool2d(rough, 5, 1, padding=2)
    low, high = blurred.amin((1, 2, 3), True), blurred.amax((1, 2, 3), True)
    return ((blurred - low) / (high - low) * 255).round().to(torch.uint8)
