"""Checkpoints that resume exactly the training they were made by."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from robustkit.digests import digest
from robustkit.errors import DataError, InputError
from robustkit.files import atomic_path

Configuration = dict[str, str | int | float | bool | None]


@dataclass
class History:
    """What training has measured so far: one number an epoch, and the seconds spent."""

    losses: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)
    seconds: float = 0.0


def save(
    path: Path,
    configuration: Configuration,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    history: History,
) -> None:
    """Write a checkpoint; the previous one stays whole until the new one is.

    Raises `DataError` when it cannot be written.
    """
    content = {
        "configuration": configuration,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "history": vars(history),
        "digest": _digest(model.state_dict(), optimizer.state_dict()),
    }
    try:
        with atomic_path(path) as temporary:
            torch.save(content, temporary)
    # torch's writer has only a RuntimeError for a file that does not take its bytes.
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"the checkpoint {path} cannot be written ({error}); is the disk full? The one of the "
            "epoch before, if there is one, is whole: make room and call again."
        ) from error


def restore(
    path: Path, configuration: Configuration, model: nn.Module, optimizer: torch.optim.Optimizer
) -> History:
    """Bring model and optimizer to the state of a checkpoint, if there is one; return its history.

    Raises `InputError` when it was made under another configuration, with what differs, and
    `DataError` when it cannot be read.
    """
    if not path.exists():
        return History()
    try:
        content: dict[str, Any] = dict(torch.load(path, map_location="cpu", weights_only=True))
        made_by, history = content["configuration"], History(**content["history"])
    except (
        OSError,
        EOFError,
        RuntimeError,
        pickle.UnpicklingError,
        LookupError,
        TypeError,
        ValueError,
    ) as error:
        raise DataError(
            f"{path} is truncated or not a checkpoint of robustkit ({error}). Delete it to train "
            "from the start."
        ) from error
    differing = [
        f"{name} is {configuration.get(name)!r}, was {made_by.get(name)!r}"
        for name in sorted(configuration.keys() | made_by.keys())
        if configuration.get(name) != made_by.get(name)
    ]
    if differing:
        raise InputError(
            f"the checkpoint {path} belongs to another training: {'; '.join(differing)}. Give "
            "another path, or delete it to train from the start."
        )
    # torch reads changed bytes without complaint; checkpoints of before had no digest.
    found = _digest(content["model"], content["optimizer"])
    if content.get("digest", found) != found:
        raise DataError(
            f"{path} is damaged: its numbers are not those that were written. Delete it to train "
            "from the start."
        )
    model.load_state_dict(content["model"])
    optimizer.load_state_dict(content["optimizer"])
    return history


def _digest(model: Mapping[str, Any], optimizer: Mapping[str, Any]) -> str:
    kept = {
        f"{index}.{name}": value
        for index, state in optimizer["state"].items()
        for name, value in state.items()
    }
    tensors = {name: value for name, value in {**model, **kept}.items() if torch.is_tensor(value)}
    return digest(tensors)
