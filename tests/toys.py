"""Classifiers that the tests of several folders share."""

from torch import Tensor, nn


class Linear(nn.Module):
    """Logits W x + b of the flattened image, for images of any size that W fits."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1) @ self.weight.T + self.bias
