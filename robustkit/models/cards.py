"""The published weights that robustkit knows: one model card each."""

from dataclasses import dataclass
from typing import Literal

from robustkit.errors import unknown

_RESNETS = (
    "https://raw.githubusercontent.com/akamaster/pytorch_resnet_cifar10/"
    "d5489e8995e81e91ce6b1d69dcc98ad579b0b153/pretrained_models/"
)
_LENETS = (
    "https://raw.githubusercontent.com/BorealisAI/advertorch/"
    "e063e341c87d9a621ae1a8f72c3507d5ea5bd327/advertorch_examples/trained_models/"
)
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class ModelCard:
    """What is known of one set of published weights.

    `file` is the safetensors form and `sha256` its checksum; `url` and `url_sha256` are the
    publisher's own file with the same numbers, both None where it is not readable as it is.
    `accuracy` was measured by this code, as a fraction, on `evaluated_on`. `shape` is the image
    shape (C, H, W); `mean` and `std` are None where the network takes images in [0, 1] as they are.
    """

    name: str
    network: str
    dataset: str
    classes: int
    shape: tuple[int, int, int]
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    training: str
    accuracy: float
    evaluated_on: str
    source: str
    licence: str
    file: str
    sha256: str
    url: str | None
    url_sha256: str | None


def _resnet(
    depth: Literal[20, 32, 44, 56], accuracy: float, sha256: str, url_sha256: str
) -> ModelCard:
    name = f"cifar10_resnet{depth}"
    return ModelCard(
        name=name,
        network=f"resnet{depth}",
        dataset="cifar10",
        classes=10,
        shape=(3, 32, 32),
        mean=_IMAGENET_MEAN,
        std=_IMAGENET_STD,
        training="standard, with random crops and flips",
        accuracy=accuracy,
        evaluated_on="the 10,000 CIFAR-10 test images",
        source="akamaster/pytorch_resnet_cifar10 (Y. Idelbayev)",
        licence="BSD-2-Clause",
        file=f"{name}.safetensors",
        sha256=sha256,
        # The publisher's file names end in the first digits of their sha256.
        url=f"{_RESNETS}resnet{depth}-{url_sha256[:8]}.th",
        url_sha256=url_sha256,
    )


def _lenet(
    name: str, form: str, training: str, accuracy: float, sha256: str, url_sha256: str
) -> ModelCard:
    return ModelCard(
        name=name,
        network="wide_lenet",
        dataset="mnist",
        classes=10,
        shape=(1, 28, 28),
        mean=None,
        std=None,
        training=training,
        accuracy=accuracy,
        evaluated_on="the 10,000 MNIST test images",
        source="BorealisAI/advertorch",
        licence="LGPL-3.0",
        file=f"mnist_lenet5_{form}.safetensors",
        sha256=sha256,
        url=f"{_LENETS}mnist_lenet5_{form}.pt",
        url_sha256=url_sha256,
    )


_CARDS = (
    _resnet(
        20,
        0.9173,
        "02926273efb1deadb6dc654c7087baea932ef2026d9f854680d6858146d85838",
        "12fca82f0bebc4135bf1f32f6e3710e61d5108578464b84fd6d7f5c1b04036c8",
    ),
    _resnet(
        32,
        0.9263,
        "897ca9a2e3e0f83d51ba9f0b65434c9242c2d4c896ded18d40f5bab4254875da",
        "d509ac1820d7f25398913559d7e81a13229b1e7adc5648e3bfa5e22dc137f850",
    ),
    _resnet(
        44,
        0.9310,
        "c0e417f177f2f9e763c00e58d95804957cda4a81899671d43ee57b972594bc76",
        "014dd6541728a1c700b1642ab640e211dc6eb8ed507d70697458dc8f8a0ae2e4",
    ),
    _resnet(
        56,
        0.9339,
        "cf29b05e3acebb9dc28868ebd84a604ff452971bb6770f22beaff48708079aee",
        "4bfd97631478d6b638d2764fd2baff3edb1d7d82252d54439343b6596b9b5367",
    ),
    _lenet(
        "mnist_lenet5",
        "clntrained",
        "standard",
        0.9889,
        "1414adc7c56b50edc51ebe1e8c62d8af2290600bc368c7964c2ba4eba295b220",
        "551a11267982991fb0c9f74e9094de19e54b51455eff9bd1c19c77a69d85156a",
    ),
    _lenet(
        "mnist_lenet5_adversarial",
        "advtrained",
        "adversarial: l-infinity PGD of radius 0.3, 40 steps of 0.01",
        0.9864,
        "be56397c84df419b8a8d845cb02e1a1111e437a8e71e0f66030f7c4a1df11037",
        "b89abfcfe8b33235fe8f8e964188d82a97c56a12ffe25132eaba197e40ac7658",
    ),
    ModelCard(
        name="imagenet_mobilenet_v2",
        network="torchvision quantization.mobilenet_v2, quantize=False (ReLU, not ReLU6)",
        dataset="imagenet",
        classes=1000,
        shape=(3, 224, 224),
        mean=_IMAGENET_MEAN,
        std=_IMAGENET_STD,
        training="standard, quantisation-aware; 8-bit weights dequantised, batch norm folded in",
        accuracy=0.850,
        evaluated_on="the 1,000 images of the NIPS 2017 adversarial development set, centre crop "
        "224 (picked to be easy: not an ImageNet validation accuracy)",
        source="torchvision's quantised MobileNetV2 weights (QNNPACK)",
        licence="BSD-3-Clause",
        file="imagenet_mobilenet_v2.safetensors",
        sha256="a3b6b3f72daabd900de6b837c7f15023c6815ca5d8bcf228a1b41175e4b42c51",
        url=None,
        url_sha256=None,
    ),
)
CARDS = {card.name: card for card in _CARDS}


def card(name: str) -> ModelCard:
    """Return the model card of published weights, by the name that `load` takes.

    Raises `InputError` for an unknown name, with the near match.
    """
    if name not in CARDS:
        raise unknown("model", name, CARDS)
    return CARDS[name]
