"""Common corruptions as batched tensor code, and how much accuracy models keep under them.

`corrupt` changes a batch of images by a corruption's name and severity; what becomes of an image
depends on no other. `CORRUPTIONS` are the 15 names of the benchmark, `FAMILIES` the same by family,
`EXTRA` the four held-out ones, `C_BAR` the 15 of CIFAR-10-C-bar and ImageNet-C-bar (two misspelled
as published: "cocentric", "abberation") and `C_BAR_SETS` the ten of each. `parameters` says what a
severity means. `evaluate_corruptions` judges a model on corrupted images, `compare_released` models
on the released data sets, and `mce` and its kin condense the tables.
"""

from robustkit.corruptions.benchmark.alexnet import alexnet_table
from robustkit.corruptions.benchmark.distance import minimum_distance, penultimate_features
from robustkit.corruptions.benchmark.evaluation import (
    compare_corruptions,
    compare_released,
    evaluate_corruptions,
)
from robustkit.corruptions.benchmark.metrics import (
    corruption_accuracy,
    image_scores,
    mce,
    mean_corruption_error,
    relative_mce,
)
from robustkit.corruptions.benchmark.released import CifarC, ImageNetC
from robustkit.corruptions.benchmark.table import CorruptionTable
from robustkit.corruptions.corrupt import corrupt
from robustkit.corruptions.registry import (
    C_BAR,
    C_BAR_SETS,
    CORRUPTIONS,
    EXTRA,
    FAMILIES,
    PRESETS,
    parameters,
)

__all__ = [
    "CORRUPTIONS",
    "C_BAR",
    "C_BAR_SETS",
    "EXTRA",
    "FAMILIES",
    "PRESETS",
    "CifarC",
    "CorruptionTable",
    "ImageNetC",
    "alexnet_table",
    "compare_corruptions",
    "compare_released",
    "corrupt",
    "corruption_accuracy",
    "evaluate_corruptions",
    "image_scores",
    "mce",
    "mean_corruption_error",
    "minimum_distance",
    "parameters",
    "penultimate_features",
    "relative_mce",
]
