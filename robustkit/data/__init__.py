"""Datasets as tensors: uint8 images (N, C, H, W), int64 labels and class names, on a device."""

from robustkit.data.dataset import Dataset, to_float
from robustkit.data.loading import load, names

__all__ = ["Dataset", "load", "names", "to_float"]
