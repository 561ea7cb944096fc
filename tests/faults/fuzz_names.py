"""Good values for parameters that have the same meaning wherever they have the same name."""

from collections.abc import Callable, Mapping
from typing import Any

import fuzz_toys as toys
import torch
from fuzz_toys import flags, index, reals

from robustkit import augment
from robustkit import translation as tr

Values = Mapping[str, Callable[[], Any]]

# Exchanged in every call, because their defaults take long.
SHORT: Values = {
    "steps": lambda: 3,
    "generations": lambda: 2,
    "population": lambda: 5,
    "resamples": lambda: 20,
    "rounds": lambda: 5,
    "epochs": lambda: 1,
}

NAMED: Values = {
    "images": toys.photographs,
    "labels": toys.labels,
    "indices": index(2),
    "source": toys.levels,
    "shape": lambda: (3, 16, 16),
    "shifts": lambda: tr.neighbourhood(1),
    "shift_model": lambda: tr.CropShift(8),
    "positions": lambda: torch.zeros(2, 2, dtype=torch.int64),
    "crop": lambda: 8,
    "window": lambda: 10,
    "size": lambda: 8,
    "classes": lambda: toys.CLASSES,
    "operations": lambda: [augment.Spectral(), augment.Color()],
    "subspaces": toys.blocks,
    "subspace": lambda: toys.blocks()[0],
    "bounds": lambda: (0.0, 1.0),
    "table": toys.judged,
    "models": lambda: {"toy": toys.network()},
    "corruptions": lambda: ("contrast", "pixelate"),
    "severities": lambda: (1,),
    "severity": lambda: 1,
    "preset": lambda: "cifar",
    "folder": toys.released,
    "corruption": lambda: "fog",
    "budgets": lambda: [0.5, 1.0],
    "norm": lambda: 2,
    "values": reals(9),
    "first": reals(9),
    "second": reals(9),
    "record": lambda: toys.record().as_dict(),
    "chapter": lambda: "01_preliminaries",
    "profile": lambda: "smoke",
    "scores": index(2, 9, 9, below=80),
    "hashes": index(2, 9, 9, below=79),
    "fields": index(2, 5, 5),
    "candidates": lambda: 9,
    "columns": lambda: {"x": [1, 2]},
    "parameters": lambda: {"profile": "smoke"},
    "coefficients": reals(2, 2, 5, 5),
    "displacement": lambda: reals(2, 2, 16, 16)() / 20,
    "checkpoint": toys.new_file,
    "targets": lambda: (toys.labels() + 1) % toys.CLASSES,
    "start": toys.photographs,
    "projection": lambda: lambda first, *rest: first,
    "transform": lambda: lambda points: points,
    "inverse": lambda: lambda points: points,
    "radii": lambda: [0.1, 0.2],
    "titles": lambda: ["a", "b"],
    "low": lambda: 0.0,
    "options": lambda: {"contrast": {}},
    "mean": lambda: 0.5,
    "std": lambda: 0.25,
    "success": flags(2),
    "iterations": index(2),
    "forwards": index(2),
    "backwards": index(2),
    "predictions": index(2),
}
