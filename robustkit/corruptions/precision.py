"""Full float32 precision of matrix products and convolutions on CUDA, within a block."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Compute float32 products in float32 within the block, whatever the program chose outside.

    CUDA may round their factors to 10 binary digits, which is a quarter of an 8-bit level and would
    make results depend on the device. The program's choice is restored at the end.
    """
    if device.type != "cuda":
        yield
        return
    settings = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)  # type: ignore[attr-defined]
    before = [setting.fp32_precision for setting in settings]
    try:
        for setting in settings:
            setting.fp32_precision = "ieee"
        yield
    finally:
        for setting, value in zip(settings, before, strict=True):
            setting.fp32_precision = value
