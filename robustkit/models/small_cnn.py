"""A convolutional network that trains in seconds on a laptop."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from robustkit.models.sizes import check_sizes


class SmallCNN(nn.Module):
    """Three 3 x 3 convolutions with batch normalisation, an average over the plane, a linear layer.

    The widths are 16, 32 and 64; the second and third convolution halve the resolution. Images
    are `(N, channels, H, W)` of any size from 8 x 8 on.
    """

    def __init__(self, *, classes: int = 10, channels: int = 3) -> None:
        super().__init__()
        check_sizes(classes, channels)
        self.conv1 = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(32)
        self.conv3 = nn.Conv2d(32, 64, 3, stride=2, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(64)
        self.linear = nn.Linear(64, classes)

    def forward(
        self, images: Float[Tensor, "n channels height width"]
    ) -> Float[Tensor, "n classes"]:
        """Return logits `(N, K)`."""
        features = F.relu(self.bn1(self.conv1(images)))
        features = F.relu(self.bn2(self.conv2(features)))
        features = F.relu(self.bn3(self.conv3(features)))
        logits: Tensor = self.linear(features.mean(dim=(2, 3)))
        return logits
