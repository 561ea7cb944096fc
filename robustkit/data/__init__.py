"""Datasets as tensors: images, 8-bit or floating, int64 labels and class names, on a device."""

from robustkit.data.dataset import Dataset, as_float, to_float
from robustkit.data.loading import load, names

__all__ = ["Dataset", "as_float", "load", "names", "to_float"]
