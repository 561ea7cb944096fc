"""VGG-19 with batch normalisation, for 32 x 32 images."""

from jaxtyping import Float
from torch import Tensor, nn

from robustkit.models.sizes import check_sizes

_WIDTHS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))


class VGG19(nn.Module):
    """Sixteen 3 x 3 convolutions with batch normalisation in five pooled stages, one linear layer.

    Images are `(N, channels, H, W)`, H and W at least 32; what is left of the plane after five
    poolings is averaged. Source: Simonyan and Zisserman, ICLR 2015, table 1, column E; the single
    linear layer in place of three is the CIFAR form that the literature uses.
    """

    def __init__(self, *, classes: int = 10, channels: int = 3) -> None:
        super().__init__()
        check_sizes(classes, channels)
        layers: list[nn.Module] = []
        inputs = channels
        for width, count in _WIDTHS:
            for _ in range(count):
                convolution = nn.Conv2d(inputs, width, 3, padding=1)
                layers += [convolution, nn.BatchNorm2d(width), nn.ReLU()]
                inputs = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(inputs, classes)

    def forward(
        self, images: Float[Tensor, "n channels height width"]
    ) -> Float[Tensor, "n classes"]:
        """Return logits `(N, K)`."""
        logits: Tensor = self.classifier(self.features(images).mean(dim=(2, 3)))
        return logits
