"""LeNets for 28 x 28 images: the classical one, and the wide one of the published MNIST weights."""

import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from robustkit.errors import InputError
from robustkit.models.sizes import check_sizes


def _check_size(images: Shaped[Tensor, "..."]) -> None:
    if images.shape[-2:] != (28, 28):
        raise InputError(
            f"LeNet takes images of 28 x 28 pixels, got shape {tuple(images.shape)}; resize them, "
            'or use build("small_cnn"), which takes any size.'
        )


class LeNet(nn.Module):
    """Two 5 x 5 convolutions (6 and 16 channels), then 120, 84 and K units.

    Images are `(N, channels, 28, 28)`, padded by 2 to the 32 x 32 of the original; rectifiers and
    max-pooling replace its saturating units and learned subsampling. Raises `InputError` on
    another size. Source: LeCun et al., Proc. IEEE 1998, section II.B.
    """

    def __init__(self, *, classes: int = 10, channels: int = 1) -> None:
        super().__init__()
        check_sizes(classes, channels)
        self.conv1 = nn.Conv2d(channels, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.linear1 = nn.Linear(16 * 5 * 5, 120)
        self.linear2 = nn.Linear(120, 84)
        self.linear3 = nn.Linear(84, classes)

    def forward(self, images: Shaped[Tensor, "..."]) -> Float[Tensor, "n classes"]:
        """Return logits `(N, K)`."""
        _check_size(images)
        features = F.max_pool2d(F.relu(self.conv1(images)), 2)
        features = F.max_pool2d(F.relu(self.conv2(features)), 2).flatten(1)
        features = F.relu(self.linear2(F.relu(self.linear1(features))))
        logits: Tensor = self.linear3(features)
        return logits


class WideLeNet(nn.Module):
    """Two 3 x 3 convolutions (32 and 64 channels), then 200 and K units.

    The network of AdverTorch's published MNIST weights, called LeNet-5 there. Images are
    `(N, channels, 28, 28)`. Raises `InputError` on another size.
    """

    def __init__(self, *, classes: int = 10, channels: int = 1) -> None:
        super().__init__()
        check_sizes(classes, channels)
        self.conv1 = nn.Conv2d(channels, 32, 3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1)
        self.linear1 = nn.Linear(64 * 7 * 7, 200)
        self.linear2 = nn.Linear(200, classes)

    def forward(self, images: Shaped[Tensor, "..."]) -> Float[Tensor, "n classes"]:
        """Return logits `(N, K)`."""
        _check_size(images)
        features = F.max_pool2d(F.relu(self.conv1(images)), 2)
        features = F.max_pool2d(F.relu(self.conv2(features)), 2).flatten(1)
        logits: Tensor = self.linear2(F.relu(self.linear1(features)))
        return logits
