"""Residual networks for 32 x 32 images: ResNet-20, 32, 44, 56 and the CIFAR form of ResNet-18."""

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from robustkit.errors import InputError
from robustkit.models.sizes import check_sizes


class SubsampledIdentity(nn.Module):
    """The shortcut without parameters: every second pixel, new channels filled with zeros.

    Source: He et al., Deep residual learning, CVPR 2016, section 3.3, option A.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.before = (outputs - inputs) // 2
        self.after = outputs - inputs - self.before

    def forward(
        self, features: Float[Tensor, "n inputs height width"]
    ) -> Float[Tensor, "n outputs half_height half_width"]:
        """Return the features at half the resolution, between zero channels."""
        return F.pad(features[:, :, ::2, ::2], (0, 0, 0, 0, self.before, self.after))


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions with batch normalisation, added to a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int, projection: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module
        if stride == 1 and inputs == outputs:
            self.shortcut = nn.Identity()
        elif projection:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )
        else:
            self.shortcut = SubsampledIdentity(inputs, outputs)

    def forward(
        self, features: Float[Tensor, "n inputs height width"]
    ) -> Float[Tensor, "n outputs new_height new_width"]:
        """Return relu(residual + shortcut)."""
        residual = F.relu(self.bn1(self.conv1(features)))
        residual = self.bn2(self.conv2(residual))
        return F.relu(residual + self.shortcut(features))


class CifarResNet(nn.Module):
    """A residual network with a 3 x 3 stem and no max-pooling, for images of about 32 x 32.

    `blocks` and `widths` give the number of blocks and the channels of each stage; every stage
    after the first halves the resolution. With `projection` the shortcut that changes the width
    is a 1 x 1 convolution, else it has no parameters. Images are `(N, channels, H, W)`.
    """

    def __init__(
        self,
        blocks: Sequence[int],
        widths: Sequence[int],
        *,
        projection: bool,
        classes: int = 10,
        channels: int = 3,
    ) -> None:
        super().__init__()
        check_sizes(classes, channels)
        if min([*blocks, *widths], default=0) < 1 or len(blocks) != len(widths):
            raise InputError(
                f"blocks and widths must be at least 1 for each stage, got {blocks} and {widths}."
            )
        self.conv1 = nn.Conv2d(channels, widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.stages: list[str] = []
        inputs = widths[0]
        for stage, (count, width) in enumerate(zip(blocks, widths, strict=True), start=1):
            strides = [1 if stage == 1 else 2] + [1] * (count - 1)
            layers = []
            for stride in strides:
                layers.append(BasicBlock(inputs, width, stride, projection))
                inputs = width
            # The published weights call the stages layer1, layer2, ...
            self.add_module(f"layer{stage}", nn.Sequential(*layers))
            self.stages.append(f"layer{stage}")
        self.linear = nn.Linear(inputs, classes)

    def forward(
        self, images: Float[Tensor, "n channels height width"]
    ) -> Float[Tensor, "n classes"]:
        """Return logits `(N, K)`."""
        features = F.relu(self.bn1(self.conv1(images)))
        for stage in self.stages:
            features = self.get_submodule(stage)(features)
        logits: Tensor = self.linear(features.mean(dim=(2, 3)))
        return logits


def published_resnet(depth: int, *, classes: int = 10, channels: int = 3) -> CifarResNet:
    """Build ResNet-`depth` for CIFAR (depth = 6n + 2: 20, 32, 44, 56) with He initialisation.

    Source: He et al., Deep residual learning, CVPR 2016, section 4.2.
    """
    count = (depth - 2) // 6
    network = CifarResNet(
        [count] * 3, [16, 32, 64], projection=False, classes=classes, channels=channels
    )
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
    return network


def resnet18(*, classes: int = 10, channels: int = 3) -> CifarResNet:
    """Build ResNet-18 in its CIFAR form: four stages of two blocks, 64 to 512 channels.

    The stages are those of He et al., CVPR 2016, table 1; the 3 x 3 stem without max-pooling is
    what the literature uses on 32 x 32 images. Initialisation is PyTorch's default.
    """
    return CifarResNet(
        [2] * 4, [64, 128, 256, 512], projection=True, classes=classes, channels=channels
    )
