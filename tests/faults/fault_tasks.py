"""Work that writes files, each piece as its own process would do it; `TASKS` names them.

A task is called with the root of a checkout of `fault_project`, and once more after it was killed.
It returns what it came to as plain values that do not depend on the moment or on the machine.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import torch
from fault_project import CHAPTER
from torch import nn

from robustkit import execution, files, notebooks, runs
from robustkit.corruptions import evaluate_corruptions
from robustkit.data import Dataset
from robustkit.errors import RunError
from robustkit.training import train


def smoke(root: Path) -> Any:
    """Run the chapter and install its notebook beside the text."""
    return _run(root, "smoke")


def laptop(root: Path) -> Any:
    """Run the chapter at another profile and install its record under `book/results/`."""
    return _run(root, "laptop")


def _run(root: Path, profile: str) -> Any:
    # A kernel of its own takes a second; the cells and all that is written are the same in here.
    execution.execute = _in_this_process
    os.chdir(root)
    record = runs.run(CHAPTER, {}, profile=profile).record
    return [record["key"], record["scalars"], record["tables"], record["parameters"]]


def _in_this_process(
    notebook: Any,
    parameters: dict[str, Any],
    output: Path,
    *,
    folder: Path,
    environment: dict[str, str],
    timeout: float | None = None,
) -> Any:
    os.environ.update(environment)
    os.chdir(folder)
    names: dict[str, Any] = {}
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for count, cell in enumerate(cells, 1):
        try:
            exec(cell.source, names)
        except Exception as error:
            raise RunError(f"cell [{count}] raised {error!r}") from error
        names.update(parameters)
        cell.execution_count = count
        # As papermill does, after every cell.
        output.write_text(nbformat.writes(notebook))
    notebooks.clean(notebook)
    return notebook


def download(root: Path) -> Any:
    """Fetch a file whose sha256 is known from the first address that has it."""
    os.environ.update(ROBUSTKIT_HOME=str(root / "home"), ROBUSTKIT_OFFLINE="")
    source, target = root / "published.bin", files.home() / "weights.bin"
    digest = files.sha256(source)
    return files.sha256(files.download([source.as_uri()], target, digest, what="the weights"))


def checkpoint(root: Path) -> Any:
    """Train a small network for three epochs, with a checkpoint after each."""
    images = (torch.arange(40 * 64).reshape(40, 1, 8, 8) * 37 % 251).to(torch.uint8)
    dataset = Dataset("toy", "train", images, torch.arange(40) % 2, ("even", "odd"))
    network = _network()
    result = train(
        *(network, dataset),
        **{"epochs": 3, "learning_rate": 0.1, "batch_size": 20, "augment": True, "seed": 3},
        checkpoint=root / "home" / "checkpoint.pt",
    )
    total = hashlib.sha256()
    for tensor in network.state_dict().values():
        total.update(tensor.contiguous().numpy().tobytes())
    return [result.losses, total.hexdigest()]


def cells(root: Path) -> Any:
    """Judge a network under corruptions, with a file for each finished cell."""
    images = torch.arange(4 * 3 * 16 * 16).reshape(4, 3, 16, 16) * 41 % 256
    table = evaluate_corruptions(
        *(_network(3), images.to(torch.uint8), torch.tensor([0, 1, 0, 1])),
        corruptions=("contrast", "pixelate"),
        severities=(1, 5),
        checkpoint=root / "home" / "cells",
    )
    return [table.hits.tolist(), str(table.frame())]


def _network(channels: int = 1) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        layers = nn.Sequential(
            nn.Conv2d(channels, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
        )
    return layers.eval()


TASKS: dict[str, Callable[[Path], Any]] = {
    task.__name__: task for task in (smoke, laptop, download, checkpoint, cells)
}
