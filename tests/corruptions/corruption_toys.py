"""What the tests of corruptions share: images, draws, and the outputs of the published code."""

import numpy as np
import pytest
import torch
from PIL import Image

from robustkit.corruptions.draws import Draws


def images(count, shape, seed=0, dtype=torch.float32):
    """Return 8-bit levels as numbers: blobs with noise, so that neighbours are alike."""
    draw = torch.Generator().manual_seed(seed)
    channels, height, width = shape
    coarse = torch.rand(count, channels, 1 + height // 4, 1 + width // 4, generator=draw)
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
    noise = 0.2 * torch.rand(smooth.shape, generator=draw) - 0.1
    return ((smooth + noise).clamp(0, 1) * 255).round().to(dtype) / 255


def draws(count, seed=0, stream="test/1"):
    """Return the draws of images 0, 1, ..."""
    return Draws(seed, stream, torch.arange(count))


class Published:
    """Outputs of imagecorruptions on four photographs, and the photographs."""

    def __init__(self, real_data):
        file = real_data.parent / "reference" / "imagecorruptions_224.npz"
        if not file.exists():
            pytest.skip(f"no outputs of the published code: {file} is absent")
        with np.load(file) as stored:
            self.stored = dict(stored)
        pictures = []
        for name in self.stored["files"]:
            path = next((real_data / "nips17").rglob(str(name)))
            with Image.open(path) as picture:
                pictures.append(np.asarray(picture.convert("RGB"))[16:240, 16:240])
        self.images = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)

    def output(self, name, severity):
        """Return the published 8-bit images (4, 3, 224, 224) of a corruption without chance."""
        return torch.from_numpy(self.stored[f"{name}_{severity}"]).permute(0, 3, 1, 2)

    def moments(self, name, severity):
        """Return the moments of six published runs of a corruption with chance."""
        return self.stored[f"moments_{name}_{severity}"]

    def runs(self, corrupted, count):
        """Return the moments of `corrupted(seed)` for as many seeds."""
        return np.array([self.moments_of(corrupted(seed)) for seed in range(count)])

    def moments_of(self, result):
        """Return the same moments of 8-bit images."""
        change = result.double() - self.images.double()
        return np.array(
            [
                change.mean(),
                change.square().mean().sqrt(),
                change.abs().mean(),
                (result == 255).double().mean(),
                (result == 0).double().mean(),
            ]
        )
