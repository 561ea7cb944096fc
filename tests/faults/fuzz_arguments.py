"""Good values for parameters that mean something of their own in one function."""

from collections.abc import Callable
from typing import Any

import fuzz_later_arguments as later
import fuzz_toys as toys
import torch
from fuzz_names import NAMED, Values
from fuzz_toys import flags, index, reals

from robustkit import augment, corruptions, margins


def drawn(operation: Any) -> Callable[[], Any]:
    """Return a maker of the parameters that an operation draws for two images."""
    return lambda: operation.sample(
        *(2, (3, 16, 16)),
        generator=torch.Generator().manual_seed(0),
        dtype=torch.float32,
        device=torch.device("cpu"),
    )


OF_TARGETS: dict[str, Callable[[], Any]] = {}


def _of(module: str, values: Values) -> None:
    OF_TARGETS.update({f"{module}.{name}": value for name, value in values.items()})


_of(
    "attacks",
    {
        "AttackResult.adversarial": toys.photographs,
        "class_gradients.classes": index(2, 2),
        "pgd.radius": lambda: 0.5,
        "random_pixels.components": lambda: 4,
    },
)
_of(
    "augment",
    {
        "AugMixOperation.name": lambda: "rotate",
        "AugMixOperation.apply.parameters": drawn(augment.AugMixOperation("rotate")),
        "Color.apply.parameters": drawn(augment.Color()),
        "Diffeomorphism.apply.parameters": drawn(augment.Diffeomorphism()),
        "Diffeomorphism.strengths.side": lambda: 16,
        "Spectral.apply.parameters": drawn(augment.Spectral()),
        "Call.chains": index(2),
        "Call.parameters": reals(2, 3, 3),
        "Mixture.weights": reals(2, 4),
        "Mixture.calls": lambda: (),
        "Mixture.operations": lambda: 2,
        "ToneCurves.first": index(2),
        "ToneCurves.coefficients": reals(2, 3, 4),
        "Warps.cutoffs": lambda: torch.tensor([3, 4]),
        "Warps.temperatures": reals(2),
        "displacement_field.height": lambda: 16,
        "displacement_field.width": lambda: 16,
        "filter_images.kernels": reals(2, 3, 3),
        "jsd_loss.logits": lambda: [reals(2, 5)(), reals(2, 5)(), reals(2, 5)()],
        "primitives.preset": lambda: "cifar",
        "sample_mixture.shape": lambda: (2, 3, 16, 16),
        "temperature_range.cutoffs": lambda: torch.tensor([3, 4]),
        "temperature_range.side": lambda: 16,
        "tone_curve.coefficients": reals(2, 3, 4),
        "tone_curve.first": lambda: torch.tensor([1, 1]),
        "mix.parameters": lambda: augment.sample_mixture(NAMED["operations"](), (2, 3, 16, 16)),
        "AugMix.forward.parameters": lambda: augment.AugMix().sample(toys.photographs()),
        "Prime.forward.parameters": lambda: augment.Prime().sample(toys.photographs()),
    },
)
_of(
    "corruptions",
    {
        "ImageNetC.folder": toys.released_photographs,
        "ImageNetC.classes": lambda: ("n1",),
        "CorruptionTable.cells": lambda: (("fog", 1), ("snow", 1)),
        "CorruptionTable.hits": flags(2, 4),
        "CorruptionTable.clean": flags(4),
        "CorruptionTable.cell.corruption": lambda: "fog",
        "compare_released.released": lambda: corruptions.CifarC(toys.released()),
        "compare_released.corruptions": lambda: ("fog",),
        "corrupt.name": lambda: "fog",
        "image_scores.results": toys.judged,
        "corruption_accuracy.corruptions": lambda: ("fog", "snow"),
        "minimum_distance.augmented": reals(4, 6),
        "minimum_distance.corrupted": reals(3, 6),
        "parameters.name": lambda: "fog",
    },
)
for _name in ("mce", "relative_mce", "mean_corruption_error", "image_scores"):
    OF_TARGETS[f"corruptions.{_name}.corruptions"] = lambda: corruptions.CORRUPTIONS
    OF_TARGETS[f"corruptions.{_name}.severities"] = lambda: (1, 2, 3, 4, 5)
_of(
    "margins",
    {
        "Block.top": lambda: 0,
        "Block.left": lambda: 0,
        "Block.height": lambda: 4,
        "Block.width": lambda: 4,
        "Fourier.mask": lambda: torch.ones(16, 16, dtype=torch.bool),
        "FourierMap.wrong": index(16, 16),
        "Margins.subspaces": lambda: ("a", "b"),
        "Margins.dims": lambda: (1, 2),
        "Margins.size": lambda: 10,
        "Margins.distances": reals(2, 3),
        "Margins.success": flags(2, 3),
        "Margins.iterations": index(2, 3),
        "Margins.targets": index(2, 3),
        "Margins.labels": index(3),
        "Margins.perturbations": reals(2, 3, 3, 4, 4),
        "Margins.forwards": index(3),
        "Margins.backwards": index(3),
        "Span.basis": lambda: torch.eye(768)[:2].reshape(2, 3, 16, 16),
        "Synthetic.points": reals(4, 3),
        "Synthetic.labels": index(4),
        "Synthetic.basis": lambda: torch.eye(3),
        "Synthetic.margins": lambda: (1.0, 2.0, 3.0),
        "band.low": lambda: 2,
        "band.high": lambda: 5,
        "boundary_curvature.points": toys.photographs,
        "boundary_curvature.targets": lambda: (toys.labels() + 1) % toys.CLASSES,
        "boundary_curvature.directions": reals(2, 3, 3, 16, 16),
        "subspace_curvature.points": toys.photographs,
        "subspace_curvature.targets": lambda: (toys.labels() + 1) % toys.CLASSES,
        "subspace_curvature.count": lambda: 2,
        "dct_matrix.size": lambda: 4,
        "directional.direction": reals(6),
        "directional.count": lambda: 4,
        "linear_feature.count": lambda: 4,
        "two_features.count": lambda: 4,
        "energy_percentile.energies": reals(2, 5),
        "energy_spectrum.perturbations": toys.photographs,
        "fold_frequencies.values": reals(8, 8),
        "fourier_basis.size": lambda: (8, 8),
        "idct.coefficients": toys.photographs,
        "null_curve.dims": lambda: (1, 2),
        "null_curve.size": lambda: 10,
        "pca_subspaces.dim": lambda: 1,
        "pca_subspaces.images": lambda: toys.photographs(6),
        "random_subspaces.dim": lambda: 2,
        "project_ball_box.points": toys.photographs,
        "project_ball_box.centre": toys.photographs,
        "project_ball_box.radius": lambda: 0.5,
        "fourier_error_map.images": lambda: toys.photographs(2, 4),
        "fourier_error_map.labels": lambda: toys.network()(toys.photographs(2, 4)).argmax(1),
        "margins.subspaces": lambda: toys.blocks()[:2],
        "random_subspaces.inside": lambda: margins.Whole((3, 16, 16)),
    },
)
for _module in (
    "data",
    "errors",
    "models",
    "plots",
    "records",
    "rng",
    "stats",
    "training",
    "translation",
):
    _of(_module, getattr(later, _module.upper()))
