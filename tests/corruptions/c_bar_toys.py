"""The corruptions of C-bar by name, images to corrupt, and the random numbers of one image."""

import torch

from robustkit.corruptions.c_bar.severities import C_BAR_SEVERITIES
from robustkit.corruptions.draws import Draws
from robustkit.corruptions.registry import ALL

FUNCTIONS = {name: one.function for name, one in ALL.items() if one.family == "c-bar"}
COLOURED = {"plasma_noise", "transverse_chromatic_abberation"}
CASES = [(preset, name) for preset, table in C_BAR_SEVERITIES.items() for name in table]
# Every corruption once, with the parameters of a preset that has it.
TABLE = {**C_BAR_SEVERITIES["imagenet"], **C_BAR_SEVERITIES["cifar"]}


class Look:
    """The random numbers of image `index` alone, as NumPy arrays."""

    def __init__(self, seed, stream, index):
        self.draws = Draws(seed, stream, torch.tensor([index]))

    def uniform(self, name, shape):
        return self.draws.uniform(name, shape)[0].double().numpy()

    def normal(self, name, shape):
        return self.draws.normal(name, shape)[0].double().numpy()

    def integers(self, name, low, high, shape):
        return self.draws.integers(name, low, high, shape)[0].numpy()


def pictures(count, *shape, seed=0, dtype=torch.float64):
    """Smooth images with an edge, in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, shape[0], 4, 4, generator=generator, dtype=torch.float64)
    fine = torch.nn.functional.interpolate(
        coarse, shape[1:], mode="bicubic", align_corners=True
    ).clamp(0, 1)
    fine[..., : shape[1] // 2, : shape[2] // 3] *= 0.3
    return fine.to(dtype)


def keyed(count, seed=3, stream="c-bar", first=0):
    return Draws(seed, stream, torch.arange(first, first + count))


def corrupted(name, images, parameters, **options):
    return FUNCTIONS[name](images, keyed(len(images), **options), *parameters)
