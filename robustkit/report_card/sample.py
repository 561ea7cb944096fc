"""The images that an axis is measured on, and the settings that all axes share."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from robustkit import rng
from robustkit.corruptions.severities import ALL_SEVERITIES
from robustkit.data import as_float
from robustkit.translation import CropShift, PadShift, ShiftModel

# Numbers of an image times images in one call: what a processor handles well, and a GPU.
_CPU, _GPU = 2**21, 2**25


@dataclass(frozen=True, eq=False)
class Sample:
    """Labelled images in the order in which they are measured.

    - `sources`: `(n, C, H, W)`, uint8 or floating point in [0, 1], as they were given.
    - `labels`: `(n,)`, int64; `rows`: `(n,)`, int64, their places in the given batch.
    - `size`: rows and columns of what the network sees of them, the window in the middle.
    """

    sources: Shaped[Tensor, "n c height width"]
    labels: Int[Tensor, " n"]
    rows: Int[Tensor, " n"]
    size: tuple[int, int]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.sources)

    @property
    def views(self) -> Shaped[Tensor, "n c h w"]:
        """What the network sees, in the type that was given."""
        return CropShift(self.size).base(self.sources)

    @property
    def images(self) -> Float[Tensor, "n c h w"]:
        """What the network sees, floating point in [0, 1]."""
        return as_float(self.views).contiguous()

    def shift_model(self, radius: int) -> ShiftModel:
        """Return what a shift does: a window moves inside larger images, others are mirrored."""
        spare = [side - size for side, size in zip(self.sources.shape[2:], self.size, strict=True)]
        if min(spare) >= 2 * radius:
            return CropShift(self.size)
        return PadShift("reflect")

    def shifted(self, radius: int) -> Shaped[Tensor, "n c height width"]:
        """Return the images that `shift_model` moves."""
        moves_window = isinstance(self.shift_model(radius), CropShift)
        return self.sources if moves_window else self.views

    def as_levels(self) -> "Sample":
        """Return the same images rounded to 8-bit levels, which crops are selected by."""
        if self.sources.dtype == torch.uint8:
            return self
        levels = (self.sources * 255).round().to(torch.uint8)
        return Sample(levels, self.labels, self.rows, self.size)

    def head(self, count: int) -> "Sample":
        """Return the first `count` images."""
        return Sample(self.sources[:count], self.labels[:count], self.rows[:count], self.size)


@dataclass(frozen=True)
class Settings:
    """What all axes share.

    - `seed`: of corruptions, resampling and crop selection; `level`: of all intervals.
    - `severities`, `preset`: of corruptions, as in `robustkit.corruptions.corrupt`.
    - `radius`: the largest shift, in pixels; `crop`: rows and columns of selected crops.
    - `examples`: how many of the worst images are shown, at most.
    - `classes`: names of the classes.
    """

    classes: tuple[str, ...]
    crop: tuple[int, int]
    seed: int = 0
    level: float = 0.95
    severities: tuple[int, ...] = ALL_SEVERITIES
    preset: str | None = None
    radius: int = 3
    examples: int = 6


def ordered(
    images: Shaped[Tensor, "n c height width"],
    labels: Int[Tensor, " n"],
    size: tuple[int, int],
    count: int,
    seed: int,
) -> Sample:
    """Return `count` images in a random order that depends on the seed and their number alone.

    A smaller sample is the beginning of a larger one, and images sorted by class do no harm.
    """
    places = torch.arange(len(images), device=images.device)
    keys = rng.uniform(seed, "report/order", places, (), torch.float64)
    order = keys.argsort(stable=True)[:count]
    return Sample(images[order], labels[order], order, size)


def batch_of(images: Shaped[Tensor, "n ..."]) -> int:
    """Return how many of these images go through a network at once."""
    most = _CPU if images.device.type == "cpu" else _GPU
    return max(8, min(512, most // images[0].numel()))
