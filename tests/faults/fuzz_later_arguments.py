"""Good values of the modules after `margins`, in the order of the alphabet."""

import json
from copy import deepcopy
from typing import Any

import fuzz_toys as toys
import torch
from fuzz_names import Values
from fuzz_toys import flags, index, reals
from matplotlib import pyplot as plt
from torch import Tensor, nn
from torchvision.models import ResNet18_Weights

from robustkit import stats
from robustkit import translation as tr
from robustkit.strict_json import encode


def axes() -> Any:
    """New axes to draw on, and no others."""
    plt.close("all")
    return plt.subplots()[1]


def stored() -> Any:
    """What the file of a record holds."""
    return json.loads(json.dumps(encode(toys.record().as_dict())))


def _selection() -> tr.Selection:
    return tr.select(index(2, 9, 9)(), index(2, 9, 9)())


def _square() -> Tensor:
    return torch.cat([torch.zeros(1, 2, dtype=torch.int64), tr.neighbourhood(1)])


def _of_timm() -> nn.Module:
    model = deepcopy(toys.network())
    model.pretrained_cfg = {"mean": (0.5,) * 3, "std": (0.5,) * 3}  # type: ignore[assignment]
    return model


DATA: Values = {
    "load.name": lambda: "digits",
    "to_float.images": toys.levels,
    "as_float.images": toys.levels,
    "Dataset.images": toys.levels,
    "Dataset.classes": lambda: tuple("abcde"),
}
ERRORS: Values = {"unknown.known": lambda: ("one", "two")}
MODELS: Values = {
    "MLP.size": lambda: 6,
    "MLP.width": lambda: 4,
    "MLP.depth": lambda: 1,
    "MLP.forward.points": reals(2, 6),
    "CifarResNet.blocks": lambda: (1, 1, 1),
    "CifarResNet.widths": lambda: (4, 4, 4),
    "CifarResNet.projection": lambda: True,
    "LeNet.forward.images": reals(2, 1, 28, 28),
    "WideLeNet.forward.images": reals(2, 1, 28, 28),
    "VGG19.forward.images": reals(2, 3, 32, 32),
    "build.name": lambda: "small_cnn",
    "build_mlp.size": lambda: 6,
    "build_mlp.width": lambda: 4,
    "build_mlp.depth": lambda: 1,
    "card.name": lambda: "cifar10_resnet20",
    "from_torchvision.weights": lambda: ResNet18_Weights.DEFAULT,
    "from_timm.model": _of_timm,
    "load.name": lambda: "cifar10_resnet20",
    "ModelCard.mean": lambda: (0.5,),
    "ModelCard.std": lambda: (0.5,),
    "ModelCard.shape": lambda: (3, 32, 32),
}
PLOTS: Values = {
    **{f"{name}.axes": axes for name in ("decision_regions", "robustness_curve", "banded_line")},
    "interval_rows.axes": axes,
    "recolour.svg": lambda: "<svg/>",
    "decision_regions.predict": lambda: lambda points: (points[:, 0] > 0.5).long(),
    "decision_regions.extent": lambda: (0.0, 1.0, 0.0, 1.0),
    "decision_regions.resolution": lambda: 8,
    "robustness_curve.distances": reals(9),
    "banded_line.columns": lambda: {
        name: [0.1, 0.2] for name in ("radius", "share", "low", "high")
    },
    "interval_rows.rows": lambda: {"a": stats.wilson(1, 2), "b": stats.wilson(2, 2)},
    "image_grid.rows": lambda: {"a": toys.photographs(), "b": toys.photographs()},
}
RECORDS: Values = {
    "Record.chapter": lambda: "01_preliminaries",
    "Record.scalar.value": lambda: 1,
    "Record.scalar.high": lambda: 2.0,
    "Record.scalar.name": lambda: "other",
    "Record.value.name": lambda: "answer",
    "value.name": lambda: "answer",
    "frame.name": lambda: "curve",
    "side_by_side.name": lambda: "curve",
    "side_by_side.first": lambda: toys.record().as_dict(),
    "side_by_side.second": lambda: toys.record().as_dict(),
    "read.path": toys.record_file,
    "decode.stored": stored,
    "embedded.notebook": toys.new_file,
}
RNG: Values = {
    "words.count": lambda: 4,
    "words.block": lambda: 8,
    "uniform.shape": lambda: (3,),
    "normal.shape": lambda: (3,),
}
STATS: Values = {
    "wilson.successes": lambda: 1,
    "wilson.count": lambda: 3,
}
TRAINING: Values = {
    "train.model": toys.trainable,
    "train.learning_rate": lambda: 0.1,
    "train.transform": lambda: lambda images: images,
    "adapt_batch_norm.images": toys.photographs,
    "Adversarial.norm": lambda: 2,
    "Adversarial.radius": lambda: 0.5,
    "Accuracy.count": lambda: 2,
    "TrainingResult.losses": lambda: (1.0,),
    "TrainingResult.accuracies": lambda: (0.5,),
    "crop_and_flip.images": toys.levels,
    "learning_rate_at.step": lambda: 1,
    "learning_rate_at.steps": lambda: 3,
    "learning_rate_at.peak": lambda: 0.1,
    "obtain.recipe": lambda: "train small_cnn",
    "obtain.dataset": toys.dataset,
    "obtain.settings": lambda: {"epochs": 1, "learning_rate": 0.1},
}
TRANSLATION: Values = {
    "Adversary.shifts": index(3, 2),
    "Adversary.base": index(2),
    "Adversary.correct": flags(2),
    "Adversary.labels": index(2, 3),
    "Adversary.changed": flags(2, 3),
    "Adversary.calls": index(2),
    "Consistency.first": index(2, 3),
    "Consistency.second": index(2, 3),
    "EmbeddingChange.cosines": reals(2, 3),
    "EmbeddingChange.neighbour_changed": flags(2, 3),
    "EmbeddingChange.label_changed": flags(2, 3),
    "EmbeddingChange.curve.thresholds": reals(4),
    "FilterScore.kernel": lambda: ((0, 1, 0), (1, -4, 1), (0, 1, 0)),
    "FilterScore.__call__.images": toys.levels,
    "FilterScore.__call__.crop": lambda: (8, 8),
    "HashScore.__call__.images": toys.levels,
    "HashScore.__call__.crop": lambda: (8, 8),
    "Selection.positions": index(2, 2),
    "Selection.scores": index(2),
    "Selection.gaps": index(2),
    "Selection.hashes": index(2),
    "Selection.joined.parts": lambda: [_selection(), _selection()],
    "ShiftCertificate.safe": flags(2, 3, 3),
    "ShiftCertificate.radii": index(2),
    "ShiftCertificate.limited": flags(2),
    "VoteCertificate.labels": index(2),
    "VoteCertificate.certified": flags(2),
    "VoteCertificate.margins": index(2),
    "VoteCertificate.radii": index(2),
    "Windows.source": toys.levels,
    "Windows.size": lambda: (8, 8),
    "Zoom.apply.shifts": lambda: torch.tensor([0, 1]),
    "CropAverage.count": lambda: 2,
    "CropAverage.positions.height": lambda: 16,
    "CropAverage.positions.width": lambda: 16,
    "RICS.select_windows.positions": lambda: torch.zeros(3, 2, dtype=torch.int64),
    "ReflectionPad.amount": lambda: 1,
    "adversarial_robustness.candidates": lambda: 9,
    "adversarial_robustness.radius": lambda: 1,
    "change_probability.shift": lambda: (1, 1),
    "overlap.shift": lambda: (1, 1),
    "crop_for.epsilon": lambda: 0.5,
    "crop_for.size": lambda: 32,
    "embedding_change.embed": lambda: lambda images: images.flatten(1)[:, :4],
    "embedding_change.gallery": reals(3, 4),
    "embedding_change.head": lambda: lambda features: features,
    "jaccard.first": index(2, 5),
    "jaccard.second": index(2, 5),
    "noise_radius.selection": _selection,
    "noise_radius.score": tr.filter_score,
    "noise_radius.channels": lambda: 3,
    "random_real_shifts.count": lambda: 2,
    "random_shifts.count": lambda: 2,
    "resolve_score.score": lambda: "filter",
    "safe_shifts.selector": lambda: tr.RICS(toys.network(), 8),
    "certified_radius.selector": lambda: tr.RICS(toys.network(), 8),
    "safe_shifts.position": lambda: (3, 3),
    "certified_radius.position": lambda: (3, 3),
    "safe_shifts.limit": lambda: 1,
    "certified_radius.limit": lambda: 1,
    "seam_profiles.levels": toys.levels,
    "select_windows.candidates": lambda: 3,
    "shift_grid.source": lambda: toys.levels()[0],
    "shift_grid.shifts": _square,
    "shift_grid.labels": index(9),
    "shift_grid.names": lambda: tuple("abcde"),
    "shift_grid.positions": lambda: 3 + _square(),
    "shift_grid.crop": lambda: 8,
    "two_crops.size": lambda: 8,
    "zooms.changes": lambda: torch.tensor([0, 1]),
    "subpixel_shifts.shifts": lambda: torch.tensor([[0.5, 1.0], [1.0, 0.25]]),
    "adversary.shifts": lambda: tr.neighbourhood(1),
}
OF_MODULES: dict[str, Values] = {
    "data": DATA,
    "errors": ERRORS,
    "models": MODELS,
    "plots": PLOTS,
    "records": RECORDS,
    "rng": RNG,
    "stats": STATS,
    "training": TRAINING,
    "translation": TRANSLATION,
}
