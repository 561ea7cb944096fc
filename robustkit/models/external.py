"""Any torchvision or timm classifier through the same contract: images in [0, 1], logits out."""

import pickle
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlparse

import torch
from torch import nn

from robustkit import inputs
from robustkit.errors import DataError, InputError, unknown
from robustkit.files import atomic_path, check_sha256, home, offline, sha256
from robustkit.models.normalized import Normalized


def from_torchvision(model: nn.Module, weights: Any) -> Normalized:
    """Wrap a torchvision classifier with the normalisation that its `weights` were trained with.

    `weights` is a member of a torchvision weights enumeration, for instance
    `ResNet18_Weights.DEFAULT`. Raises `InputError` when its transforms state no mean and std.
    """
    transforms = weights.transforms() if hasattr(weights, "transforms") else None
    mean, std = getattr(transforms, "mean", None), getattr(transforms, "std", None)
    if mean is None or std is None:
        raise InputError(
            f"{weights!r} states no mean and std; wrap the model yourself with "
            "robustkit.models.Normalized(model, mean, std)."
        )
    return Normalized(model, tuple(mean), tuple(std))


def from_timm(model: nn.Module) -> Normalized:
    """Wrap a timm classifier with the normalisation of its own configuration.

    Raises `InputError` when the model carries no timm configuration with mean and std.
    """
    configuration: Any = getattr(model, "pretrained_cfg", None) or {}
    mean, std = configuration.get("mean"), configuration.get("std")
    if mean is None or std is None:
        raise InputError(
            f"{type(model).__name__} has no pretrained_cfg with mean and std, so it is not a timm "
            "model; wrap it yourself with robustkit.models.Normalized(model, mean, std)."
        )
    return Normalized(model, tuple(mean), tuple(std))


def load_torchvision(name: str) -> Normalized:
    """Load a torchvision classifier with its default weights, kept in `home()/torch/checkpoints`.

    Raises `InputError` for an unknown name, `DataError` when the weights cannot be had.
    """
    from torchvision import models

    if name not in (known := models.list_models(module=models)):
        raise unknown("torchvision model", name, known)
    weights = models.get_model_weights(name).DEFAULT
    path = home() / "torch" / "checkpoints" / Path(urlparse(weights.url).path).name
    what = f"the torchvision weights of {name}"
    # torchvision names its files NAME-PREFIX.pth, with the first digits of their sha256.
    prefix = re.search(r"-([0-9a-f]{8,})\.", path.name)
    if path.exists():
        if prefix and not sha256(path).startswith(prefix[1]):
            raise DataError(
                f"{what}: {path} is damaged (its sha256 should begin with {prefix[1]}). Delete it "
                "and fetch it again."
            )
    else:
        _download_torchvision(weights.url, path, prefix[1] if prefix else None, what)
    inputs.note(f"weights/torchvision:{name}", [path])
    # torchvision's builders unpickle without restriction; a file that holds anything but tensors
    # is refused here, before they see it.
    try:
        torch.load(path, map_location="meta", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise DataError(
            f"{what}: {path} does not hold tensors alone ({error}). Delete it and fetch it again."
        ) from error
    with _hub_folder(home() / "torch"), torch.random.fork_rng(devices=[]):
        model = models.get_model(name, weights=weights, progress=False)
    return from_torchvision(model.eval(), weights)


def load_timm(name: str) -> Normalized:
    """Load a timm classifier with its pretrained weights, kept in `home()/timm`.

    Raises `InputError` for an unknown name or when timm is not installed, `DataError` when the
    weights cannot be had.
    """
    timm = _import_timm()
    architecture = name.partition(".")[0]
    if not timm.is_model(architecture):
        raise unknown("timm model", name, timm.list_models())
    pretrained = timm.list_pretrained(f"{architecture}*")
    if name not in pretrained and name != architecture:
        raise unknown("pretrained timm model", name, pretrained)
    configuration = timm.get_pretrained_cfg(name)
    if configuration is None or not configuration.hf_hub_id:
        raise DataError(f"timm publishes no weights of {name} on the Hugging Face hub.")
    file = configuration.hf_hub_filename or "model.safetensors"
    path = _download_timm(name, configuration.hf_hub_id, file)
    inputs.note(f"weights/timm:{name}", [path])
    with torch.random.fork_rng(devices=[]):
        model = timm.create_model(name, pretrained=True, pretrained_cfg_overlay={"file": str(path)})
    return from_timm(model.eval())


def _import_timm() -> ModuleType:
    try:
        import timm
    except ImportError:
        raise InputError(
            "timm is not installed; install it with: pip install 'robustkit[zoo]'"
        ) from None
    module: ModuleType = timm
    return module


@contextmanager
def _hub_folder(folder: Path) -> Iterator[None]:
    # torchvision's builders read weights from torch.hub's folder and take no other.
    previous = torch.hub.get_dir()
    torch.hub.set_dir(str(folder))
    try:
        yield
    finally:
        torch.hub.set_dir(previous)


def _download_torchvision(url: str, path: Path, prefix: str | None, what: str) -> None:
    manual = f"Fetch {url} by hand and place it at {path}, or set ROBUSTKIT_HOME."
    if offline():
        raise DataError(f"{what} are not in {home()} and ROBUSTKIT_OFFLINE is set. {manual}")
    try:
        with atomic_path(path) as temporary:
            torch.hub.download_url_to_file(
                url, str(temporary), hash_prefix=prefix, progress=sys.stderr.isatty()
            )
    # A wrong checksum is a RuntimeError there; an unreachable address is an OSError.
    except (OSError, RuntimeError) as error:
        raise DataError(f"{what} could not be fetched ({error}). {manual}") from error


def _download_timm(name: str, repository: str, file: str) -> Path:
    from huggingface_hub import hf_hub_download

    folder = home() / "timm"
    try:
        path = Path(hf_hub_download(repository, file, cache_dir=folder, local_files_only=offline()))
    # What the hub raises depends on its version and on the client it uses underneath.
    except Exception as error:
        raise DataError(
            f"the timm weights of {name} are not in {folder} and could not be fetched "
            f"({type(error).__name__}: {error}). Fetch {file} of {repository} from the Hugging "
            "Face hub into that cache, or set ROBUSTKIT_HOME."
        ) from error
    # The hub's cache stores a large file under its sha256 and links to it.
    if re.fullmatch(r"[0-9a-f]{64}", stored := path.resolve().name):
        check_sha256(path, stored, what=f"the timm weights of {name}")
    return path
