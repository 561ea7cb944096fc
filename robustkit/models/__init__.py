"""Networks and trained models: images `(N, C, H, W)` in [0, 1] in, logits `(N, K)` out.

Normalisation is a layer inside (`Normalized`), and every network handed out is in eval mode.
"""

from robustkit.models.cards import CARDS, ModelCard, card
from robustkit.models.external import from_timm, from_torchvision
from robustkit.models.lenet import LeNet, WideLeNet
from robustkit.models.mlp import MLP
from robustkit.models.networks import NETWORKS, build, build_mlp
from robustkit.models.normalized import Normalized
from robustkit.models.resnet import CifarResNet
from robustkit.models.small_cnn import SmallCNN
from robustkit.models.vgg import VGG19
from robustkit.models.zoo import load

__all__ = [
    "CARDS",
    "MLP",
    "NETWORKS",
    "VGG19",
    "CifarResNet",
    "LeNet",
    "ModelCard",
    "Normalized",
    "SmallCNN",
    "WideLeNet",
    "build",
    "build_mlp",
    "card",
    "from_timm",
    "from_torchvision",
    "load",
]
