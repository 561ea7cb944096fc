"""Trained networks by name: checked weights in, a frozen model in eval mode out."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from robustkit import inputs
from robustkit.errors import DataError, unknown
from robustkit.files import check_sha256, download, home
from robustkit.models.cards import CARDS, ModelCard
from robustkit.models.external import load_timm, load_torchvision
from robustkit.models.networks import NETWORKS, build
from robustkit.models.normalized import Normalized


def load(name: str, *, device: str | torch.device = "cpu") -> nn.Module:
    """Load a trained network, in eval mode on `device`, that takes images in [0, 1].

    `name` is one of `robustkit.models.CARDS`, or `torchvision:NAME` or `timm:NAME` for any
    classifier of those libraries with its default weights; normalisation is inside. Its parameters
    do not ask for gradients, which attacks do not need: call `model.requires_grad_(True)` to train
    it further. Weights are looked for in `ROBUSTKIT_HOME`, else downloaded there, and their sha256
    is checked at every load. Raises `InputError` for an unknown name and `DataError` for weights
    that are absent, damaged or cannot be fetched.
    """
    library, _, rest = name.partition(":")
    if name in CARDS:
        model = _load_card(CARDS[name])
    elif library == "torchvision" and rest:
        model = load_torchvision(rest)
    elif library == "timm" and rest:
        model = load_timm(rest)
    else:
        raise unknown("model", name, [*CARDS, "torchvision:NAME", "timm:NAME"])
    return model.eval().requires_grad_(False).to(device)


def _load_card(card: ModelCard) -> nn.Module:
    path, state = _weights(card)
    inputs.note(f"weights/{card.name}", [path])
    network = _network(card)
    network.load_state_dict(state)
    if card.mean is None or card.std is None:
        return network
    return Normalized(network, card.mean, card.std)


def _network(card: ModelCard) -> nn.Module:
    if card.network in NETWORKS:
        return build(card.network, classes=card.classes, channels=card.shape[0])
    from torchvision.models.quantization import mobilenet_v2

    # Building draws initial weights that are then replaced; the caller's generator stays put.
    with torch.random.fork_rng(devices=[]):
        network: nn.Module = mobilenet_v2(weights=None, quantize=False)
    return network


def _weights(card: ModelCard) -> tuple[Path, dict[str, Tensor]]:
    path = home() / "weights" / card.file
    what = f"the weights of {card.name}"
    if path.exists():
        check_sha256(path, card.sha256, what=what)
        return path, load_file(path)
    if card.url is None or card.url_sha256 is None:
        raise DataError(
            f"{what} are not at {path}, and their publisher has no file in this form: they were "
            f"converted from {card.source}. Place {card.file} there (sha256 {card.sha256}), set "
            "ROBUSTKIT_HOME to a folder whose weights/ has it, or use "
            '"torchvision:mobilenet_v2", which torchvision publishes.'
        )
    path = path.with_name(Path(card.url).name)
    download([card.url], path, card.url_sha256, what=what)
    # Restricted to tensors and plain containers: a pickle could run code.
    content = torch.load(path, map_location="cpu", weights_only=True)
    state = content.get("state_dict", content)
    return path, {key.removeprefix("module."): tensor for key, tensor in state.items()}
